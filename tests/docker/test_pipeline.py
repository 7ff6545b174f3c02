"""The whole pipeline in its containers, `make test-docker`: compiled for Kubeflow and run by kfp's DockerRunner, and
as a Prefect flow with `--runner docker`. With a read-only root, without capabilities and without a way out."""

import json
import shutil
import time
from pathlib import Path

import pytest

from components import __version__
from tests.docker.closed_store import NETWORK, ClosedStore
from tests.docker.conftest import (
    BUDGETS,
    PREFIX,
    TAG,
    THREADS,
    WEIGHTS,
    Compile,
    given_away,
    graft,
    settings_of_the_run,
)
from tests.s3_server import BUCKET

pytestmark = pytest.mark.slow
BY_CONTENT = {
    "ingest.dataset",
    "feature_extraction.classifier",
    "finetune.classifier",
    "evaluate.selected",
    "evaluate.report",
    "export_onnx.onnx_model",
}
GATE = ["--set", f"gate.max-p99-ms={BUDGETS['max_p99_ms']}"]
OFFLINE = {"network_mode": "none", "environment": THREADS}


@pytest.fixture(scope="module")
def by_prefect(place: Path, weights_sha256: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of what a Prefect run of the same source and seed makes on this machine, by `step.port`."""
    store = tmp_path_factory.mktemp("prefect") / "store"
    words = ["run", "--source", place / "source", "--store", store, "--model-name", "tiny", "--seed", 0, "--json"]
    started = time.monotonic()
    done = graft(*words, *settings_of_the_run(str(place / WEIGHTS), weights_sha256), *GATE)
    assert done.returncode == 0, done.stderr
    print(f"\nPrefect, processes: {time.monotonic() - started:.0f} s")
    run_id = json.loads(done.stdout.splitlines()[-1])["run_id"]
    return by_content(json.loads((store / "runs" / run_id / "steps.json").read_text()))


def by_content(steps: dict[str, object]) -> dict[str, str]:
    """Digests that the engine, the runner and the places must not change, from a run's record of its steps."""
    record: dict[str, dict[str, dict[str, str]]] = steps["steps"]  # type: ignore[assignment]
    made = {f"{step}.{port}": found for step, one in record.items() for port, found in one["outputs"].items()}
    return {name: made[name] for name in BY_CONTENT}


@pytest.mark.parametrize("shards", [1, 2])
def test_without_any_network(shards: int, compile_pipeline: Compile, by_prefect: dict[str, str], place: Path) -> None:
    root = place / f"offline-{shards}"
    pipeline = compile_pipeline(root.name, str(root / WEIGHTS), "--ingest-shards", shards)
    shutil.copytree(place / "source", root / "source")
    shutil.copy(place / WEIGHTS, root)
    given_away(root)
    started = time.monotonic()
    done = pipeline.run({"source": str(root / "source"), "store": f"file://{root}/store"}, OFFLINE)

    assert done.code == 0, done.out[-6000:]
    print(f"\nKubeflow's local runner, no network, {shards} to ingest: {time.monotonic() - started:.0f} s")
    found = done.digests()
    if shards > 1:
        assert sum(name == "ingest_share.share" for name, _ in done.artifacts()) == shards
        found["ingest.dataset"] = found.pop("ingest_merge.dataset")
    assert {name: found.get(name) for name in BY_CONTENT} == by_prefect
    champion = json.loads((root / "store" / "champions" / "tiny.json").read_text())
    assert champion["digest"] == by_prefect["export_onnx.onnx_model"]
    (summary,) = (root / "store" / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "promote"


def test_on_a_closed_network_with_everything_in_s3(
    compile_pipeline: Compile, by_prefect: dict[str, str], closed_store: ClosedStore
) -> None:
    way_out = (
        "import json, socket\ntry: found = str(socket.create_connection(('192.0.2.1', 80), 5))\n"
        "except OSError as error: found = type(error).__name__\nprint(json.dumps(found))"
    )
    assert closed_store.python(way_out) in ("OSError", "TimeoutError")
    pipeline = compile_pipeline("s3", f"s3://{BUCKET}/{WEIGHTS}")
    settings = {"network": NETWORK, "environment": {**THREADS, **closed_store.inside}}
    started = time.monotonic()
    done = pipeline.run({"source": f"s3://{BUCKET}/source", "store": f"s3://{BUCKET}/store"}, settings)

    assert done.code == 0, done.out[-6000:]
    print(f"\nKubeflow's local runner, source and store on S3: {time.monotonic() - started:.0f} s")
    found = done.digests()
    assert {name: found.get(name) for name in BY_CONTENT} == by_prefect
    champion, verdict = closed_store.python(CHAMPION_AND_VERDICT.format(store=f"s3://{BUCKET}/store"))
    assert (champion, verdict) == (by_prefect["export_onnx.onnx_model"], "promote")


CHAMPION_AND_VERDICT = """
import json
from components.interchange.blobs import open_blobs
blobs = open_blobs("{store}")
(summary,) = [key for key in blobs.list("runs/") if key.endswith("/summary.json")]
print(json.dumps([json.loads(blobs.get("champions/tiny.json"))["digest"], json.loads(blobs.get(summary))["verdict"]]))
"""


def test_a_step_that_fails_after_20000_lines_fails_the_run(compile_pipeline: Compile, place: Path) -> None:
    """kfp's own runner takes that for a success in most tries. The exit handler records the run all the same."""
    pipeline = compile_pipeline("broken", str(place / WEIGHTS), "--resource", "ingest.pod-retries=0")
    pipeline.change("ingest", "python", "-c", "for n in range(20000): print('line', n)\nraise SystemExit(3)")
    done = pipeline.run({"source": "nowhere", "store": f"file://{pipeline.root}/store"}, OFFLINE)

    assert done.code == 1 and "line 19999" in done.out
    (summary,) = (pipeline.root / "store" / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "failed"
    assert set(done.digests()) == set()


SECOND_SHARE_FAILS = """
import runpy, sys
if "2/2" in sys.argv:
    raise SystemExit("share 2/2 fails, as this test wants it")
runpy.run_module("components.ingest.share", run_name="__main__", alter_sys=True)
"""


def test_a_share_that_fails_fails_the_run(compile_pipeline: Compile, place: Path) -> None:
    root = place / "broken-share"
    words = ("--ingest-shards", 2, "--resource", "ingest_share.pod-retries=0")
    pipeline = compile_pipeline(root.name, str(place / WEIGHTS), *words)
    pipeline.change("ingest-share", "python", "-c", SECOND_SHARE_FAILS, keep_arguments=True)
    shutil.copytree(place / "source", root / "source")
    given_away(root)
    done = pipeline.run({"source": str(root / "source"), "store": f"file://{root}/store"}, OFFLINE)

    assert done.code == 1 and "share 2/2 fails, as this test wants it" in done.out
    (summary,) = (root / "store" / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "failed"
    assert {name for name, _ in done.artifacts()} == {"ingest_share.share", "ingest_share.report"}, done.out[-6000:]


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_prefect_run_in_containers(
    where: str,
    by_prefect: dict[str, str],
    place: Path,
    weights_sha256: str,
    closed_store: ClosedStore,
    tmp_path: Path,
) -> None:
    environment = {**THREADS, "GRAFT_CACHE": str(tmp_path / "cache")}
    source, weights, store = str(place / "source"), str(place / WEIGHTS), str(tmp_path / "store")
    if where == "s3":
        environment |= closed_store.outside
        source, weights, store = (f"s3://{BUCKET}/{key}" for key in ("source", WEIGHTS, "prefect"))
    words = ["run", "--source", source, "--store", store, "--model-name", "tiny", "--seed", 0, "--json"]
    words += [*settings_of_the_run(weights, weights_sha256), *GATE]
    started = time.monotonic()
    done = graft(*words, "--runner", "docker", "--image-prefix", PREFIX, "--image-tag", TAG, **environment)

    assert done.returncode == 0, done.stderr[-6000:]
    print(f"\nPrefect, containers, {where}: {time.monotonic() - started:.0f} s")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["verdict"] == "promote"
    record = f"runs/{summary['run_id']}/steps.json"
    if where == "s3":
        code = f"from components.interchange.blobs import open_blobs as o; print(o('{store}').get('{record}').decode())"
        assert by_content(closed_store.python(code)) == by_prefect
    else:
        assert by_content(json.loads((tmp_path / "store" / record).read_text())) == by_prefect
        (dataset,) = (tmp_path / "store" / "artifacts").glob("*/manifest.json")
        assert json.loads(dataset.with_name("run.json").read_text())["versions"]["graft"] == __version__
