"""What Kubeflow's own pages are given of a report."""

import json
from pathlib import Path

import pytest

from components.interchange.artifact import write_card
from components.interchange.executor_output import write_executor_output


@pytest.mark.parametrize("num_classes", [100, 101])
def test_a_matrix_too_large_to_be_drawn_is_not_given(num_classes: int, tmp_path: Path) -> None:
    matrix = [[0] * num_classes for _ in range(num_classes)]
    details = {
        "selected": "finetune",
        "classes": [str(number) for number in range(num_classes)],
        "confusion": {"candidate": matrix},
    }
    write_card(
        tmp_path / "report", "report", {"step": "evaluate", "spec": {}, "inputs": {}, "rows": [], "details": details}
    )
    artifacts = {name: {"artifacts": [{"name": name, "uri": "/nowhere"}]} for name in ("metrics", "confusion")}
    asked = {"outputs": {"outputFile": str(tmp_path / "output"), "artifacts": artifacts}}
    write_executor_output(json.dumps(asked), {"report": tmp_path / "report"})
    (given,) = json.loads((tmp_path / "output").read_text())["artifacts"]["confusion"]["artifacts"]
    if num_classes > 100:
        assert given == artifacts["confusion"]["artifacts"][0]
    else:
        assert given["metadata"]["confusionMatrix"]["rows"] == [{"row": row} for row in matrix]
