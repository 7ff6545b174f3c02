"""Whether a run on a cluster would only repeat the champion's."""

import json
from pathlib import Path

import pytest

from components.changes.spec import Changes
from components.interchange.blobs import open_blobs
from components.interchange.champion import ChampionRecord, swap_pointer
from components.interchange.cli import main
from components.interchange.report import read_report
from components.interchange.step import flag

ASKED = {"--dataset-digest": "d1", "--pipeline-digest": "p1", "--seed": "0", "--max-p99-ms": "10"}


def said(store: Path, run_id: str, **other: str) -> tuple[str, list[str]]:
    """The word of a run, and what it says has changed."""
    folder = store.parent / run_id
    asked = ASKED | {flag(name): value for name, value in other.items()}
    argv = [word for pair in asked.items() for word in pair]
    argv += ["--store", str(store), "--run-id", run_id, "--model-name", "parts"]
    assert main(Changes, [*argv, "--word", str(folder / "word"), "--report", str(folder / "report")]) == 0
    return (folder / "word").read_text(), read_report(folder / "report").details["changed"]


def champion_of(store: Path, run_id: str | None) -> None:
    """A champion that this run has made."""
    record = ChampionRecord(
        digest="m", classifier_digest="c", dataset_digest="d1", replaced=None, run_id=run_id, when="2026-01-01"
    )
    assert swap_pointer(open_blobs(str(store)), "parts", record, None)


def test_the_champions_own_request_is_unchanged_and_any_other_is_not(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert said(store, "r1") == ("changed", ["there is no champion whose run is known"])
    champion_of(store, "r1")

    assert said(store, "r2") == ("unchanged", [])
    assert said(store, "r3", dataset_digest="d2") == ("changed", ["dataset digest d1 -> d2"])
    assert said(store, "r4", pipeline_digest="p2", seed="1")[1] == ["pipeline digest p1 -> p2", "seed 0 -> 1"]
    assert said(store, "r5", min_top1="0.9") == ("changed", ["min top1 None -> 0.9"])
    request = json.loads((store / "runs" / "r5" / "request.json").read_text())
    assert request["model_name"] == "parts" and request["asked"]["min_top1"] == 0.9


@pytest.mark.parametrize("run_id", [None, "of a laptop"])
def test_a_champion_from_elsewhere_is_no_reason_to_stop(tmp_path: Path, run_id: str | None) -> None:
    store = tmp_path / "store"
    champion_of(store, run_id)
    open_blobs(str(store)).put("runs/of a laptop/request.json", b'{"run_id": "of a laptop", "values": {}}')

    assert said(store, "r2")[0] == "changed"
