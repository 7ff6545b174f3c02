"""The whole pipeline in its containers, `make test-docker`: compiled for Kubeflow and run by kfp's DockerRunner, and
as a Prefect flow with `--runner docker`. With a read-only root, without capabilities and without a way out."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.docker.conftest import (
    NETWORK,
    PREFIX,
    TAG,
    THREADS,
    USER,
    ClosedStore,
    RunPipeline,
    docker,
    graft,
    settings_of_the_run,
)

pytestmark = pytest.mark.slow
BY_CONTENT = {
    "ingest.dataset",
    "feature_extraction.classifier",
    "finetune.classifier",
    "evaluate.selected",
    "evaluate.report",
    "export_onnx.onnx_model",
}


@pytest.fixture(scope="session")
def by_prefect(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of what a Prefect run of the same source and seed makes on this machine, by `step.port`."""
    store = tmp_path_factory.mktemp("prefect") / "store"
    words = ["run", "--source", place / "source", "--store", store, "--model-name", "tiny", "--seed", 0, "--json"]
    done = graft(*words, *settings_of_the_run(place / "weights.safetensors"), "--set", "gate.max-p99-ms=10000")
    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout.splitlines()[-1])["run_id"]
    return made(store / "runs" / run_id / "steps.json")


def made(steps: Path) -> dict[str, str]:
    record = json.loads(steps.read_text())["steps"]
    return {f"{step}.{port}": found for step, one in record.items() for port, found in one["outputs"].items()}


def assert_equal(found: dict[str, str], expected: dict[str, str]) -> None:
    assert {name: found.get(name) for name in BY_CONTENT} == {name: expected[name] for name in BY_CONTENT}


def test_the_images_are_what_they_should_be() -> None:
    above = int(docker("image", "inspect", "--format", "{{.Size}}", os.environ["BASE_IMAGE"]))
    for family, limit_mb in (("control", 400), ("ingest", 400), ("latency", 600), ("export", None), ("train", None)):
        image = f"{PREFIX}{family}:{TAG}"
        inspected = json.loads(docker("image", "inspect", image))[0]
        assert inspected["Config"]["User"] == "1000:0"
        size_mb = (inspected["Size"] - above) / 1e6
        print(f"{image}: {size_mb:.0f} MB above the base")
        assert limit_mb is None or size_mb < limit_mb
        words = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp", image]
        assert "--help" in docker(*words)
        assert (
            docker(
                *words, "sh", "-c", "command -v gcc cc ld; ls /root/.cache /var/cache/apt/archives/*.deb", check=False
            )
            == ""
        )
        torch = "python -c 'import torch' 2>/dev/null && echo torch || echo none"
        assert docker(*words, "sh", "-c", torch).strip() == ("torch" if limit_mb is None else "none")


def test_without_any_network(run_pipeline: RunPipeline, by_prefect: dict[str, str], place: Path) -> None:
    store = place / "offline" / "store"
    given = {"source": str(place / "offline" / "source"), "store": f"file://{store}", "max_p99_ms": 10000.0}
    sources = ["cp", "-r", str(place / "source"), str(place / "offline")]
    (place / "offline").mkdir()
    subprocess.run(sources, check=True)
    subprocess.run(["cp", str(place / "weights.safetensors"), str(place / "offline")], check=True)
    subprocess.run(["chown", "-R", f"{USER}:0", str(place / "offline")], check=True)
    weights = place / "offline" / "weights.safetensors"
    sets = ["--set", f"feature_extraction.weights={weights}", "--set", f"finetune.weights={weights}"]
    done = run_pipeline("offline", given, {"network_mode": "none", "environment": THREADS}, *sets)

    assert done.code == 0, done.out[-6000:]
    assert_equal(done.digests(), by_prefect)
    assert json.loads((store / "champions" / "tiny.json").read_text())["digest"] == by_prefect["export_onnx.onnx_model"]
    (summary,) = (store / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "promote"


def test_on_a_closed_network_with_the_store_in_s3(
    run_pipeline: RunPipeline, by_prefect: dict[str, str], place: Path, closed_store: ClosedStore
) -> None:
    (place / "s3").mkdir()
    subprocess.run(
        ["cp", "-r", str(place / "source"), str(place / "weights.safetensors"), str(place / "s3")], check=True
    )
    weights = place / "s3" / "weights.safetensors"
    sets = ["--set", f"feature_extraction.weights={weights}", "--set", f"finetune.weights={weights}"]
    given = {
        "source": str(place / "s3" / "source"),
        "store": f"s3://{closed_store.bucket}/store",
        "max_p99_ms": 10000.0,
    }
    settings = {"network": NETWORK, "environment": {**THREADS, **closed_store.inside}}
    done = run_pipeline("s3", given, settings, *sets)

    assert done.code == 0, done.out[-6000:]
    assert_equal(done.digests(), by_prefect)
    shown = closed_store.python(
        "import json, sys; from components.interchange.blobs import open_blobs; "
        f"blobs = open_blobs('s3://{closed_store.bucket}/store'); "
        "keys = [key for key in blobs.list('runs/') if key.endswith('/summary.json')]; "
        "found = [json.loads(blobs.get(key)) for key in ('champions/tiny.json', keys[0])]; "
        "print(json.dumps([found[0]['digest'], found[1]['verdict']]))"
    )
    assert json.loads(shown) == [by_prefect["export_onnx.onnx_model"], "promote"]


def test_a_chatty_step_that_fails_fails_the_run(run_pipeline: RunPipeline, place: Path) -> None:
    """20,000 lines before the exit: kfp's own runner takes that for a success in most tries."""
    from docker import from_env  # type: ignore[import-untyped]
    from tests.docker.kfp_local import run_docker_container  # The fix itself, on a container of ours.

    docker_client = from_env()
    words = ["python", "-c", "for n in range(20000): print('line', n)\nraise SystemExit(3)"]
    try:
        assert [run_docker_container(docker_client, f"{PREFIX}control:{TAG}", words, {}) for _ in range(3)] == [3, 3, 3]
    finally:
        docker_client.close()

    (place / "broken").mkdir()
    given = {"source": str(place / "broken" / "nowhere"), "store": f"file://{place}/broken/store"}
    done = run_pipeline("broken", given, {"network_mode": "none"}, "--resource", "ingest.pod-retries=0")
    assert done.code == 1 and "nowhere" in done.out
    (summary,) = (place / "broken" / "store" / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "failed"


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_prefect_run_in_containers(
    where: str, by_prefect: dict[str, str], place: Path, closed_store: ClosedStore, tmp_path: Path
) -> None:
    store = str(tmp_path / "store") if where == "folder" else f"s3://{closed_store.bucket}/prefect"
    environment = THREADS | (closed_store.environment(f"http://{closed_store.address}:8333") if where == "s3" else {})
    words = ["run", "--source", place / "source", "--store", store, "--model-name", "tiny", "--seed", 0, "--json"]
    words += [*settings_of_the_run(place / "weights.safetensors"), "--set", "gate.max-p99-ms=10000"]
    done = graft(*words, "--runner", "docker", "--image-prefix", PREFIX, "--image-tag", TAG, **environment)

    assert done.returncode == 0, done.stderr[-6000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["verdict"] == "promote"
    assert by_prefect["export_onnx.onnx_model"] in summary["onnx"]["path"]
