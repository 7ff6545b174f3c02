"""The images, and a failing run of the compiled pipeline through kfp's own DockerRunner: `make test-docker`."""

import json
import os
from pathlib import Path

import pytest

from tests.docker.conftest import PREFIX, TAG, RunPipeline, docker

pytestmark = pytest.mark.slow


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
