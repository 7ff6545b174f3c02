"""What Kubeflow's own pages are given of a report."""

import json
from pathlib import Path

import pytest

from components.interchange.artifact import write_card
from components.interchange.executor_output import write_executor_output


@pytest.mark.parametrize("num_classes", [100, 101])
def test_what_is_too_much_to_be_drawn_is_not_given_and_that_is_said(
    num_classes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classes = [str(number) for number in range(num_classes)]
    details = {"selected": "finetune", "classes": classes, "confusion": {"candidate": [[0, 0, 2], [1, 3, 4]]}}
    scores = ("precision", "recall", "f1", "n", "m")
    rows = [{"name": score, "of": f"candidate/{name}", "value": 0.5} for name in classes for score in scores]
    rows[-1] = {"name": "top1", "of": "candidate", "split": "test", "value": 0.25}
    write_card(
        tmp_path / "report", "report", {"step": "evaluate", "spec": {}, "inputs": {}, "rows": rows, "details": details}
    )
    artifacts = {name: {"artifacts": [{"name": name, "uri": "/nowhere"}]} for name in ("metrics", "confusion")}
    asked = {"outputs": {"outputFile": str(tmp_path / "output"), "artifacts": artifacts}}
    with caplog.at_level("INFO", logger="graft"):
        write_executor_output(json.dumps(asked), {"report": tmp_path / "report"})
    given = json.loads((tmp_path / "output").read_text())["artifacts"]
    metrics, (confusion,) = given["metrics"]["artifacts"][0]["metadata"], given["confusion"]["artifacts"]
    assert metrics["top1 candidate test"] == 0.25
    if num_classes > 100:
        assert len(metrics) == 1 and confusion == artifacts["confusion"]["artifacts"][0]
        assert "of 101 classes" in caplog.text and "1 of 505 figures" in caplog.text
    else:
        assert len(metrics) == 500 and not caplog.text
        drawn = [line["row"] for line in confusion["metadata"]["confusionMatrix"]["rows"]]
        assert (drawn[0][0], drawn[1][3], sum(map(sum, drawn)), len(drawn)) == (2, 4, 6, 100)
