"""`graft weights` against a hub on this machine: fetched once, recorded, used from a folder and from S3."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.finetune.spec import Finetune
from components.interchange import weights as weights_module
from components.interchange.artifact import file_digest
from components.interchange.backbone import build_model
from components.interchange.blobs import open_blobs
from components.interchange.cards import read_classifier_card
from components.interchange.cli import main
from components.interchange.errors import BadInput
from components.interchange.state_dicts import state_digest
from pipelines import fingerprints
from pipelines.cli import app
from pipelines.weights import fetch, weights_in

ROOT = Path(__file__).parents[2]
BACKBONE = "test_resnet"
TAGGED = "test_resnet.r160_in1k"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def busy() -> list[int]:
    """What the hub answers next, instead of what it was asked for: statuses, the last of them first."""
    return []


@pytest.fixture(scope="module")
def hub(tiny_hub_weights: Path, busy: list[int]) -> Iterator[str]:
    """A hub that has the weights of one backbone, as Hugging Face's answers for it."""
    content = tiny_hub_weights.read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if busy:
                self.send_response(busy.pop())
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            there = self.path == f"/timm/{TAGGED}/resolve/main/model.safetensors"
            self.send_response(200 if there else 404)
            self.send_header("X-Repo-Commit", "0" * 40)
            if there:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            else:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(content) if there else 0))
            self.end_headers()
            if there and self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def tiny_hub_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(timm.create_model(BACKBONE).state_dict(), path)
    return path


