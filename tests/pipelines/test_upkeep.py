"""`graft store`: every damaged byte is found, and clearing leaves whatever a champion or a recent run needs."""

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange.artifact import digest
from components.interchange.champion import current
from components.interchange.errors import BadInput
from pipelines import upkeep
from pipelines.champions import rollback
from pipelines.cli import app
from pipelines.lock import no_run, only_run
from pipelines.plan import Request
from pipelines.run_options import RunOptions
from pipelines.runner import Outcome, perform
from pipelines.session import request_for
from pipelines.store import Store, open_store
from tests.promote.test_promote import gate_report, onnx_model, promote
from tests.promote.test_rollback import promoted


def graft(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def request_(tmp_path: Path, tiny_source: Path) -> Request:
    sets = ["ingest.stored-size-px=40"]
    return request_for(
        RunOptions(
            str(tiny_source), str(tmp_path / "store"), recipe="demo", model_name="m", set=tuple(sets), runner="inline"
        )
    )


def ingested(request: Request, number: int) -> Outcome:
    """A run, numbered in time, that came as far as ingest and made a dataset of its own."""
    values = request.values | {"ingest": request.values["ingest"] | {"val_fraction": 0.2 + number / 100}}
    own = dataclasses.replace(request, run_id=f"2026010{number}-000000-aaaa", values=values)
    store = open_store(request.store)
    store.put_record(f"runs/{own.run_id}/request.json", {"model_name": "m"})
    return perform(own, store, "ingest", {})


def present(store: Store) -> set[str]:
    return {item.digest for item in upkeep.items(store) if item.folder == "artifacts"}


def damage(path: Path) -> None:
    """Another byte under the same size and modification time: bit rot."""
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_bit_rot_is_found_and_made_again_after_forgetting(request_: Request) -> None:
    first, store = ingested(request_, 1), open_store(request_.store)
    dataset = first.outputs["dataset"]
    assert graft("store", "verify", "--store", store.uri)[0] == 0

    damage(store.artifact(dataset) / "samples.parquet")
    code, out, err = graft("store", "verify", "--store", store.uri)
    assert (code, len(out.splitlines())) == (2, 1)
    assert out.startswith(f"artifacts/{dataset}: ") and "samples.parquet does not have the sha256" in out
    assert "damaged: 1 artifacts, 0 published models" in err

    assert graft("store", "verify", "--store", store.uri, "--forget")[0] == 2
    assert ingested(request_, 1).action == "run"
    assert upkeep.faults(open_store(store.uri)) == {}
    assert digest(store.artifact(dataset)) == dataset


def test_an_artifact_whose_list_was_changed_with_it_is_found(request_: Request) -> None:
    first, store = ingested(request_, 1), open_store(request_.store)
    name = first.outputs["report"]
    for part in ("report.json", "report.html"):
        (store.artifact(name) / part).unlink()
    (store.root / "artifacts" / f"{name}.files.json").write_text(json.dumps({"digest": name, "files": {}}))
    assert upkeep.faults(store) == {f"artifacts/{name}": "its files and their list do not have this digest"}


def test_damaged_and_missing_models_of_champions_are_found(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    a, b = (digest(model) for model in promoted(tmp_path, store.uri, "ab"))
    assert upkeep.faults(store) == {}
    damage(store.root / "models" / b / "model.onnx")
    (store.root / "models" / f"{a}.files.json").unlink()
    found = upkeep.faults(store)
    assert found.keys() == {f"models/{a}", f"models/{b}"}
    assert "model.onnx does not have the sha256" in found[f"models/{b}"] and "is missing" in found[f"models/{a}"]


def test_clearing_keeps_what_recent_runs_need_and_only_lists_unless_told(request_: Request) -> None:
    made = [ingested(request_, number) for number in (1, 2, 3)]
    store = open_store(request_.store)
    shared = set.intersection(*(set(one.outputs.values()) for one in made))  # The same word of all three: go_on.
    ids = [set(one.outputs.values()) - shared for one in made]
    leftover = store.root / "artifacts" / "half"
    leftover.mkdir()
    (leftover / "card.json").write_text("{}")
    assert len(set.union(*ids)) == 6

    code, out, _ = graft("store", "gc", "--store", store.uri, "--keep-runs", "2")
    assert code == 0 and out.splitlines()[-1].startswith("3 of them, ") and "would be removed" in out
    assert present(store) == set.union(*ids, shared) | {"half"}

    code, out, _ = graft("store", "gc", "--store", store.uri, "--keep-runs", "2", "--delete", "--json")
    assert (code, {row["digest"] for row in json.loads(out)}) == (0, ids[0] | {"half"})
    assert present(store) == ids[1] | ids[2] | shared
    assert graft("store", "gc", "--store", store.uri, "--keep-runs", "2")[1].startswith("nothing to remove")
    assert upkeep.faults(store) == {}
    assert [ingested(request_, number).action for number in (2, 3, 1)] == ["unchanged", "unchanged", "run"]


def test_what_a_run_found_unchanged_stays_with_it(request_: Request) -> None:
    made = [ingested(request_, number) for number in (1, 2)]
    store = open_store(request_.store)
    steps = {"ingest": dataclasses.asdict(made[0])}
    store.put_record("runs/20260109-000000-aaaa/steps.json", {"steps": steps})
    assert upkeep.unneeded(store, keep_runs=1) == []
    (store.root / "runs" / "20260109-000000-aaaa" / "steps.json").write_text("{")
    with pytest.raises(BadInput, match=r"steps\.json is damaged"):
        upkeep.clear(store, keep_runs=1)
    assert present(store) == {*made[0].outputs.values(), *made[1].outputs.values()}


def test_clearing_keeps_the_run_of_a_champion_and_every_model_a_rollback_may_want(
    request_: Request, tmp_path: Path
) -> None:
    store = open_store(request_.store)
    [champions, _, latest] = [set(ingested(request_, number).outputs.values()) for number in (1, 2, 3)]
    a, b = onnx_model(tmp_path, "a"), onnx_model(tmp_path, "b")
    run_id = "20260101-000000-aaaa"
    assert promote(tmp_path / "1", a, gate_report(tmp_path, None), store.uri, "--run-id", run_id) == 0
    assert promote(tmp_path / "2", b, gate_report(tmp_path, digest(a)), store.uri, "--run-id", run_id) == 0
    for number, name in enumerate(("new", "old")):
        store.blobs.put_folder(f"models/{name}", a)
        os.utime(store.root / "models" / f"{name}.files.json", (1e9, 1e9)) if number else None
    rollback(store.uri, "model")

    removed = upkeep.clear(store, keep_runs=1)

    assert [item.digest for item in removed if item.folder == "models"] == ["old"]
    assert {path.name for path in (store.root / "models").iterdir() if path.is_dir()} == {digest(a), digest(b), "new"}
    assert present(store) == champions | latest
    champion = current(store.uri, "model")
    assert champion is not None and digest(champion.fetch()) == digest(a)


def test_clearing_and_runs_keep_each_other_out(request_: Request) -> None:
    store = open_store(request_.store)
    with only_run(store.root, "m", "r1"), only_run(store.root, "other", "r2"):
        with pytest.raises(BadInput, match="a run is under way"):
            upkeep.clear(store, 1)
        assert upkeep.unneeded(store, 1) == []
    with (
        no_run(store.root, "graft store gc"),
        pytest.raises(BadInput, match=r"is being cleared \(graft store gc, process"),
        only_run(store.root, "m", "r3"),
    ):
        pass
    assert upkeep.clear(store, 1) == []


def test_a_store_is_listed_with_the_step_that_made_each(request_: Request, tmp_path: Path) -> None:
    first = ingested(request_, 1)
    [a] = promoted(tmp_path, request_.store, "a")
    promotion = open_store(request_.store).publish(tmp_path / "report a")
    code, out, _ = graft("store", "ls", "--store", request_.store, "--json")
    rows = {row["digest"]: row for row in json.loads(out)}
    assert code == 0
    assert {rows[name]["what"] for name in first.outputs.values()} == {
        "ingest.dataset",
        "ingest.report",
        "ingest.drift",
    }
    assert (rows[digest(a)]["what"], rows[digest(a)]["files"]) == ("published model", 2)
    assert rows[promotion]["what"] == "promote.report"
    assert graft("store", "ls", "--store", request_.store)[1].splitlines()[0].split()[:2] == ["digest", "what"]
    for command in ("ls", "verify", "gc"):
        code, _, err = graft("store", command, "--store", str(tmp_path / "none"))
        assert code == 2 and "there is no such folder" in err


def test_a_key_that_says_nothing_is_named_and_nothing_cleared(tmp_path: Path) -> None:
    open_store(str(tmp_path)).put_record("keys/k.json", {"outputs": 1})
    for command in (["ls"], ["gc", "--delete"]):
        code, _, err = graft("store", *command, "--store", str(tmp_path))
        assert code == 2 and "keys/k.json is damaged. Remove it" in err


def test_checkpoints_go_when_their_training_is_done_or_forgotten(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put_record("keys/done.json", {"step": "finetune", "outputs": {}, "run_id": "r"})
    store.put_record("runs/ended/summary.json", {"verdict": "keep"})
    store.put_record("runs/failed/summary.json", {"verdict": "failed"})
    store.put_record("runs/interrupted/summary.json", {"verdict": "interrupted"})
    now = time.time()
    for name, days in {"done": 1, "ended": 1, "failed": 1, "interrupted": 1, "under way": 0, "left": 8}.items():
        store.blobs.put(f"checkpoints/{name}/training.safetensors", b"weights")
        written = now - 24 * 3600 * days
        os.utime(tmp_path / "checkpoints" / name / "training.safetensors", (written, written))
    removed = upkeep.clear(store, keep_runs=1)
    assert {(item.digest, item.what, item.size_bytes) for item in removed} == {
        (name, "checkpoint", 7) for name in ("done", "ended", "left")
    }
    assert sorted(store.blobs.children("checkpoints")) == ["failed", "interrupted", "under way"]
