"""Which recipe suits a source and its constraints, and why: rules of thumb, and what was measured here.

The rules are the purposes of the recipes: ResNet18 for few images, ResNet50 by default, EfficientNet-B0 at the edge,
a ViT for large datasets, and under a budget of latency the strongest that keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from components.interchange.dataset import FEW_TRAIN_IMAGES
from pipelines.backbone_latency import Measured
from pipelines.recipes import recipe
from pipelines.source_listing import check_named

MANY = 50_000  # Training images.
LARGE_GPU_GB = 16
TO_CHOOSE = ("large", "accuracy", "production", "edge", "scarce")  # The strongest first; `demo` is for its weights.


@dataclass(frozen=True)
class Demands:
    """What there is and what is wanted. `gpu_memory_gb` and `max_p99_ms` are None where nothing was said."""

    train_images: int
    edge: bool = False
    gpu_memory_gb: float | None = None
    max_p99_ms: float | None = None


class Recommendation(NamedTuple):
    """A recipe, whether it keeps the budget (None: there is none), and the reasons, a sentence each."""

    recipe: str
    fits: bool | None
    reasons: list[str]


class Counted(NamedTuple):
    """A source by its listing: images, classes, and about how many of the images would be trained on."""

    images: int
    classes: int
    train_images: int


def counted(source: str) -> Counted:
    """Images of a source as ingest lists them, none decoded; BadInput as ingest says it."""
    from components.ingest.manifests import Columns
    from components.ingest.sources import read_source
    from components.ingest.spec import Ingest

    check_named(source)
    default = {name: field.default for name, field in Ingest.model_fields.items()}
    columns = Columns(*(default[f"{name}_column"] for name in ("image", "label", "split", "group")))
    with TemporaryDirectory(prefix="graft-recommend-") as scratch:
        images = read_source(source, columns, Path(scratch)).images
    given = sum(image.split == "train" for image in images)
    free = sum(image.split is None for image in images)
    train_share = 1 - default["val_fraction"] - default["test_fraction"]
    return Counted(len(images), len({image.label for image in images}), given + round(train_share * free))


def recommend(demands: Demands, measured: Mapping[str, Measured]) -> Recommendation:
    """The first suitable recipe, or under a budget the first that keeps it. `measured` is by backbone, and is needed
    with a budget alone. Where none keeps it: the fastest of those that are suitable.
    """
    suitable, reasons = suitable_for(demands)
    if demands.max_p99_ms is None:
        return Recommendation(suitable[0], None, reasons)
    of = {name: measured[str(recipe(name).value("backbone"))] for name in suitable}
    budget = f"a p99 of {demands.max_p99_ms:g} ms"
    chosen = next((name for name in suitable if of[name].p99_ms <= demands.max_p99_ms), None)
    if chosen is None:
        fastest = min(suitable, key=lambda name: of[name].p99_ms)
        why = f"none of {', '.join(suitable)} keeps {budget} here; {_figures(of[fastest])} is the fastest of them"
        return Recommendation(fastest, False, [*reasons, why])
    slower = suitable[: suitable.index(chosen)]
    reasons += [f"{_figures(of[name])} is over {budget}" for name in slower]
    reasons.append(f"{_figures(of[chosen])} keeps {budget}{_doubt(of[chosen], demands.max_p99_ms)}")
    return Recommendation(chosen, True, reasons)


def suitable_for(demands: Demands) -> tuple[Sequence[str], list[str]]:
    """Recipes by preference, at least one, and why these."""
    images = f"about {demands.train_images:,} images to train with"
    few = demands.train_images < FEW_TRAIN_IMAGES
    if few:
        images += f", under {FEW_TRAIN_IMAGES}: the baseline on frozen features is expected to win; evidence decides"
    if demands.edge:
        return ("edge", "scarce"), ["for mobile and edge: EfficientNet-B0", images]
    if few:
        return ("scarce", "edge"), [f"{images}. A small backbone has less to overfit with"]
    if demands.train_images <= MANY:
        images += f", {FEW_TRAIN_IMAGES} to {MANY:,}: fine-tuning is worth it"
        if demands.max_p99_ms is not None:
            return TO_CHOOSE[1:], [f"{images}; of those short of a ViT, the strongest that keeps the budget"]
        return TO_CHOOSE[2:], [f"{images}; ResNet50 is the default"]
    images += f", over {MANY:,}: enough for a ViT"
    if demands.gpu_memory_gb is not None and demands.gpu_memory_gb < LARGE_GPU_GB:
        less = f"but its recipe wants a GPU of {LARGE_GPU_GB} GB (a rule of thumb, not measured)"
        return TO_CHOOSE[1:], [f"{images}, {less}: {demands.gpu_memory_gb:g} GB are given"]
    return TO_CHOOSE, [images]


def _figures(of: Measured) -> str:
    return f"{of.backbone} (p99 {of.p99_ms:.1f} ms, p50 {of.p50_ms:.1f} ms, {of.runs:,} runs)"


def _doubt(of: Measured, max_p99_ms: float) -> str:
    if of.high is None:
        return "; so few runs bound p99 from below alone"
    return "" if of.high <= max_p99_ms else f", but not surely: the interval of p99 reaches {of.high:.1f} ms"
