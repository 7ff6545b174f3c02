"""From a folder of images to a promoted ONNX model, as a user runs it."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from components.interchange.cards import read_onnx_card
from components.interchange.report import read_report
from pipelines import upkeep
from pipelines.steps import edges, graph_for
from pipelines.store import open_store
from tests import warm
from tests.conftest import write_source
from tests.e2e.conftest import Ended, Run, Words, graft
from tests.faults.test_kills import BY_CONTENT, done

ALL_STEPS = {"ingest", "feature_extraction", "finetune", "evaluate", "export_onnx", "latency", "gate", "promote"}

PLANTED = """
version: 1
handlers: {{planted: {{class: logging.FileHandler, filename: "{path}"}}}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first run") / "store"


@pytest.fixture(scope="module")
def first(tiny_words: Words, tiny_source: Path, store: Path) -> Ended:
    """The one Prefect flow of the suite. `test_s3_store.py` has a run from its first import on.

    Others have put settings of Prefect's into the current folder, and into the store.
    """
    here, home = store.parent / "checkout", store / "prefect"
    here.mkdir()
    home.mkdir(parents=True)
    logging = here / "logging.yml"
    logging.write_text(PLANTED.format(path=store.parent / "planted"))
    (here / ".env").write_text(f"PREFECT_LOGGING_CONFIG_PATH={logging}")
    (here / "prefect.toml").write_text("[who reads this ends in a traceback")
    (here / "pyproject.toml").write_text(f'[tool.prefect.logging]\nconfig_path = "{logging}"')
    (home / "logging.yml").write_text(logging.read_text())
    (home / "profiles.toml").write_text(f'active = "x"\n[profiles.x]\nPREFECT_LOGGING_CONFIG_PATH = "{logging}"')
    with contextlib.chdir(here):
        return graft(*tiny_words(tiny_source, store, engine="prefect"))


def test_no_settings_of_prefect_are_taken_from_the_current_folder_or_a_store(first: Ended, store: Path) -> None:
    """Those of its logging name what is called: any code."""
    assert first.code == 0, first.err
    assert not (store.parent / "planted").exists()


def test_the_summary_says_everything(first: Ended, store: Path) -> None:
    assert first.code == 0, first.err
    summary = first.summary

    assert summary["verdict"] == "promote"
    assert summary["reasons"]
    assert summary["selected"] in ("finetune", "feature_extraction")
    assert summary["test"].keys() >= {"baseline_top1", "candidate_top1", "difference", "interval", "n"}
    assert summary["onnx"]["opset"] == 17
    assert summary["onnx"]["parity"]["flips"] == 0
    assert summary["onnx"]["parity"]["samples"] == 16
    assert summary["latency"]["batch"] == 1
    assert 0 < summary["latency"]["p50_ms"] <= summary["latency"]["p99_ms"]
    assert summary["latency"]["n"] == 200
    assert first.ran == ALL_STEPS
    assert Path(summary["report"]).read_text().startswith("<!DOCTYPE html>")
    assert read_onnx_card(Path(summary["onnx"]["path"]).parent).classes == ["blue", "green", "red"]
    written = store / "runs" / summary["run_id"] / "summary.json"
    assert json.loads(written.read_text()) == summary


def test_killed_twice_and_without_an_engine_it_ends_with_the_same_digests(
    first: Ended, tiny_words: Words, tiny_source: Path, store: Path, tmp_path: Path
) -> None:
    """Killed while it trains and while it exports; the moments come from what is in the store."""
    mine, words = tmp_path / "store", tiny_words(tiny_source, tmp_path / "store")
    for steps in (2, 5):
        run = warm.start("pipelines.cli", *words)
        while len(done(mine)) < steps and run.is_alive():
            time.sleep(0.02)
        run.kill()
        run.join()
        finished = done(mine)
        assert len(finished) >= steps and run.exitcode == -signal.SIGKILL
    ended = graft(*words)
    assert ended.code == 0, ended.err
    assert finished.items() <= done(mine).items(), "a finished step ran again"
    assert ended.ran <= {"export_onnx", "latency", "gate", "promote"}
    assert upkeep.faults(open_store(str(mine))) == {}

    theirs, ours = first.made(store), ended.made(mine)
    equal = {name for name in ours if ours[name] == theirs[name]}
    assert equal >= BY_CONTENT
    assert "latency.report" not in equal


def test_nothing_changed_nothing_runs(first: Ended, tiny_run: Run, tiny_source: Path, store: Path) -> None:
    """What a run left that was killed at its very end goes all the same."""
    killed = warm.start("keyword")  # A module that ends at once: its process id is nobody's then.
    killed.join()
    left = store / "tmp" / f"{os.uname().nodename.replace('-', '_')}-{killed.pid}-half"
    left.mkdir()
    again = tiny_run(tiny_source, store, engine="prefect", runner="process")
    assert not left.exists()

    assert again.code == 0, again.err
    assert again.summary["verdict"] == "unchanged"
    assert again.ran == set()


def test_a_new_budget_runs_the_gate_and_what_follows(
    first: Ended, tiny_run: Run, tiny_source: Path, store: Path
) -> None:
    again = tiny_run(tiny_source, store, "--set", "gate.max-p99-ms=10000")

    assert again.code == 0, again.err
    assert again.ran <= {"gate", "promote"}
    assert "gate" in again.ran


def test_a_broken_budget_keeps_the_champion(first: Ended, tiny_run: Run, tiny_source: Path, store: Path) -> None:
    pointer = store / "champions" / "tiny.json"
    before = pointer.read_bytes()

    refused = tiny_run(tiny_source, store, "--set", "gate.max-p99-ms=0.0001", "--require", "promote")

    assert refused.code == 3
    assert refused.summary["verdict"] == "keep"
    assert any(reason.startswith("p99 ") for reason in refused.summary["reasons"])
    assert pointer.read_bytes() == before


def test_a_budget_inside_the_interval_is_inconclusive(
    first: Ended, tiny_run: Run, tiny_source: Path, store: Path
) -> None:
    p99_ms = first.summary["latency"]["p99_ms"]

    unsure = tiny_run(tiny_source, store, "--set", f"gate.max-p99-ms={p99_ms}")

    assert unsure.code == 0, unsure.err
    assert unsure.summary["verdict"] == "inconclusive"


def test_the_champion_classifies_new_images(first: Ended, store: Path, tmp_path: Path) -> None:
    new = write_source(tmp_path / "new images", 2, seed=99)
    images = sorted(new.rglob("*.*"))

    ended = graft("predict", "--model", "champion:tiny", "--store", store, "--json", *images)

    assert ended.code == 0, ended.err
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [answer["image"] for answer in answers] == [str(image) for image in images]
    assert [answer["class"] for answer in answers] == [image.parent.name for image in images]
    assert all(abs(sum(answer["probabilities"].values()) - 1) < 1e-5 for answer in answers)


def test_a_baseline_that_finetuning_does_not_beat_is_selected_and_meets_the_champion(
    first: Ended, tiny_run: Run, tiny_source: Path, store: Path
) -> None:
    """The same data with another seed and next to no training is no better than the champion, which stays."""
    little = ("--set", "finetune.num-epochs=1", "--set", "finetune.base-lr=1e-4")
    again = tiny_run(tiny_source, store, "--seed", 5, *little)

    assert again.code == 0, again.err
    assert again.summary["selected"] == "feature_extraction"
    assert again.summary["test"]["baseline_top1"] >= again.summary["test"]["candidate_top1"]
    assert again.summary["verdict"] in ("keep", "inconclusive")
    report = read_report(store / "artifacts" / again.made(store)["evaluate.report"])
    assert report.row("top1_difference", of="selected-champion", split="test") is not None


def test_drift_stops_a_run_before_training_where_asked(
    first: Ended, tiny_run: Run, darker_source: Path, store: Path
) -> None:
    pointer = store / "champions" / "tiny.json"
    before = pointer.read_bytes()

    stopped = tiny_run(darker_source, store, "--on-drift", "stop")

    assert stopped.code == 0, stopped.err
    assert (stopped.summary["verdict"], stopped.ran) == ("keep", {"ingest"})
    by_whom, because = stopped.summary["reasons"]
    assert by_whom == "stopped before training, by --on-drift stop"
    assert because.startswith("Since the champion, the mean of ")
    skipped = {name: step["why"] for name, step in stopped.steps(store).items() if step["action"] == "skip"}
    assert skipped == dict.fromkeys(ALL_STEPS - {"ingest"}, "the images drifted since the champion")
    page = Path(stopped.summary["report"]).read_text()
    assert "the run ended before training" in page and "red mean" in page
    again = tiny_run(darker_source, store, "--on-drift", "stop", "--require", "promote")
    assert (again.code, again.summary["verdict"], again.ran) == (3, "unchanged", set())
    assert pointer.read_bytes() == before


def test_the_edges_of_the_graph_are_those_that_this_run_recorded(first: Ended, store: Path) -> None:
    """Every step's report names the digests of its inputs; traced to who made them, they are the graph's edges.

    Kubeflow's YAML has the same, as `tests/pipelines/test_kfp.py` proves.
    """
    makers = {digest: name for name, digest in first.made(store).items()}
    recorded = {
        (makers[digest], f"{step}.{port}")
        for step in ALL_STEPS
        for port, digest in read_report(store / "artifacts" / first.made(store)[f"{step}.report"]).inputs.items()
    }

    assert edges(graph_for("both")) == recorded