@pytest.fixture
def graft(hub: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
        command = [sys.executable, "-m", "pipelines.cli", "weights", *arguments]
        environment = {**os.environ, **settings, "NO_PROXY": "127.0.0.1"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return call


def test_fetched_once_recorded_and_used_without_the_hub(
    graft: Callable[..., subprocess.CompletedProcess[str]],
    tiny_hub_weights: Path,
    tiny_dataset: Path,
    s3_store: str,
    tmp_path: Path,
) -> None:
    first = graft("fetch", BACKBONE, "--store", s3_store)
    assert first.returncode == 0, first.stderr
    assert TAGGED in first.stdout and "licence apache-2.0" in first.stdout
    assert "was there already" in CliRunner().invoke(app, ["weights", "fetch", BACKBONE, "--store", s3_store]).stdout
    again = CliRunner().invoke(app, ["weights", "fetch", BACKBONE, "--store", s3_store, "--json"])
    listing = CliRunner().invoke(app, ["weights", "ls", "--store", s3_store, "--json"])
    (row,), (fetched,) = json.loads(listing.stdout), json.loads(again.stdout)
    assert fetched["sha256"] == row["sha256"]
    assert (row["pretrained"], row["license"], row["whole"]) == (TAGGED, "apache-2.0", True)
    assert row["origin"] == f"hub:timm/{TAGGED}"

    key = f"weights/{BACKBONE}.safetensors"
    assert open_blobs(s3_store).get_file(key, tmp_path / "copy.safetensors")
    assert file_digest(tmp_path / "copy.safetensors") == row["sha256"]
    from safetensors.torch import load_file

    assert state_digest(load_file(tmp_path / "copy.safetensors")) == state_digest(load_file(tiny_hub_weights))
    for name in ("store", f"{s3_store}/{key}"):
        _, found = build_model(BACKBONE, 3, name, store=s3_store)
        assert (found.origin, found.sha256, found.license) == (row["origin"], row["sha256"], "apache-2.0")
        assert fingerprints.weights(name, BACKBONE, None, s3_store) == row["sha256"]
    argv = [
        *("--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")),
        *("--backbone", BACKBONE, "--input-size-px", "32", "--device", "cpu", "--num-epochs", "1"),
        *("--weights", "store", "--store", s3_store),
    ]
    assert main(Finetune, argv) == 0
    assert read_classifier_card(tmp_path / "c").weights.sha256 == row["sha256"]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Point this process to a hub, with an empty cache."""

    def point(endpoint: str) -> None:
        constants = "huggingface_hub.constants"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(f"{constants}.ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("components.interchange.hub.PAUSE_S", 0.01)

    return point


def test_a_training_takes_weights_right_from_the_hub_and_then_from_its_cache(
    hub: str, at: Callable[[str], None], tiny_hub_weights: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    at(hub)
    argv = [
        *("--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")),
        *("--backbone", BACKBONE, "--input-size-px", "32", "--device", "cpu", "--num-epochs", "1"),
        *("--weights", "hub", "--freeze", "late"),
    ]
    assert main(Finetune, [*argv, "--weights-sha256", "0" * 64]) == 2
    at(NOBODY)  # The file has been fetched by now.
    assert main(Finetune, argv) == 0
    from safetensors.torch import load_file

    theirs, ours = load_file(tiny_hub_weights), load_file(tmp_path / "c" / "weights.safetensors")
    backbone = [name for name in theirs if not name.startswith("fc.")]
    assert state_digest({name: ours[name] for name in backbone}) == state_digest(
        {name: theirs[name] for name in backbone}
    )
    origin = read_classifier_card(tmp_path / "c").weights
    assert (origin.origin, origin.license) == (f"hub:timm/{TAGGED}", "apache-2.0")
    assert origin.sha256 == state_digest(theirs)


def test_weights_are_fetched_into_a_folder_from_a_hub_that_is_busy_twice(
    hub: str, at: Callable[[str], None], busy: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at(hub)
    busy += [429, 503]
    store = str(tmp_path / "store")
    record, new = fetch(BACKBONE, store)
    file = tmp_path / "store" / "weights" / f"{BACKBONE}.safetensors"
    assert new and record.license == "apache-2.0" and record.sha256 == file_digest(file)
    assert json.loads(file.with_suffix(".json").read_text())["sha256"] == record.sha256
    assert build_model(BACKBONE, 3, "store", store=store)[1].sha256 == record.sha256
    assert [line for line in caplog.messages if "does not answer" in line] == [
        f"{hub} does not answer (HTTP 503), try 1 of 3",
        f"{hub} does not answer (HTTP 429), try 2 of 3",
    ]


def test_a_machine_without_a_network_hears_so_in_three_lines(
    at: Callable[[str], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at(NOBODY)
    with pytest.raises(BadInput, match=f"{NOBODY} does not answer: .*refused.* graft weights fetch {BACKBONE} --store"):
        fetch(BACKBONE, str(tmp_path / "store"))
    assert [line.rpartition(", ")[2] for line in caplog.messages] == ["try 1 of 3", "try 2 of 3"]
    assert weights_in(str(tmp_path / "store")) == []


def test_a_fault_of_the_code_is_not_told_as_one_of_the_network(
    at: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(NOBODY)
    monkeypatch.delattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE")
    with pytest.raises(AttributeError, match="HUGGINGFACE_CO_URL_TEMPLATE"):
        fetch(BACKBONE, str(tmp_path / "store"))


@pytest.mark.parametrize("endpoint", ["http://no.such.host.invalid", "hub.example"])
def test_a_hub_whose_address_is_wrong_is_told_in_words(
    at: Callable[[str], None], tmp_path: Path, endpoint: str
) -> None:
    at(endpoint)
    with pytest.raises(BadInput, match=f"{endpoint} does not answer: "):
        fetch(BACKBONE, str(tmp_path / "store"))


def test_a_hub_that_must_not_be_asked_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BadInput, match=f"could not be had from timm's hub .* graft weights fetch {BACKBONE} --store"):
        fetch(BACKBONE, str(tmp_path / "store"))
    assert weights_in(str(tmp_path / "store")) == []


@pytest.fixture
def shelf(tmp_path: Path, tiny_weights: Path) -> Path:
    """A store on this disk with the weights of one backbone."""
    blobs = open_blobs(str(tmp_path / "store"))
    record = weights_module.WeightsRecord(
        backbone=BACKBONE,
        pretrained=TAGGED,
        origin=f"hub:timm/{TAGGED}",
        license="apache-2.0",
        sha256=file_digest(tiny_weights),
        size_bytes=tiny_weights.stat().st_size,
    )
    blobs.put_file(f"weights/{BACKBONE}.safetensors", tiny_weights)
    blobs.put(f"weights/{BACKBONE}.json", record.model_dump_json().encode())
    return tmp_path / "store"


def test_a_backbone_that_the_store_lacks_names_what_it_has(shelf: Path) -> None:
    with pytest.raises(BadInput, match=rf"\(it has: {BACKBONE}\).*graft weights fetch resnet18 --store {shelf}"):
        build_model("resnet18", 3, "store", store=str(shelf))
    with pytest.raises(BadInput, match="no store was given"):
        build_model("resnet18", 3, "store")


def test_damaged_weights_of_a_store_are_refused(shelf: Path) -> None:
    with (shelf / "weights" / f"{BACKBONE}.safetensors").open("ab") as stream:
        stream.write(b" ")
    assert [row["whole"] for row in weights_in(str(shelf))] == [False]
    with pytest.raises(BadInput, match=rf"have sha256 \w+, expected \w+ \({BACKBONE}\.json\)"):
        build_model(BACKBONE, 3, "store", store=str(shelf))


def test_weights_of_another_tag_are_refused_for_their_preprocessing(shelf: Path) -> None:
    record = shelf / "weights" / f"{BACKBONE}.json"
    record.write_text(record.read_text().replace(TAGGED, "test_resnet.other"))
    with pytest.raises(BadInput, match=r"holds the weights test_resnet\.other, but test_resnet is test_resnet\.r160"):
        build_model(BACKBONE, 3, "store", store=str(shelf))


def test_a_file_on_s3_needs_a_sha256(s3_store: str, tiny_weights: Path) -> None:
    open_blobs(s3_store).put_file("mine.safetensors", tiny_weights)
    uri, sha256 = f"{s3_store}/mine.safetensors", file_digest(tiny_weights)
    with pytest.raises(BadInput, match="no sha256 to hold the file to"):
        build_model(BACKBONE, 3, uri)
    with pytest.raises(BadInput, match=f"have sha256 {sha256}, expected {'0' * 64}"):
        build_model(BACKBONE, 3, uri, "0" * 64)
    assert build_model(BACKBONE, 3, uri, sha256)[1].origin == "file:mine.safetensors"
    assert fingerprints.weights(uri, BACKBONE, sha256, None) == sha256
    for given in (sha256, None):
        with pytest.raises(BadInput, match=r"there is no s3://.*/absent\.safetensors"):
            build_model(BACKBONE, 3, f"{s3_store}/absent.safetensors", given)


def test_a_store_without_weights_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["weights", "ls", "--store", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, "") and "no weights in" in done.stderr
    done = CliRunner().invoke(app, ["weights", "ls", "--store", str(tmp_path / "nowhere")])
    assert done.exit_code == 2 and "nowhere: there is no such folder" in done.stderr
