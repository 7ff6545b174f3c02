"""A pretrained backbone from every source of weights, and refusals in words."""

import argparse
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from components.interchange.artifact import file_digest
from components.interchange.backbone import build_model
from components.interchange.errors import BadInput
from components.interchange.state_dicts import savable, state_digest


def backbone_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(("fc.", "head."))}


def test_a_file_fills_everything_but_the_head(tiny_weights: Path) -> None:
    model, weights = build_model("test_resnet", 3, str(tiny_weights))
    stored = load_file(tiny_weights)
    assert stored["fc.weight"].shape[0] == 10 and model.get_parameter("fc.weight").shape[0] == 3
    assert state_digest(backbone_of(model.state_dict())) == state_digest(backbone_of(stored))
    assert weights.origin == "file:tiny.safetensors" and weights.sha256 == file_digest(tiny_weights)


def test_a_package_fills_by_order(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tiny_weights_for_graft"
    package.mkdir()
    (package / "__init__.py").touch()
    state = timm.create_model("test_resnet").state_dict()
    torch.save({f"other.{number}": tensor for number, tensor in enumerate(state.values())}, package / "tiny.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    model, weights = build_model("test_resnet", 3, "package:tiny_weights_for_graft")
    assert state_digest(backbone_of(model.state_dict())) == state_digest(backbone_of(state))
    assert weights.origin == "package:tiny_weights_for_graft"


def test_layers_below_the_head_stay_pretrained(tmp_path: Path) -> None:
    """The BatchNorm before this head, which timm's reset_classifier makes anew."""
    pretrained = timm.create_model("efficientvit_m0").state_dict()
    pretrained["head.bn.running_mean"].fill_(0.5)
    save_file(savable(pretrained), tmp_path / "w.safetensors")
    state = build_model("efficientvit_m0", 3, str(tmp_path / "w.safetensors"))[0].state_dict()
    changed = {name for name in state if state[name].shape != pretrained[name].shape}
    assert changed == {"head.linear.weight", "head.linear.bias"}
    assert all(torch.equal(state[name], pretrained[name]) for name in state.keys() - changed)


@pytest.mark.filterwarnings("ignore::UserWarning")  # While timm resamples position biases.
def test_a_size_that_fits_no_window_is_refused(tmp_path: Path) -> None:
    save_file(savable(timm.create_model("test_maxvit").state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"--input-size-px 200: test_maxvit cannot.*divisible by window.*Take 160"):
        build_model("test_maxvit", 3, str(tmp_path / "w.safetensors"), input_size_px=200)


def test_an_encoder_of_timm_is_no_classifier(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    with torch.device("meta"), pytest.raises(BadInput, match=r"qwen3_vit_88m_enc is no classifier.* Qwen3VitEncoder"):
        build_model("qwen3_vit_88m_enc", 3, str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("resnt18", "hub", r"unknown backbone 'resnt18'\. Close: resnet18"),
        ("resnet18.no_such_tag", "hub", r"unknown weights tag 'resnet18\.no_such_tag'; timm has resnet18\."),
        ("test_maxvit", "hub", r"no pretrained weights of test_maxvit\. Name a file with --weights"),
        (
            "test_resnet",
            "/no/such/file.pth",
            r"there is no such file\. Expected hub, store, package:NAME, an s3:// URI or a file",
        ),
        ("test_resnet", "package:no_such_package", r"the package no_such_package is not installed. Install it"),
        ("test_resnet", "package:.no.such", r"the package .no.such is not installed"),
        ("test_resnet", "package:components", r"expected one weights file in the package, found none"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(backbone: str, weights: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build_model(backbone, 3, weights)


def test_weights_of_another_backbone_are_listed(tiny_weights: Path, tmp_path: Path) -> None:
    state = load_file(tiny_weights)
    del state["bn1.weight"]
    state["layer1.0.conv1.weight"] = torch.zeros(1)
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match=r"3 tensors differ: bn1\.weight, layer1\.0\.conv1\.weight, extra"):
        build_model("test_resnet", 3, str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(BadInput, match="cannot be read as weights"):
        build_model("test_resnet", 3, str(tmp_path / name))


def test_a_file_that_holds_more_than_tensors_is_refused_without_torchs_advice_to_run_it(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1.0)}, tmp_path / "checkpoint.pth")
    (tmp_path / "labels.json").write_text('{"classes": []}')
    for name in ("checkpoint.pth", "labels.json"):
        with pytest.raises(BadInput, match=rf"{name} cannot be read as weights: it is no state dict") as caught:
            build_model("test_resnet", 3, str(tmp_path / name))
        assert "weights_only" not in str(caught.value)


def test_weights_must_have_the_digest_that_was_named(tiny_weights: Path) -> None:
    build_model("test_resnet", 3, str(tiny_weights), file_digest(tiny_weights))
    with pytest.raises(BadInput, match=f"expected {'0' * 64}"):
        build_model("test_resnet", 3, str(tiny_weights), "0" * 64)
