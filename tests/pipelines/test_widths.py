"""No table is wider than a terminal of 80 columns, and what must be copied stays whole in it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from components.interchange.step import ports, step_name
from pipelines import terminal
from pipelines.recipes import RECIPES
from pipelines.status import lines
from pipelines.steps import CLUSTER_STEPS, SHARDED_STEPS, STEPS

DIGEST = "b90a5d85487d67a786a16ab74d191f5b85ff5ed9a2a79e661d458db9495a9f24"
RUN, WHEN = "20261126-101617-1046", "2026-11-26T10:16:17+00:00"
CLUSTER_RUN = "0a3f1a52-7f0e-4a39-b3a2-6a0e3b1f5f2c"
MADE = [
    f"{step_name(step.spec)}.{port.name}"
    for step in [*STEPS, *SHARDED_STEPS, *CLUSTER_STEPS]
    for port in ports(step.spec, "out")
]
CHAMPIONS = [
    {
        "digest": DIGEST,
        "when": WHEN,
        "by": by,
        "replaced": DIGEST,
        "run_id": RUN,
        "test_top1": 0.9102,
        "p99_ms": 832.95,
        "classifier_digest": DIGEST,
        "dataset_digest": DIGEST,
    }
    for by in ("promotion", "rollback")
]
STORED = [
    {"digest": DIGEST, "what": what, "files": 128, "size_mib": 12345.678, "published": WHEN}
    for what in [*MADE, "published model"]
]
CLUSTER = [
    {
        "run_id": CLUSTER_RUN,
        "model_name": "fabric",
        "state": "SUCCEEDED",
        "created": WHEN,
        "seconds": 1.0,
        "scheduled": True,
    }
]
RUNS = [
    {
        "run_id": RUN,
        "model_name": "fabric",
        "verdict": "inconclusive",
        "baseline_top1": 0.9,
        "candidate_top1": 0.9,
        "p99_ms": 832.95,
        "seconds": 2.0,
    }
]
TAGS = {"vit_base_patch16_224": "augreg2_in21k_ft_in1k", "tf_efficientnet_lite0": "in1k"}
WEIGHTS = [
    {
        "backbone": name,
        "pretrained": f"{name}.{TAGS.get(name, 'ra2_in1k')}",
        "license": "apache-2.0",
        "size_bytes": 1234 << 20,
        "sha256": DIGEST,
        "whole": False,
    }
    for name in (str(recipe.value("backbone")) for recipe in RECIPES)
]


@pytest.mark.parametrize(
    ("show", "rows", "whole"),
    [
        (terminal.champions, CHAMPIONS, [RUN, "2026-11-26 10:16"]),
        (terminal.stored, STORED, ["2026-11-26 10:16", "feature_extraction.classifier"]),
        (terminal.on_cluster, CLUSTER, [CLUSTER_RUN]),
        (terminal.runs, RUNS, [RUN]),
        (terminal.weights, WEIGHTS, ["vit_base_patch16_224.augreg2_in21k_ft_in1k", "apache-2.0"]),
        (lambda rows: terminal.fields(rows[0]), CHAMPIONS, [DIGEST, RUN, WHEN]),
    ],
)
def test_a_table_fits_80_columns(
    show: Callable[[Iterable[dict[str, Any]]], None],
    rows: list[dict[str, Any]],
    whole: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(rows)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for text in whole:
        assert text in shown


@pytest.mark.parametrize(
    ("age_s", "said"), [(12.4, "12 s"), (119.0, "119 s"), (420, "7 min"), (11_100, "3 h 5 min"), (200_000, "2 days")]
)
def test_how_long_ago_is_said_as_people_say_it(age_s: float, said: str) -> None:
    step = {"step": "export_onnx", "state": "done", "age_s": age_s}
    found = {"run_id": RUN, "model_name": "m", "verdict": "promote", "reasons": [], "steps": [step]}
    assert lines(found)[1] == f"export_onnx         done         ({said} ago)"


def test_the_steps_of_a_run_stand_in_columns_whatever_their_state() -> None:
    states = ("started", "at work", "done", "failed", "interrupted", "silent")
    steps = [{"step": "feature_extraction", "state": state, "age_s": 5.0} for state in states]
    found = {"run_id": RUN, "model_name": "m", "verdict": "unfinished", "reasons": [], "steps": steps}
    assert len({line.index("(5 s ago)") for line in lines(found)[1:]}) == 1


def test_words_go_on_below_themselves_on_a_terminal_and_stay_a_line_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "copies of artifacts (/a/folder-with-a-long-name): 29.7 GiB are free, and more would be welcome here"
    terminal.hanging("ok    disk  ", words)
    assert capsys.readouterr().out == f"ok    disk  {words}\n"
    monkeypatch.setenv("COLUMNS", "60")
    main, other = os.openpty()
    with os.fdopen(other, "w") as tty:
        monkeypatch.setattr("sys.stdout", tty)
        terminal.hanging("ok    disk  ", words)
    shown = os.read(main, 4096).decode().splitlines()
    assert max(map(len, shown)) <= 60 and len(shown) > 1
    assert all(line.startswith(" " * 12) for line in shown[1:])
    assert " ".join(line.strip() for line in shown) == f"ok    disk  {words}"
