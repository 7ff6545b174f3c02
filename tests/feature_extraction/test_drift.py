"""Drift of the frozen features: told against the champion's lineage, and only where the features are of one kind."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.feature_extraction.spec import FeatureExtraction
from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from components.interchange.champion import ChampionRecord, model_prefix, swap_pointer
from components.interchange.cli import main
from components.interchange.errors import BadInput
from components.interchange.feature_statistics import FILE, read_feature_statistics
from components.interchange.lineage import FOLDER
from components.interchange.report import Report, read_report
from tests.conftest import write_dataset


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_weights: Path):
    """`features(dataset, *flags)` runs the step and gives its classifier's folder and its report."""

    def run(dataset: Path, *flags: str) -> tuple[Path, Report]:
        out = tmp_path_factory.mktemp("features")
        places = ["--dataset", str(dataset), "--classifier", str(out / "c"), "--report", str(out / "r")]
        how = ["--backbone", "test_resnet", "--weights", str(tiny_weights), "--device", "cpu", "--l2-candidates", "1"]
        assert main(FeatureExtraction, [*places, *how, "--input-size-px", "32", *flags]) == 0
        return out / "c", read_report(out / "r")

    return run


@pytest.fixture(scope="module")
def baseline(features, tiny_dataset: Path) -> Path:
    return Path(features(tiny_dataset)[0])


@pytest.fixture(scope="module")
def store(baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose champion has the baseline's feature statistics in its lineage."""
    root = tmp_path_factory.mktemp("crowned")
    (root / "model" / FOLDER).mkdir(parents=True)
    (root / "model" / FOLDER / FILE).write_bytes((baseline / FILE).read_bytes())
    name, blobs = digest(root / "model"), open_blobs(str(root / "store"))
    blobs.put_folder(model_prefix(name), root / "model")
    record = ChampionRecord(
        digest=name, classifier_digest="c", dataset_digest="d", replaced=None, run_id=None, when="2020"
    )
    assert swap_pointer(blobs, "model", record, None)
    return blobs.uri


def values(report: Report) -> dict[str, float]:
    return {row.name: float(row.value or 0) for row in report.rows if row.name.startswith("feature_drift")}


def test_other_images_of_the_same_kind_did_not_drift(features, store: str, tmp_path: Path) -> None:
    _, report = features(write_dataset(tmp_path / "alike", seed=5), "--store", store)
    found = values(report)
    assert 0 < found["feature_drift"] < found["feature_drift_limit"] / 2
    assert report.details["warnings"] == []


def test_images_that_show_something_else_did(
    features, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.conftest.COLOURS", {"blue": (60, 60, 60), "green": (120,) * 3, "red": (180,) * 3})
    classifier, report = features(write_dataset(tmp_path / "grey", seed=5), "--store", store)
    found = values(report)
    assert found["feature_drift"] > found["feature_drift_limit"]
    assert report.details["warnings"][0].startswith("Since the champion, the frozen features moved by ")
    page = (classifier.parent / "r" / "report.html").read_text()
    assert "Since the champion" in page and report.details["warnings"][0] in page


def test_the_same_features_are_apart_by_nothing_and_the_classifier_knows_no_champion(
    features, store: str, baseline: Path, tiny_dataset: Path
) -> None:
    classifier, report = features(tiny_dataset, "--store", store)
    assert values(report)["feature_drift"] == pytest.approx(0, abs=1e-3)
    assert digest(classifier) == digest(baseline)


def test_features_of_another_kind_are_not_compared(features, store: str, tiny_dataset: Path) -> None:
    _, report = features(tiny_dataset, "--store", store, "--input-size-px", "36")
    assert values(report) == {}
    assert report.details["features_not_compared"] == ["crop px 32 -> 36"]


def test_statistics_reach_the_lineage_whoever_is_selected(
    baseline: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    """The candidate has none of its own: evaluate hands on the baseline's."""
    both = ["--baseline", str(baseline), "--candidate", str(tiny_classifier), "--bootstrap-samples", "100"]
    places = ["--dataset", str(tiny_dataset), "--selected", str(tmp_path / "s"), "--report", str(tmp_path / "er")]
    assert main(Evaluate, [*places, *both, "--device", "cpu"]) == 0
    places = ["--dataset", str(tiny_dataset), "--selected", str(tmp_path / "s"), "--report", str(tmp_path / "xr")]
    words = ["--onnx-model", str(tmp_path / "m"), "--parity-samples", "4", "--golden-samples", "1", "--device", "cpu"]
    assert main(ExportOnnx, [*places, *words]) == 0
    carried = (tmp_path / "m" / FOLDER / FILE).read_bytes()
    assert carried == (baseline / FILE).read_bytes() and len(carried) < 20_000


def test_the_file_is_plain_numpy_and_a_damaged_one_is_refused(baseline: Path, tmp_path: Path) -> None:
    with np.load(baseline / FILE, allow_pickle=False) as found:
        assert found["covariance_KK"].shape == (*found["mean_K"].shape, *found["mean_K"].shape)
        about = json.loads(str(found["about"]))
    assert about["images"] == 60 and about["origin"]["backbone"] == "test_resnet"
    assert read_feature_statistics(tmp_path) is None
    (tmp_path / FILE).write_bytes((baseline / FILE).read_bytes()[:1000])
    with pytest.raises(BadInput, match="is damaged"):
        read_feature_statistics(tmp_path)
