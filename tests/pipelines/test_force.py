"""--force STEP: a step runs though its key is in the store, and nothing else does without need."""

from pathlib import Path

import pytest

from components.interchange.errors import BadInput
from pipelines.plan import plan
from pipelines.run_options import RunOptions, Strategy
from pipelines.runner import perform
from pipelines.session import request_for
from pipelines.store import open_store


def test_a_forced_step_runs_again_and_its_result_is_kept_as_ever(tmp_path: Path, tiny_source: Path) -> None:
    def asked(*force: str):  # type: ignore[no-untyped-def]
        sets = ["ingest.stored-size-px=40"]
        return request_for(
            RunOptions(
                str(tiny_source),
                str(tmp_path / "store"),
                recipe="demo",
                model_name="m",
                set=tuple(sets),
                runner="inline",
                force=tuple(force),
            )
        )

    store = open_store(asked().store)
    first = perform(asked(), store, "ingest", {})

    [planned, waiting, *_] = plan(asked("ingest"), store)
    assert (planned.action, planned.why) == ("run", "asked for by --force")
    assert waiting.action == "waits"
    again = perform(asked("ingest"), store, "ingest", {})
    assert (again.action, again.outputs["dataset"]) == ("run", first.outputs["dataset"])
    assert again.seconds > 0

    assert perform(asked("feature-extraction", "promote"), store, "ingest", {}).action == "unchanged"
    assert perform(asked(), store, "ingest", {}).outputs == again.outputs


@pytest.mark.parametrize(
    ("force", "strategy", "words"),
    [
        (["gates", "promte"], "both", r"--force gates, promte: no such step\. Close: gate.*Close: promote"),
        (["finetune"], "feature_extraction", r"finetune is left out by --strategy\. Steps: ingest, feature_extraction"),
    ],
)
def test_a_step_that_the_run_does_not_have_cannot_be_forced(
    tmp_path: Path, force: list[str], strategy: Strategy, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        request_for(RunOptions(".", str(tmp_path), recipe="demo", strategy=strategy, force=tuple(force)))
