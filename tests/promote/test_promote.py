"""promote through its command line: what it publishes, what it refuses, and eight of them at once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.interchange.artifact import digest, write_card
from components.interchange.blobs import open_blobs
from components.interchange.champion import current
from components.interchange.cli import main
from components.interchange.report import read_report
from components.promote.spec import Promote
from tests.warm import SERVER

ROWS: list[dict[str, object]] = [
    {"name": "p99_ms", "value": 7.5, "unit": "ms", "of": "max_p99_ms"},
    {"name": "top1", "value": 0.93, "of": "min_top1", "split": "test"},
    {"name": "flips", "value": 0, "of": "max_flips"},
    {"name": "p99_ms", "value": 7.5, "unit": "ms", "of": "batch 1", "low": 7.1, "high": 8.0, "n": 1000},
    {"name": "top1", "value": 0.93, "of": "candidate", "split": "test", "low": 0.9, "high": 0.95, "n": 400},
]


def onnx_model(folder: Path, name: str, classifier: str = "", **changes: object) -> Path:
    """An onnx_model artifact whose file is its name."""
    card: dict[str, Any] = {
        "classes": ["blue", "red"],
        "preprocessing": {
            "resize_short_px": 40,
            "interpolation": "bicubic",
            "crop_px": 32,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "opset": 17,
        "precision": "fp32",
        "eligible": True,
        "classifier_digest": classifier or f"classifier of {name}",
        "dataset_digest": "dataset",
        "backbone": "test_resnet",
        "weights": {"origin": "file:tiny", "sha256": "0"},
        "spec": {},
    }
    write_card(folder / name, "onnx_model", card | changes)
    (folder / name / "model.onnx").write_text(name)
    return folder / name


def gate_report(folder: Path, compared_with: str | None, verdict: str = "promote", **details: object) -> Path:
    """A gate's report."""
    content = {
        "step": "gate",
        "spec": {},
        "inputs": {},
        "rows": ROWS,
        "details": {"verdict": verdict, "reasons": ["because"], "compared_with": compared_with} | details,
    }
    number = len(list(folder.glob("gate*")))
    write_card(folder / f"gate{number}", "report", content)
    return folder / f"gate{number}"


def judged(gate: Path, model: Path) -> None:
    """Make a gate's report be about this model."""
    content = json.loads((gate / "report.json").read_text())
    content["details"]["model"] = digest(model)
    (gate / "report.json").write_text(json.dumps(content))


def promote(folder: Path, model: Path, gate: Path, store: str | None, *flags: str) -> int:
    """Exit code of the step, with the gate's word made to be about this model. Its report lies at `folder`."""
    judged(gate, model)
    argv = ["--onnx-model", str(model), "--gate-report", str(gate), "--report", str(folder)]
    return main(Promote, [*argv, *(["--store", store] if store else []), *flags])


def champion_digest(store: str) -> str | None:
    found = current(store, "model")
    return found.digest if found else None


def everything(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "disk" else str(request.getfixturevalue("s3_store"))


def test_a_model_becomes_champion_and_is_published(tmp_path: Path, store: str) -> None:
    a, b = onnx_model(tmp_path, "a"), onnx_model(tmp_path, "b")
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), store, "--run-id", "run1") == 0
    gate = gate_report(
        tmp_path, digest(a), provider="CPUExecutionProvider", num_threads=2, processor="a Xeon", noisy=True
    )
    assert promote(tmp_path / "2", b, gate, store, "--run-id", "run2") == 0

    report = read_report(tmp_path / "2")
    assert [(row.name, row.value) for row in report.rows] == [("promoted", digest(b)), ("replaced", digest(a))]
    assert report.details == {"model_name": "model", "changed": True}
    champion = current(store, "model")
    assert champion is not None and champion.digest == digest(b)
    assert (champion.fetch(tmp_path / "cache") / "model.onnx").read_text() == "b"

    pointer = json.loads(open_blobs(store).get("champions/model.json") or b"")
    assert pointer["classifier_digest"] == "classifier of b" and pointer["dataset_digest"] == "dataset"
    assert pointer["run_id"] == "run2" and pointer["when"].endswith("+00:00")
    assert [(row["name"], row["value"], row["high"]) for row in pointer["latency"]] == [("p99_ms", 7.5, 8.0)]
    assert [(row["name"], row["value"]) for row in pointer["top1"]] == [("top1", 0.93)]
    assert pointer["provider"] == "CPUExecutionProvider" and pointer["num_threads"] == 2
    assert pointer["processor"] == "a Xeon" and pointer["noisy"] is True
    assert [(earlier["digest"], earlier["run_id"]) for earlier in pointer["history"]] == [(digest(a), "run1")]


