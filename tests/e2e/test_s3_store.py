"""A whole run on a store in a bucket: resumed, verified, mended, and served from there."""

import shutil
from pathlib import Path

import boto3
import pytest

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from tests.e2e.conftest import Run, graft

MODEL = "tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_run_on_s3_is_resumed_verified_and_mended(
    s3_store: str, cache: Path, tiny_run: Run, tiny_source: Path, tmp_path: Path
) -> None:
    first = tiny_run(tiny_source, s3_store, "--strategy", "feature_extraction")
    assert first.code == 0, first.err
    assert first.summary["verdict"] == "promote"
    assert first.summary["report"].startswith(s3_store) and first.summary["onnx"]["path"].startswith(s3_store)

    blobs, steps = open_blobs(s3_store), first.steps(s3_store)
    classifier = steps["feature_extraction"]["outputs"]["classifier"]
    key = f"artifacts/{classifier}/weights.safetensors"
    damaged = bytearray(blobs.get(key) or b"")
    damaged[-1] ^= 1
    blobs.put(key, bytes(damaged))  # Of the same size: only its sha256 tells.
    shutil.rmtree(cache)
    verified = graft("store", "verify", "--store", s3_store)
    assert verified.code == 2 and f"artifacts/{classifier}: artifact" in verified.out

    mended = tiny_run(tiny_source, s3_store, "--strategy", "feature_extraction", "--force", "evaluate")
    assert mended.code == 0, mended.err
    assert "weights.safetensors is damaged" in mended.err and "It was set aside" in mended.err
    assert mended.ran >= {"feature_extraction", "evaluate"} and "ingest" not in mended.ran
    assert mended.steps(s3_store)["feature_extraction"]["outputs"]["classifier"] == classifier
    assert graft("store", "verify", "--store", s3_store).code == 0

    pulled = graft("champion", "pull", "--model-name", MODEL, "--store", s3_store, "--to", tmp_path / "served")
    assert pulled.code == 0, pulled.err
    assert digest(tmp_path / "served") == first.steps(s3_store)["export_onnx"]["outputs"]["onnx_model"]


def test_a_bucket_that_is_not_there_is_one_readable_error(
    s3_store: str, cache: Path, tiny_run: Run, tiny_source: Path
) -> None:
    ended = tiny_run(tiny_source, "s3://no-such-bucket/store")
    assert ended.code == 2
    assert "there is no such bucket" in ended.err and "Traceback" not in ended.err
    assert "no-such-bucket" not in [one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]]
