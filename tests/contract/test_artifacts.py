"""Artifacts appear whole or not at all, are digested by content, and refuse what they do not understand."""

import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from components.gate.spec import Gate
from components.ingest.spec import Ingest
from components.interchange import cli
from components.interchange.artifact import VERSIONS, digest, read_card, write_card
from components.interchange.cli import main
from components.interchange.errors import BadInput, in_words, listed, near
from components.promote.spec import Promote


@pytest.mark.parametrize("kind", ["dataset", "classifier", "onnx_model", "report"])
def test_a_newer_format_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    write_card(tmp_path, kind, {})
    card = next(tmp_path.iterdir())
    known = VERSIONS[kind]
    card.write_text(card.read_text().replace(f"graft.{kind}/{known}", f"graft.{kind}/{known + 1}"))

    with pytest.raises(BadInput, match=rf"graft\.{kind}/{known + 1}.*reads up to graft\.{kind}/{known}.*Upgrade"):
        read_card(tmp_path, kind)


def test_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    write_card(tmp_path, "classifier", {})

    with pytest.raises(BadInput, match="is a classifier, expected a onnx_model"):
        read_card(tmp_path, "onnx_model")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 3}', '{"format": "graft.report/x"}'])
def test_a_damaged_card_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)

    with pytest.raises(BadInput, match="is not a card of Graft"):
        read_card(tmp_path, "report")


def test_a_number_of_too_many_digits_is_no_advice_for_programmers(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"format": %s}' % ("9" * 5000))

    with pytest.raises(BadInput) as refusal:
        read_card(tmp_path, "report")
    assert "5000 digits)." in in_words(refusal.value) and "sys." not in in_words(refusal.value)


def test_a_missing_card_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(BadInput, match=r"has no report\.json \(found: notes\.txt\)"):
        read_card(tmp_path, "report")
    with pytest.raises(BadInput, match="there is no report at"):
        read_card(tmp_path / "nowhere", "report")


def test_the_digest_covers_content_and_names_but_not_the_run(tiny_dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_dataset, tmp_path / "elsewhere"))
    assert digest(copy) == digest(tiny_dataset)

    (copy / "run.json").write_text(json.dumps({"seconds": 3}))
    assert digest(copy) == digest(tiny_dataset)

    shard = copy / "val-00000.arrow"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert digest(copy) != digest(tiny_dataset)
    shard.write_bytes(data)
    assert digest(copy) == digest(tiny_dataset)

    renamed = next((copy / "originals").iterdir())
    renamed.rename(renamed.with_name("other.png"))
    assert digest(copy) != digest(tiny_dataset)


def test_a_refused_step_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "report"
    flags = {"--onnx-model": tmp_path / "no model", "--gate-report": tmp_path / "no report", "--report": out}

    assert main(Promote, [str(word) for pair in flags.items() for word in pair]) == 2
    assert list(out.parent.iterdir()) == []
    message = capsys.readouterr().err
    assert "promote: " in message and "Traceback" not in message


def test_an_output_that_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    flags = {"--onnx-model": tmp_path, "--gate-report": tmp_path, "--report": out}

    assert main(Promote, [str(word) for pair in flags.items() for word in pair]) == 2
    assert "output is there already" in capsys.readouterr().err
    assert (out / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(("verdict", "report"), [("out", "out"), ("out/verdict", "out"), ("out", "out/report")])
def test_outputs_in_one_place_are_refused_before_any_work(
    verdict: str, report: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [word for name in ("ingest", "evaluate", "export", "latency") for word in (f"--{name}-report", "no report")]
    assert main(Gate, [*argv, "--verdict", f"{tmp_path / verdict}", "--report", f"{tmp_path / report}"]) == 2
    assert "expected a place of its own for each" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_offenders_are_capped_and_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed("abcdefgh") == "a, b, c, d, e and 3 more"
    assert len(listed(["x" * 5_000_000, "y"])) < 1000
    assert near("resnt18", ["resnet18", "vit", "resnet50"]) == " Close: resnet18, resnet50."
    assert near("zzz", ["resnet18"]) == ""


def test_an_artifact_names_the_graft_that_made_it_where_only_its_code_is_copied(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image, where no package says `graft`."""

    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(cli, "version", absent)
    argv = ["--source", str(tiny_source), "--dataset", str(tmp_path / "dataset"), "--report", str(tmp_path / "report")]
    assert main(Ingest, argv) == 0
    assert json.loads((tmp_path / "dataset" / "run.json").read_text())["versions"] == {"graft": version("graft")}