def test_a_second_promotion_of_the_champion_does_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = str(tmp_path / "store")
    a, b = onnx_model(tmp_path, "a"), onnx_model(tmp_path, "b")
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), store) == 0
    assert promote(tmp_path / "2", b, gate_report(tmp_path, digest(a)), store) == 0
    before = open_blobs(store).get("champions/model.json")
    caplog.set_level("INFO")
    assert promote(tmp_path / "3", b, gate_report(tmp_path, digest(a)), store) == 0
    assert "already champion, nothing to do" in caplog.text
    assert open_blobs(store).get("champions/model.json") == before
    report = read_report(tmp_path / "3")
    assert [row.value for row in report.rows] == [digest(b), digest(a)]
    assert report.details["changed"] is False


@pytest.mark.parametrize("verdict", ["keep", "inconclusive"])
def test_any_other_verdict_changes_nothing(tmp_path: Path, verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = onnx_model(tmp_path, "a"), onnx_model(tmp_path, "b")
    store = tmp_path / "store"
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), str(store)) == 0
    before = everything(store)
    for model in (a, b):
        gate = gate_report(tmp_path, digest(a), verdict, reasons=["p99 48 ms is over 40 ms", "2 flips"])
        assert promote(tmp_path / "2", model, gate, str(store)) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == f"promote: gate said {verdict}: p99 48 ms is over 40 ms; 2 flips; nothing was changed."
    assert everything(store) == before
    assert not (tmp_path / "2").exists()


def test_a_stale_champion_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "store")
    a, b, c = (onnx_model(tmp_path, name) for name in "abc")
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), store) == 0
    assert promote(tmp_path / "2", b, gate_report(tmp_path, digest(a)), store) == 0
    for compared_with in (None, digest(a), "unheard of"):
        assert promote(tmp_path / "3", c, gate_report(tmp_path, compared_with), store) == 2
        expected = f"champion changed since evaluation: it was {compared_with or 'none'}, now it is {digest(b)}"
        assert expected in capsys.readouterr().err
    assert champion_digest(store) == digest(b)
    assert not open_blobs(store).list(f"models/{digest(c)}")
    assert not (tmp_path / "3").exists()


def test_a_champion_that_vanished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = gate_report(tmp_path, "gone")
    assert promote(tmp_path / "1", onnx_model(tmp_path, "a"), gate, str(tmp_path / "store")) == 2
    assert "it was gone, now it is none" in capsys.readouterr().err


def test_a_champion_of_the_same_classifier_was_left_out_of_the_comparison(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b, again = onnx_model(tmp_path, "a"), onnx_model(tmp_path, "b"), onnx_model(tmp_path, "b2", "classifier of b")
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), store) == 0
    assert promote(tmp_path / "2", b, gate_report(tmp_path, digest(a)), store) == 0
    assert promote(tmp_path / "3", b, gate_report(tmp_path, digest(a)), store) == 0, "the very same model"
    assert promote(tmp_path / "4", again, gate_report(tmp_path, None), store) == 2, "a must have been compared with"
    assert promote(tmp_path / "5", again, gate_report(tmp_path, digest(a)), store) == 0, "exported again"
    assert champion_digest(store) == digest(again)
    assert read_report(tmp_path / "5").row("replaced").value == digest(b)  # type: ignore[union-attr]


