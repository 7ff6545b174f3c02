"""A whole run on a store in a bucket, by the README's CI job: from the first import on, as users start it; resumed,
verified, mended, and served from there."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from tests.e2e.conftest import GRAFT, Ended, Run, Words, graft
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

ROOT = Path(__file__).parents[2]
STORE, MODEL = "s3://models/graft", "parts"  # As the README has it.
TOKEN = "planted-token-5e1f0c"


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The README's bucket, the AWS settings that open it, and an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.settings().items():
            patch.setenv(name, value)
        patch.setenv("GRAFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        boto3.client("s3").create_bucket(Bucket="models")
        yield


class Job:
    """The README's CI job in a folder of its own, where `graft` means a tiny backbone and `deploy.sh` leaves a mark."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder = folder
        text = re.search(r"^```\n(retrain:\n.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        assert text is not None
        self.lines: list[str] = yaml.safe_load(text[1])["retrain"]["script"]
        self._tool("graft", f"exec '{GRAFT}' \"$@\" $MORE " + " ".join(words))
        self._tool("deploy.sh", "touch deployed")

    def _tool(self, name: str, line: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.folder / name).chmod(0o755)

    def run(self, *more: str) -> Ended:
        """Its lines in one shell, as a CI system does; what it deployed and the summary are in the folder.

        `out` is the summary, `err` all that the CI system shows.
        """
        (self.folder / "deployed").unlink(missing_ok=True)
        path = f"{self.folder}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MORE": " ".join(more)}
        command = ["bash", "-eo", "pipefail", "-c", "\n".join(self.lines)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=300)
        assert "Traceback" not in done.stderr
        return Ended(done.returncode, (self.folder / "run.json").read_text(), done.stdout + done.stderr)

    @property
    def deployed(self) -> bool:
        return (self.folder / "deployed").exists()


@pytest.fixture(scope="module")
def job(bucket: None, tiny_words: Words, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    (folder / "images").symlink_to(tiny_source)
    words = tiny_words("", "")
    own = [word for word in words[words.index("--backbone") :] if word != "--json"]  # No source, no store: the job's.
    del own[own.index("--model-name") : own.index("--model-name") + 2]
    return Job(folder, own)


@pytest.fixture(scope="module")
def first(job: Job) -> Ended:
    """It fails to notify an address with a token in it."""
    return job.run("--notify", f"http://127.0.0.1:9/{TOKEN}")


def test_the_ci_job_acts_on_every_exit_code(first: Ended, job: Job) -> None:
    """0: what was promoted is deployed; 3: the champion stays and the job is green; 2: the job is red."""
    assert first.code == 0, first.err
    assert first.summary["verdict"] == "promote" and (job.folder / "deployed").exists()

    kept = job.run("--set", "gate.max-p99-ms=0.0001")
    assert kept.code == 0, kept.err
    assert kept.err.startswith("the champion stays\n") and kept.summary["verdict"] == "keep" and not job.deployed

    wrong = job.run("--set", "gate.max-p99=1")
    assert wrong.code == 2 and "Close: max-p99-ms" in wrong.err and not job.deployed


def leaks(where: str, data: bytes) -> list[str]:
    return [f"{secret} in {where}" for secret in (SECRET_KEY, TOKEN, f"{ACCESS_KEY}:") if secret.encode() in data]


def test_no_secret_is_left_behind(first: Ended, job: Job, tmp_path: Path) -> None:
    """Secrets of the environment and of options, looked for in whatever a run leaves, and in the pipeline's YAML."""
    assert "--notify: the address cannot be reached" in first.err
    assert "Found credentials" not in first.err, "boto3 speaks of what it does"
    compiled = graft(
        "compile", "--output", tmp_path / "pipeline.yaml", "--image-prefix", "r/graft-", "--image-tag", "1",
        "--s3-secret", "store-credentials", "--recipe", "demo",
    )  # fmt: skip
    assert compiled.code == 0, compiled.err
    said = {"stdout": first.out, "stderr": first.err, "compile": compiled.out + compiled.err}
    found = [leak for where, text in said.items() for leak in leaks(where, text.encode())]
    blobs = open_blobs(STORE)
    keys = blobs.list()
    for key in keys:
        found += leaks(key, blobs.get(key) or b"")
    places = (tmp_path, job.folder, Path(os.environ["GRAFT_CACHE"]))
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    for path in files:
        found += leaks(str(path), path.read_bytes())
    assert found == []
    assert len(keys) > 20 and len(files) > 20


def test_a_run_on_s3_is_resumed_verified_and_mended(first: Ended, job: Job, tiny_run: Run, tmp_path: Path) -> None:
    assert first.summary["report"].startswith(STORE) and first.summary["onnx"]["path"].startswith(STORE)

    blobs, steps = open_blobs(STORE), first.steps(STORE)
    classifier = steps["feature_extraction"]["outputs"]["classifier"]
    key = f"artifacts/{classifier}/weights.safetensors"
    damaged = bytearray(blobs.get(key) or b"")
    damaged[-1] ^= 1
    blobs.put(key, bytes(damaged))  # Of the same size: only its sha256 tells.
    shutil.rmtree(os.environ["GRAFT_CACHE"])
    verified = graft("store", "verify", "--store", STORE)
    assert verified.code == 2 and f"artifacts/{classifier}: artifact" in verified.out

    mended = tiny_run(job.folder / "images", STORE, "--model-name", MODEL, "--force", "evaluate")
    assert mended.code == 0, mended.err
    assert "weights.safetensors is damaged" in mended.err and "It was set aside" in mended.err
    assert mended.ran >= {"feature_extraction", "evaluate"} and "ingest" not in mended.ran
    assert mended.steps(STORE)["feature_extraction"]["outputs"]["classifier"] == classifier
    assert graft("store", "verify", "--store", STORE).code == 0

    pulled = graft("champion", "pull", "--model-name", MODEL, "--store", STORE, "--to", tmp_path / "served")
    assert pulled.code == 0, pulled.err
    assert digest(tmp_path / "served") == steps["export_onnx"]["outputs"]["onnx_model"]


def test_a_bucket_that_is_not_there_is_one_readable_error(bucket: None, tiny_run: Run, tiny_source: Path) -> None:
    ended = tiny_run(tiny_source, "s3://no-such-bucket/store")
    assert ended.code == 2
    assert "there is no such bucket" in ended.err and "Traceback" not in ended.err
    assert "no-such-bucket" not in [one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]]
