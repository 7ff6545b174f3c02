"""The classifier artifact: building from every source of weights, refusals in words, and the round trip bit for bit."""

import argparse
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from components.interchange import classifier
from components.interchange.artifact import digest, file_digest
from components.interchange.cards import ClassifierCard, read_classifier_card
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.inference import forward, predict_logits


def backbone_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(("fc.", "head."))}


def test_a_file_fills_everything_but_the_head(tiny_weights: Path) -> None:
    model, weights = classifier.build("test_resnet", 3, str(tiny_weights))
    stored = load_file(tiny_weights)
    assert stored["fc.weight"].shape[0] == 10 and model.get_parameter("fc.weight").shape[0] == 3
    assert classifier.state_digest(backbone_of(model.state_dict())) == classifier.state_digest(backbone_of(stored))
    assert weights.origin == "file:tiny.safetensors" and weights.sha256 == file_digest(tiny_weights)


def test_a_package_fills_by_order(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tiny_weights_for_graft"
    package.mkdir()
    (package / "__init__.py").touch()
    state = timm.create_model("test_resnet").state_dict()
    torch.save({f"other.{number}": tensor for number, tensor in enumerate(state.values())}, package / "tiny.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    model, weights = classifier.build("test_resnet", 3, "package:tiny_weights_for_graft")
    assert classifier.state_digest(backbone_of(model.state_dict())) == classifier.state_digest(backbone_of(state))
    assert weights.origin == "package:tiny_weights_for_graft"


def test_a_vit_takes_the_input_size_that_was_asked_for(tmp_path: Path, tiny_dataset: Path) -> None:
    torch.manual_seed(0)
    native = timm.create_model("test_vit")
    torch.save(native.state_dict(), tmp_path / "vit.pth")
    model, weights = classifier.build("test_vit", 3, str(tmp_path / "vit.pth"), None, 32)
    dataset = open_dataset(tiny_dataset)
    card = ClassifierCard(
        backbone="test_vit",
        classes=dataset.classes,
        preprocessing=classifier.preprocessing_of(model, dataset.manifest, 32),
        weights=weights,
        dataset_digest="",
        made_by="finetune",
        spec={},
    )
    classifier.save(tmp_path / "vit", model, card)
    images_NCHW = torch.rand(2, 3, 32, 32)
    loaded, _ = classifier.load(tmp_path / "vit")
    assert torch.equal(loaded(images_NCHW), model.eval()(images_NCHW))
    assert torch.equal(model.get_parameter("blocks.0.attn.qkv.weight"), native.blocks[0].attn.qkv.weight)


def test_the_round_trip_keeps_every_bit(tiny_classifier: Path, tmp_path: Path) -> None:
    model, card = classifier.load(tiny_classifier)
    assert not model.training
    classifier.save(tmp_path / "again", model.to(memory_format=torch.channels_last), card)
    assert digest(tmp_path / "again") == digest(tiny_classifier)
    again, _ = classifier.load(tmp_path / "again")
    assert classifier.state_digest(again.state_dict()) == classifier.state_digest(model.state_dict())


@pytest.mark.parametrize("backbone", ["repvit_m1", "coat_lite_tiny"])
def test_a_head_of_distillation_and_tensors_of_two_names_survive_the_round_trip(
    backbone: str, tiny_classifier: Path, tmp_path: Path
) -> None:
    """timm's reset_classifier drops the one (RepViT); the other shares modules (CoaT)."""
    torch.manual_seed(0)
    save_file(classifier.savable(timm.create_model(backbone).state_dict()), tmp_path / "w.safetensors")
    card = read_classifier_card(tiny_classifier)
    model, _ = classifier.build(backbone, len(card.classes), str(tmp_path / "w.safetensors"))
    classifier.save(tmp_path / "c", model, card.model_copy(update={"backbone": backbone}))
    again, _ = classifier.load(tmp_path / "c")
    assert classifier.state_digest(again.state_dict()) == classifier.state_digest(model.state_dict())


def test_layers_below_the_head_stay_pretrained(tmp_path: Path) -> None:
    """The BatchNorm before this head, which timm's reset_classifier makes anew."""
    pretrained = timm.create_model("efficientvit_m0").state_dict()
    pretrained["head.bn.running_mean"].fill_(0.5)
    save_file(classifier.savable(pretrained), tmp_path / "w.safetensors")
    state = classifier.build("efficientvit_m0", 3, str(tmp_path / "w.safetensors"))[0].state_dict()
    changed = {name for name in state if state[name].shape != pretrained[name].shape}
    assert changed == {"head.linear.weight", "head.linear.bias"}
    assert all(torch.equal(state[name], pretrained[name]) for name in state.keys() - changed)


@pytest.mark.filterwarnings("ignore::UserWarning")  # While timm resamples position biases.
def test_a_size_that_fits_no_window_is_refused(tmp_path: Path) -> None:
    save_file(classifier.savable(timm.create_model("test_maxvit").state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"--input-size-px 200: test_maxvit cannot.*divisible by window.*Take 160"):
        classifier.build("test_maxvit", 3, str(tmp_path / "w.safetensors"), input_size_px=200)


def test_an_encoder_of_timm_is_no_classifier(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    with torch.device("meta"), pytest.raises(BadInput, match=r"qwen3_vit_88m_enc is no classifier.* Qwen3VitEncoder"):
        classifier.build("qwen3_vit_88m_enc", 3, str(tmp_path / "w.safetensors"))


def test_normalisation_is_part_of_the_model(tiny_classifier: Path) -> None:
    model, card = classifier.load(tiny_classifier)
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mean, std = np.array(card.preprocessing.mean), np.array(card.preprocessing.std)
    by_hand = torch.from_numpy(((pixels_NHWC / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
    wrapped = classifier.PixelsToLogits(model, card.preprocessing)
    found = predict_logits(wrapped, iter([pixels_NHWC[:2], pixels_NHWC[2:]]), torch.device("cpu"))
    with torch.inference_mode():
        np.testing.assert_allclose(found, model(by_hand).numpy(), atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_come_back_in_order_each_from_one_thread(threads: int) -> None:
    before, used, at_once = torch.get_num_threads(), set(), threading.Barrier(threads)

    def first_pixel(part_NHWC: torch.Tensor) -> torch.Tensor:
        used.add((threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()))
        if part_NHWC[0, 0, 0, 0] < 8 * threads:
            at_once.wait(30)
        return part_NHWC[:, 0, 0, 0]

    batches_NHWC = np.arange(200, dtype=np.uint8).reshape(5, 40, 1, 1, 1)
    torch.set_num_threads(threads)
    try:
        found = forward(first_pixel, batches_NHWC, torch.device("cpu"))
        with pytest.raises(ZeroDivisionError):
            forward(lambda part_NHWC: part_NHWC * (1 // (len(part_NHWC) - 8)), batches_NHWC, torch.device("cpu"))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.cat(found).tolist() == list(range(200))
    assert [len(part) for part in found] == [8] * 25
    assert len(used) == threads and {one[1:] for one in used} == {(1, True)}


def test_the_digest_covers_names_shapes_and_bits_but_not_order() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.tensor(1)}
    found = classifier.state_digest(state)
    assert classifier.state_digest(dict(reversed(state.items()))) == found
    others = [{**state, "a": torch.zeros(3, 2)}, {**state, "b": torch.tensor(2)}, {"a": state["a"], "c": state["b"]}]
    assert all(classifier.state_digest(other) != found for other in others)


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
        ("test_resnet", "package:no_such_package", r"the package no_such_package is not installed"),
        ("test_resnet", "package:.no.such", r"the package .no.such is not installed"),
        ("test_resnet", "package:components", r"expected one weights file in the package, found none"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(backbone: str, weights: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        classifier.build(backbone, 3, weights)


def test_weights_of_another_backbone_are_listed(tiny_weights: Path, tmp_path: Path) -> None:
    state = load_file(tiny_weights)
    del state["bn1.weight"]
    state["layer1.0.conv1.weight"] = torch.zeros(1)
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match=r"3 tensors differ: bn1\.weight, layer1\.0\.conv1\.weight, extra"):
        classifier.build("test_resnet", 3, str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(BadInput, match="cannot be read as weights"):
        classifier.build("test_resnet", 3, str(tmp_path / name))


def test_a_file_that_holds_more_than_tensors_is_refused_without_torchs_advice_to_run_it(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1.0)}, tmp_path / "checkpoint.pth")
    (tmp_path / "labels.json").write_text('{"classes": []}')
    for name in ("checkpoint.pth", "labels.json"):
        with pytest.raises(BadInput, match=rf"{name} cannot be read as weights: it is no state dict") as caught:
            classifier.build("test_resnet", 3, str(tmp_path / name))
        assert "weights_only" not in str(caught.value)


def test_weights_must_have_the_digest_that_was_named(tiny_weights: Path) -> None:
    classifier.build("test_resnet", 3, str(tiny_weights), file_digest(tiny_weights))
    with pytest.raises(BadInput, match=f"expected {'0' * 64}"):
        classifier.build("test_resnet", 3, str(tiny_weights), "0" * 64)


def test_an_artifact_without_its_weights_is_refused(copied: Callable[[Path], Path], tiny_classifier: Path) -> None:
    folder = copied(tiny_classifier)
    (folder / classifier.WEIGHTS_FILE).unlink()
    with pytest.raises(BadInput, match=r"has no weights\.safetensors"):
        classifier.load(folder)


def test_images_stored_too_small_name_the_size_to_ingest_with(tiny_weights: Path, tiny_dataset: Path) -> None:
    model, _ = classifier.build("test_resnet", 3, str(tiny_weights))
    with pytest.raises(BadInput, match=r"40 px.*160 px\. Run ingest with --stored-size-px 1\d\d"):
        classifier.preprocessing_of(model, open_dataset(tiny_dataset).manifest)


def test_classes_must_be_the_same_in_the_same_order(tiny_classifier: Path, tiny_dataset: Path) -> None:
    _, card = classifier.load(tiny_classifier)
    manifest = open_dataset(tiny_dataset).manifest
    classifier.check_classes(card, manifest)
    with pytest.raises(BadInput, match=r"\(blue, green, red\) are not the dataset's \(green, blue, red\)"):
        classifier.check_classes(card, manifest.model_copy(update={"classes": ["green", "blue", "red"]}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_refused() -> None:
    assert classifier.choose_device("auto").type == "cpu"
    with pytest.raises(BadInput, match="torch sees no CUDA device here"):
        classifier.choose_device("cuda")


@pytest.mark.parametrize("num_images", [1, 5, 13])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalising_in_the_cache_changes_no_bit(num_images: int, kind: torch.dtype) -> None:
    rng = np.random.default_rng(num_images)
    pixels_NHWC = torch.from_numpy(rng.integers(0, 256, (num_images, 9, 7, 3), np.uint8)).to(kind)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ([124.1, 116.3, 103.5], [58.4, 57.1, 57.4]))
    found = classifier.normalised(pixels_NHWC, mean, std)
    expected = (pixels_NHWC.permute(0, 3, 1, 2).float() - mean) / std
    assert torch.equal(found, expected) and found.stride() == expected.stride()
    assert torch.equal(classifier.normalised(pixels_NHWC[:, 1:8, 2:], mean, std), expected[:, :, 1:8, 2:])


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning", "ignore::DeprecationWarning")
def test_a_traced_model_takes_any_batch() -> None:
    """Who traces the model records the plain expression, not the arrays of one batch."""
    mean, std = torch.tensor([123.7, 116.3, 103.5]).view(1, 3, 1, 1), torch.tensor([58.4, 57.1, 57.4]).view(1, 3, 1, 1)
    few, more = (torch.randint(0, 256, (count, 6, 5, 3), dtype=torch.uint8) for count in (1, 3))
    traced = torch.jit.trace(lambda pixels: classifier.normalised(pixels, mean, std), few)
    assert torch.equal(traced(more), classifier.normalised(more, mean, std))