def test_a_champion_of_the_other_contender_was_left_out_too(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    baseline, candidate = onnx_model(tmp_path, "baseline"), onnx_model(tmp_path, "candidate")
    assert promote(tmp_path / "1", baseline, gate_report(tmp_path, None), store) == 0
    assert promote(tmp_path / "2", candidate, gate_report(tmp_path, None), store) == 2
    gate = gate_report(tmp_path, None, contenders=["classifier of baseline", "classifier of candidate"])
    assert promote(tmp_path / "3", candidate, gate, store) == 0
    assert champion_digest(store) == digest(candidate)


@pytest.mark.parametrize(
    ("details", "flags", "changes", "message"),
    [
        ({}, ["--store", ""], {}, "expected a folder, file:///FOLDER or s3://BUCKET/PREFIX"),
        ({}, ["--model-name", "a/b"], {}, "--model-name 'a/b'"),
        ({"reasons": 3}, [], {}, "the report of gate is damaged, in its details: reasons ("),
        ({}, [], {"eligible": False, "ineligible_because": ["2 flips"]}, "must not be promoted: 2 flips"),
    ],
)
def test_bad_input_is_refused_in_words(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    details: dict[str, object],
    flags: list[str],
    changes: dict[str, object],
    message: str,
) -> None:
    model, store = onnx_model(tmp_path, "a", **changes), None if "--store" in flags else str(tmp_path / "store")
    assert promote(tmp_path / "1", model, gate_report(tmp_path, None, **details), store, *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists() and not (tmp_path / "1").exists()


def test_only_the_model_that_was_judged_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, gate, store = onnx_model(tmp_path, "a"), gate_report(tmp_path, None), tmp_path / "store"
    judged(gate, model)
    (model / "model.onnx").write_text("altered since")
    argv = ["--onnx-model", model, "--gate-report", gate, "--report", tmp_path / "1", "--store", store]

    assert main(Promote, list(map(str, argv))) == 2
    assert "is not the model that the gate judged" in capsys.readouterr().err
    assert not store.exists() and not (tmp_path / "1").exists()


def test_without_a_store_there_is_nowhere_to_publish(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote(tmp_path / "1", onnx_model(tmp_path, "a"), gate_report(tmp_path, None), None) == 2
    assert "give --store" in capsys.readouterr().err


def test_only_the_gates_report_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = gate_report(tmp_path, None)
    card = json.loads((gate / "report.json").read_text())
    (gate / "report.json").write_text(json.dumps(card | {"step": "latency"}))
    assert promote(tmp_path / "1", onnx_model(tmp_path, "a"), gate, str(tmp_path / "store")) == 2
    assert "is a report of latency, expected one of gate" in capsys.readouterr().err


ROUNDS, RIVALS = int(os.environ.get("GRAFT_ROUNDS", "2")), 8


def rival(folder: str, store: str, number: int, settings: dict[str, str], barrier: Any, results: Any) -> None:
    """In every round: look who is champion, wait for the others, promote a model of one's own."""
    os.environ.update(settings)  # The server of forks was perhaps started with others.
    own = Path(folder)
    for turn in range(ROUNDS):
        model = onnx_model(own, f"model {number} {turn}")
        gate = gate_report(own, champion_digest(store))
        barrier.wait(60)
        results.put((turn, promote(own / f"report{turn}", model, gate, store), digest(model)))
        barrier.wait(60)


def test_of_eight_promotions_at_once_one_wins(tmp_path: Path, store: str) -> None:
    barrier, results = SERVER.Barrier(RIVALS), SERVER.Queue()
    rivals = []
    for number in range(RIVALS):
        (tmp_path / f"rival {number}").mkdir()
        arguments = (str(tmp_path / f"rival {number}"), store, number, dict(os.environ), barrier, results)
        rivals.append(SERVER.Process(target=rival, args=arguments, daemon=True))
        rivals[-1].start()
    outcomes = [results.get(timeout=60) for _ in range(ROUNDS * RIVALS)]
    for process in rivals:
        process.join(30)
        assert process.exitcode == 0

    winners = []
    for turn in range(ROUNDS):
        codes = sorted(code for round_, code, _ in outcomes if round_ == turn)
        assert codes == [0] + [2] * (RIVALS - 1)
        winners += [model for round_, code, model in outcomes if round_ == turn and code == 0]
    pointer = json.loads(open_blobs(store).get("champions/model.json") or b"")
    assert [earlier["digest"] for earlier in pointer["history"]] + [pointer["digest"]] == winners
    assert [earlier["replaced"] for earlier in pointer["history"]] == [None, *winners[:-2]]
    champion = current(store, "model")
    assert champion is not None and digest(champion.fetch(tmp_path / "cache")) == winners[-1]


@pytest.mark.parametrize(
    ("found", "put"), [('"rows": [', '"rows": [3, '), ('"inputs": {}', '"inputs": 1'), ('"value": 7.5', '"value": NaN')]
)
def test_a_gates_report_that_was_edited_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], found: str, put: str
) -> None:
    model, gate = onnx_model(tmp_path, "m"), gate_report(tmp_path, None)
    judged(gate, model)
    text = (gate / "report.json").read_text()
    assert found in text
    (gate / "report.json").write_text(text.replace(found, put))
    argv = ["--onnx-model", str(model), "--gate-report", str(gate), "--report", str(tmp_path / "report")]
    assert main(Promote, [*argv, "--store", str(tmp_path / "store")]) == 2
    told = capsys.readouterr().err
    assert str(gate / "report.json") in told and len(told.strip().splitlines()) == 1
    assert not (tmp_path / "report").exists() and not list(tmp_path.glob("store/*/*"))
