"""Contestants with known strength: a classifier that has learnt, one that has not, champions that look at colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from components.interchange.artifact import digest, write_card
from components.interchange.blobs import open_blobs
from components.interchange.cards import ClassifierCard, OnnxCard, Weights
from components.interchange.champion import ChampionRecord, model_prefix, swap_pointer
from components.interchange.dataset import open_dataset
from components.interchange.onnx_model import metadata_of
from components.interchange.preprocessing import Preprocessing
from tests.conftest import COLOURS, TINY_BACKBONE, TINY_INPUT_PX


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_weights: Path) -> Path:
    """A classifier that tells the tiny dataset's colours apart, with a history of three epochs."""
    import torch

    from components.interchange import classifier
    from components.interchange.backbone import build_model
    from components.interchange.pixels_to_logits import PixelsToLogits

    torch.manual_seed(1)
    dataset = open_dataset(tiny_dataset)
    model, weights = build_model(TINY_BACKBONE, 3, str(tiny_weights), None, TINY_INPUT_PX)
    preprocessing = classifier.preprocessing_of(model, dataset.manifest, TINY_INPUT_PX)
    network = PixelsToLogits(model, preprocessing).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    train = dataset.split("train")
    pixels_NHWC = torch.from_numpy(train.center_crops(range(len(train)), TINY_INPUT_PX))
    history = []
    for epoch in (1, 2, 3, 4):
        loss = torch.nn.functional.cross_entropy(network(pixels_NHWC), torch.from_numpy(train.labels_N))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({"epoch": epoch, "train_loss": loss.item(), "val_top1": 0.2 * epoch})
    card = ClassifierCard(
        backbone=TINY_BACKBONE,
        classes=dataset.classes,
        preprocessing=preprocessing,
        weights=weights,
        dataset_digest=dataset.digest(),
        made_by="finetune",
        spec={},
        history=history,
    )
    folder = tmp_path_factory.mktemp("learnt") / "classifier"
    classifier.save(folder, model, card)
    return folder


@pytest.fixture(scope="session")
def biased(tmp_path_factory: pytest.TempPathFactory, learnt: Path) -> Path:
    """`learnt` with a head that leans towards green and is too sure: half of red is wrong."""
    import torch

    from components.interchange import classifier

    model, card = classifier.load(learnt)
    with torch.no_grad():
        head = model.get_classifier()
        head.bias[1] += 0.42
        head.bias *= 2000
        head.weight *= 2000
    folder = tmp_path_factory.mktemp("biased") / "classifier"
    classifier.save(folder, model, card)
    return folder


def write_champion(folder: Path, classes: list[str], resize_short_px: int = 40, temperature: float = 1.0) -> Path:
    """An onnx_model that answers with the class whose colour is nearest to the mean; unknown ones are grey."""
    colours = np.array([COLOURS.get(name, (128, 128, 128)) for name in classes], np.float32)
    preprocessing = Preprocessing(
        resize_short_px=resize_short_px, interpolation="bicubic", crop_px=32, mean=(0, 0, 0), std=(1, 1, 1)
    )
    card = OnnxCard(
        classes=classes,
        preprocessing=preprocessing,
        opset=17,
        precision="fp32",
        eligible=True,
        classifier_digest="c" * 64,
        dataset_digest="d" * 64,
        backbone=TINY_BACKBONE,
        weights=Weights(origin="file:none", sha256="0" * 64),
        spec={},
        temperature=temperature,
    )
    # |mean - colour|^2 = |mean|^2 - 2 mean.colour + |colour|^2, and the first term is the same for every class.
    constants = {"colours": 0.02 * colours.T, "lengths": -0.01 * (colours**2).sum(1)}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["means", "colours"], ["products"]),
            helper.make_node("Add", ["products", "lengths"], ["logits"]),
        ],
        "nearest colour",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(classes)])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata_of(card))
    write_card(folder, "onnx_model", card.model_dump(mode="json", exclude={"format"}))
    onnx.save(model, folder / "model.onnx")
    return folder


@pytest.fixture
def crowned(tmp_path: Path) -> Callable[..., str]:
    """Publish an onnx_model as the champion `model` of a new store; gives the store."""

    def crown(folder: Path, classifier_digest: str = "c" * 64) -> str:
        blobs = open_blobs(str(tmp_path / "store"))
        found = digest(folder)
        blobs.put_folder(model_prefix(found), folder)
        record = ChampionRecord(
            digest=found,
            classifier_digest=classifier_digest,
            dataset_digest="d" * 64,
            replaced=None,
            run_id=None,
            when="2020-01-01T00:00:00+00:00",
        )
        assert swap_pointer(blobs, "model", record, None)
        return blobs.uri

    return crown
