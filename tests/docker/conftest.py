"""What the proofs in containers share: images, a place that their user may write to, a store on a closed network."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.interchange.artifact import digest
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX
from tests.s3_server import ACCESS_KEY, SECRET_KEY

ROOT = Path(__file__).parents[2]
PREFIX = os.environ.get("GRAFT_IMAGE_PREFIX", "graft-test-")
TAG = os.environ.get("GRAFT_IMAGE_TAG", "")
USER = 1000
NETWORK, STORE_HOST = "graft-test", "graft-test-store"
BUDGETS = {"max_p99_ms": 10000.0, "min_top1": 0.0, "min_gain": -1.0}  # kfp's local runner needs every parameter.
THREADS = {"OMP_NUM_THREADS": "1"}  # As on this side: sums of floats depend on it.


def docker(*words: object, check: bool = True) -> str:
    done = subprocess.run(["docker", *(str(word) for word in words)], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def settings_of_the_run(weights: Path) -> list[str]:
    """--set for a tiny backbone; weights are a file."""
    shared = {
        "ingest.stored-size-px": 40,
        "feature_extraction.weights": weights,
        "feature_extraction.input-size-px": TINY_INPUT_PX,
        "finetune.weights": weights,
        "finetune.input-size-px": TINY_INPUT_PX,
        "finetune.num-epochs": 2,
        "finetune.base-lr": 5e-3,
        "evaluate.bootstrap-samples": 500,
        "export_onnx.parity-samples": 16,
        "latency.timed-runs": 500,
        "latency.max-warmup-runs": 60,
        "latency.throughput-s": 0.1,
    }
    return [
        "--backbone",
        TINY_BACKBONE,
        *(word for key, value in shared.items() for word in ("--set", f"{key}={value}")),
    ]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    root: Path

    def digests(self) -> dict[str, str]:
        """Digest of every artifact that the run left in its pipeline root, by `step.port`."""
        found = {}
        for folder in self.root.glob("graft-*/*/*"):
            if folder.is_dir() and any(folder.iterdir()):
                found[f"{folder.parent.name.replace('-', '_')}.{folder.name}"] = digest(folder)
        return found


RunPipeline = Callable[..., Ended]


def graft(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path, tiny_weights: Path) -> Path:
    """A folder of the containers' user with source and weights in it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_source, folder / "source")
    shutil.copy(tiny_weights, folder / "weights.safetensors")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, 0)
    for parent in folder.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    return folder


@pytest.fixture
def run_pipeline(place: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPipeline:
    """Compile and run the pipeline through kfp's DockerRunner: `run_pipeline(name, parameters, settings, *compile)`."""

    def run(name: str, parameters: dict[str, Any], settings: dict[str, Any], *words: object) -> Ended:
        folder = tmp_path_factory.mktemp("compiled")
        compiled = graft(
            *("compile", "--output", folder / "pipeline.yaml", "--image-prefix", PREFIX, "--image-tag", TAG),
            *settings_of_the_run(place / "weights.safetensors"),
            *words,
        )
        assert compiled.returncode == 0, compiled.stderr
        given = {"user": f"{USER}:0", **settings}
        (folder / "parameters.json").write_text(json.dumps({"model_name": "tiny", "seed": 0, **BUDGETS, **parameters}))
        (folder / "settings.json").write_text(json.dumps(given))
        root = place / name
        root.mkdir(exist_ok=True)
        os.chown(root, USER, 0)
        command = [sys.executable, "-m", "tests.docker.kfp_local", folder / "pipeline.yaml", root]
        command += [folder / "parameters.json", folder / "settings.json"]
        # kfp's runner keeps the pipeline root for this user; the containers write as theirs.
        umask = os.umask(0o000)
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
        finally:
            os.umask(umask)
        return Ended(done.returncode, done.stdout + done.stderr, root)

    return run


@dataclass(frozen=True)
class ClosedStore:
    """A SeaweedFS on a network without a way out; `bucket` is there."""

    bucket: str
    address: str

    def environment(self, endpoint: str) -> dict[str, str]:
        names = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
        return {**names, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def inside(self) -> dict[str, str]:
        return self.environment(f"http://{STORE_HOST}:8333")

    def python(self, code: str, *mounts: object) -> str:
        """Run Python in the control image, on the network."""
        variables = [word for name, value in self.inside.items() for word in ("--env", f"{name}={value}")]
        volumes = [word for mount in mounts for word in ("--volume", f"{mount}:{mount}:ro")]
        words = [
            "run",
            "--rm",
            "--network",
            NETWORK,
            *variables,
            *volumes,
            f"{PREFIX}control:{TAG}",
            "python",
            "-c",
            code,
        ]
        return docker(*words)


@pytest.fixture(scope="session")
def closed_store(place: Path) -> Iterator[ClosedStore]:
    """A real SeaweedFS in a container on an internal network, with the source in its bucket."""
    weed = Path(sys.executable).parent / "weed"
    docker("network", "create", "--internal", NETWORK)
    try:
        docker(
            *("run", "--detach", "--name", STORE_HOST, "--network", NETWORK, "--tmpfs", "/data:mode=1777"),
            *("--volume", f"{weed}:/usr/bin/weed:ro", "--env", f"AWS_ACCESS_KEY_ID={ACCESS_KEY}"),
            *("--env", f"AWS_SECRET_ACCESS_KEY={SECRET_KEY}", "--entrypoint", "", f"{PREFIX}control:{TAG}"),
            *("weed", "mini", "-dir=/data", "-ip.bind=0.0.0.0", "-webdav=false", "-admin.ui=false"),
        )
        inspect = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        store = ClosedStore("graft", docker("inspect", "--format", inspect, STORE_HOST).strip())
        store.python(WAIT_AND_FILL.format(source=place / "source", bucket=store.bucket), place / "source")
        yield store
    finally:
        print(docker("logs", "--tail", 30, STORE_HOST, check=False))
        docker("rm", "--force", STORE_HOST, check=False)
        docker("network", "rm", NETWORK, check=False)


WAIT_AND_FILL = """
import time, boto3
from pathlib import Path
from botocore.exceptions import BotoCoreError, ClientError
for _ in range(60):
    try:
        boto3.client("s3").create_bucket(Bucket="{bucket}")
        break
    except (BotoCoreError, ClientError) as error:
        said = error
        time.sleep(1)
else:
    raise SystemExit(str(said))
source = Path("{source}")
for path in sorted(source.rglob("*.*")):
    boto3.client("s3").upload_file(str(path), "{bucket}", "source/" + str(path.relative_to(source)))
"""
