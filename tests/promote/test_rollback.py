"""Rolling back: what comes back into service, what the history says, and that the same run does not undo it."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from components.interchange.champion import current, opponent
from components.interchange.errors import BadInput
from components.interchange.report import read_report
from pipelines.champions import described, pull, records, rollback
from pipelines.plan import Request
from pipelines.run_options import RunOptions
from pipelines.runner import Outcome, perform
from pipelines.session import request_for
from pipelines.store import open_store
from tests.gate.conftest import champion, rewrite, write_reports
from tests.promote.test_promote import champion_digest, gate_report, onnx_model, promote


def promoted(folder: Path, store: str, names: str) -> list[Path]:
    """One model a letter, each promoted over the one before."""
    models: list[Path] = []
    for name in names:
        model = onnx_model(folder, name)
        gate = gate_report(folder, digest(models[-1]) if models else None)
        assert promote(folder / f"report {name}", model, gate, store, "--run-id", f"run {name}") == 0
        models.append(model)
    return models


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_a_rollback_returns_the_model_before_and_is_told(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    store = str(tmp_path / "store") if place == "disk" else str(request.getfixturevalue("s3_store"))
    a, b, c = promoted(tmp_path, store, "abc")

    returned = rollback(store, "model")

    assert returned.digest == champion_digest(store) == digest(b)
    assert (returned.classifier_digest, returned.run_id, returned.top1[0].value) == ("classifier of b", "run b", 0.93)
    told = [described(record) for record in records(store, "model")]
    assert [(one["digest"], one["by"], one["replaced"]) for one in told] == [
        (digest(b), "rollback", digest(c)),
        (digest(c), "promotion", digest(b)),
        (digest(b), "promotion", digest(a)),
        (digest(a), "promotion", None),
    ]
    assert returned.rolled_back_models() == {digest(c): returned.when}


def test_rollbacks_go_further_back_and_stop_at_the_first_champion(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b, _ = promoted(tmp_path, store, "abc")
    assert [rollback(store, "model").digest, rollback(store, "model").digest] == [digest(b), digest(a)]
    before = open_blobs(store).get("champions/model.json")
    with pytest.raises(BadInput, match=r"no champion before .* the pointer was not changed"):
        rollback(store, "model")
    assert open_blobs(store).get("champions/model.json") == before


def test_a_damaged_model_does_not_come_back(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b = promoted(tmp_path, store, "ab")
    (tmp_path / "store" / "models" / digest(a) / "model.onnx").write_text("x")
    with pytest.raises(BadInput, match=r"model\.onnx is damaged"):
        rollback(store, "model")
    assert champion_digest(store) == digest(b)


def test_a_model_that_was_rolled_back_is_nobodys_opponent(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b, _ = promoted(tmp_path, store, "abc")
    rollback(store, "model")
    for contenders, expected in ((["new"], b), (["classifier of c"], b), (["classifier of b"], a)):
        found = opponent(store, "model", contenders)
        assert found is not None and found.digest == digest(expected)


def test_promote_refuses_by_itself_what_was_rolled_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "store")
    a, b = promoted(tmp_path, store, "ab")
    rollback(store, "model")
    assert promote(tmp_path / "again", b, gate_report(tmp_path, digest(a)), store) == 2
    assert "this model was rolled back on 20" in capsys.readouterr().err
    assert champion_digest(store) == digest(a)
    assert promote(tmp_path / "forced", b, gate_report(tmp_path, digest(a), allow_rolled_back=True), store) == 0
    assert champion_digest(store) == digest(b)


def test_the_same_run_keeps_what_a_rollback_returned_until_it_is_forced(tmp_path: Path, tiny_source: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    [a] = promoted(tmp_path, store.uri, "a")
    b = onnx_model(tmp_path, "b")
    folders = write_reports(tmp_path / "reports", champion=champion(digest=digest(a)))
    latency = read_report(folders["latency"])
    rewrite(folders["latency"], **(latency.model_dump() | {"inputs": latency.inputs | {"onnx_model": digest(b)}}))
    inputs = {f"{name}_report": store.publish(folder) for name, folder in folders.items()}
    model = store.publish(b)

    def go(request: Request) -> tuple[Outcome, str, Outcome | None]:
        gate = perform(request, store, "gate", inputs)
        word = store.word(gate.outputs["verdict"])
        after = {"onnx_model": model, "gate_report": gate.outputs["report"]}
        return gate, word, perform(request, store, "promote", after) if word == "promote" else None

    def asked(*force: str) -> Request:
        return request_for(RunOptions(str(tiny_source), store.uri, recipe="demo", runner="inline", force=tuple(force)))

    plain = asked()
    first, word, promotion = go(plain)
    assert (word, promotion and promotion.action) == ("promote", "run")
    assert champion_digest(store.uri) == model
    when = rollback(store.uri, "model").when

    second, word, _ = go(dataclasses.replace(plain, run_id="second"))
    assert (second.action, word, champion_digest(store.uri)) == ("run", "keep", digest(a))
    reasons = read_report(store.artifact(second.outputs["report"])).details["reasons"]
    assert reasons[0].startswith(f"this model was champion and was rolled back on {when}; allow it with")
    assert go(plain)[0].action == "unchanged"

    _, word, promotion = go(asked("promote"))
    assert word == "promote" and promotion is not None
    assert champion_digest(store.uri) == model
    assert [described(one)["by"] for one in records(store.uri, "model")] == ["promotion", "rollback"] + 2 * [
        "promotion"
    ]
    last, word, promotion = go(plain)
    assert (last.outputs, last.action, word) == (first.outputs, "unchanged", "promote")
    assert promotion is not None and promotion.action == "unchanged"


def test_rollbacks_at_once_each_take_one_step_or_refuse(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    models = promoted(tmp_path, store, "abcdef")

    def one(_: int) -> str | None:
        try:
            return rollback(store, "model").digest
        except BadInput as error:
            assert "changed meanwhile" in str(error)
            return None

    with ThreadPoolExecutor(4) as pool:
        returned = [found for found in pool.map(one, range(4)) if found]

    assert set(returned) == {digest(model) for model in models[-1 - len(returned) : -1]}
    told = [described(record)["by"] for record in records(store, "model")]
    assert told == ["rollback"] * len(returned) + ["promotion"] * 6


def test_a_champion_is_pulled_whole_into_a_new_folder(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b = promoted(tmp_path, store, "ab")
    assert pull(store, "model", tmp_path / "here" / "model").digest == digest(b)
    assert digest(tmp_path / "here" / "model") == digest(b)
    with pytest.raises(BadInput, match="is there already"):
        pull(store, "model", a)
    (tmp_path / "store" / "models" / digest(b) / "model.onnx").write_text("x")
    with pytest.raises(BadInput, match=r"model\.onnx is damaged"):
        pull(store, "model", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_name_that_was_never_promoted_is_refused_with_those_that_were(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    promoted(tmp_path, store, "a")
    assert current(store, "modle") is None
    with pytest.raises(BadInput, match=r"under the name .modle. .* Close: model\. Champions: model\."):
        records(store, "modle")
