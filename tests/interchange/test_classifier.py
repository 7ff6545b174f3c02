"""The classifier artifact: the round trip bit for bit, and what it is refused with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from components.interchange import classifier
from components.interchange.artifact import digest
from components.interchange.backbone import build_model
from components.interchange.cards import ClassifierCard, read_classifier_card
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.state_dicts import savable, state_digest


def test_a_vit_takes_the_input_size_that_was_asked_for(tmp_path: Path, tiny_dataset: Path) -> None:
    torch.manual_seed(0)
    native = timm.create_model("test_vit")
    torch.save(native.state_dict(), tmp_path / "vit.pth")
    model, weights = build_model("test_vit", 3, str(tmp_path / "vit.pth"), None, 32)
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
    assert state_digest(again.state_dict()) == state_digest(model.state_dict())


@pytest.mark.parametrize("backbone", ["repvit_m1", "coat_lite_tiny"])
def test_a_head_of_distillation_and_tensors_of_two_names_survive_the_round_trip(
    backbone: str, tiny_classifier: Path, tmp_path: Path
) -> None:
    """timm's reset_classifier drops the one (RepViT); the other shares modules (CoaT)."""
    torch.manual_seed(0)
    save_file(savable(timm.create_model(backbone).state_dict()), tmp_path / "w.safetensors")
    card = read_classifier_card(tiny_classifier)
    model, _ = build_model(backbone, len(card.classes), str(tmp_path / "w.safetensors"))
    classifier.save(tmp_path / "c", model, card.model_copy(update={"backbone": backbone}))
    again, _ = classifier.load(tmp_path / "c")
    assert state_digest(again.state_dict()) == state_digest(model.state_dict())


def test_the_digest_covers_names_shapes_and_bits_but_not_order() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.tensor(1)}
    found = state_digest(state)
    assert state_digest(dict(reversed(state.items()))) == found
    others = [{**state, "a": torch.zeros(3, 2)}, {**state, "b": torch.tensor(2)}, {"a": state["a"], "c": state["b"]}]
    assert all(state_digest(other) != found for other in others)


def test_an_artifact_without_its_weights_is_refused(copied: Callable[[Path], Path], tiny_classifier: Path) -> None:
    folder = copied(tiny_classifier)
    (folder / classifier.WEIGHTS_FILE).unlink()
    with pytest.raises(BadInput, match=r"has no weights\.safetensors"):
        classifier.load(folder)


def test_images_stored_too_small_name_the_size_to_ingest_with(tiny_weights: Path, tiny_dataset: Path) -> None:
    model, _ = build_model("test_resnet", 3, str(tiny_weights))
    with pytest.raises(BadInput, match=r"40 px.*160 px\. Run ingest with --stored-size-px 1\d\d"):
        classifier.preprocessing_of(model, open_dataset(tiny_dataset).manifest)


def test_classes_must_be_the_same_in_the_same_order(tiny_classifier: Path, tiny_dataset: Path) -> None:
    _, card = classifier.load(tiny_classifier)
    manifest = open_dataset(tiny_dataset).manifest
    classifier.check_classes(card, manifest)
    with pytest.raises(BadInput, match=r"\(blue, green, red\) are not the dataset's \(green, blue, red\)"):
        classifier.check_classes(card, manifest.model_copy(update={"classes": ["green", "blue", "red"]}))
