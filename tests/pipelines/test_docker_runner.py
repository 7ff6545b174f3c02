"""The command that runs a step in its container, without an engine; `make test-docker` runs it with one."""

from itertools import pairwise
from pathlib import Path

import pytest

from components.interchange.errors import BadInput
from pipelines import docker_runner
from pipelines.cluster import Cluster, image_of
from pipelines.steps import BY_NAME

IMAGES = Cluster("registry/graft-", "0.1.0-abc")


def words(step: str, root: Path, values: dict[str, object], *argv: str) -> list[str]:
    return docker_runner.command_of(BY_NAME[step], IMAGES, root, values, list(argv), "named")


def pairs(command: list[str], flag: str) -> list[str]:
    return [after for word, after in pairwise(command) if word == flag]


def test_a_container_sees_the_store_and_the_source_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "archive.zip").touch()
    command = words(
        "ingest", tmp_path / "store", {"source": str(tmp_path / "images")}, "--store", "x", "--dataset", "d"
    )

    assert pairs(command, "--volume") == [
        f"{tmp_path}/store:{tmp_path}/store",
        f"{tmp_path}/images:{tmp_path}/images:ro",
    ]
    assert pairs(command, "--network") == ["none"] and "--read-only" in command
    assert pairs(command, "--cap-drop") == ["ALL"] and pairs(command, "--name") == ["named"]
    assert command[-8:-4] == ["registry/graft-ingest:0.1.0-abc", "python", "-m", "components.ingest"]
    archive = words("ingest", tmp_path / "store", {"source": str(tmp_path / "archive.zip" / "labels.csv")})
    assert pairs(archive, "--volume")[1] == f"{tmp_path}:{tmp_path}:ro"


def test_latency_on_a_gpu_has_the_image_that_knows_cuda() -> None:
    images = [image_of(docker_runner.placed(BY_NAME["latency"], {"device": one}), IMAGES) for one in ("auto", "cuda")]
    assert images == ["registry/graft-latency:0.1.0-abc", "registry/graft-latency-gpu:0.1.0-abc"]


@pytest.mark.parametrize(("source", "store"), [("s3://b/images", "/store"), ("/images", "s3://b/store")])
def test_a_place_behind_a_network_opens_it(source: str, store: str, tmp_path: Path) -> None:
    command = words("ingest", tmp_path, {"source": source}, "--store", store)
    assert pairs(command, "--network") == ["host"]


def test_credentials_are_passed_by_name_and_never_stand_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    command = words("gate", tmp_path, {}, "--store", "s3://b/store")
    assert "AWS_SECRET_ACCESS_KEY" in pairs(command, "--env") and not [word for word in command if "very" in word]


def test_no_docker_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"no command docker.*--runner process"):
        docker_runner.check([BY_NAME["gate"]], IMAGES)
