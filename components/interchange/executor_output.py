"""What Kubeflow tells a task, and reads when it is done: every output by name, figures and a page to show.

The launcher gives `--executor-input`, a JSON object that says where each output belongs and where it looks for this
file. An output that is not listed there does not exist for the tasks behind it.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.interchange.artifact import digest
from components.interchange.errors import BadInput
from components.interchange.report import ENTRANTS, PAGE, Report, read_report

# Kubeflow draws every cell, and keeps them all in its database: 1,000 classes would be 3 MB of it.
MOST_CLASSES_DRAWN = 100
MOST_FIGURES = 500  # Of a task, in the same database. Evaluate has seven of every class.
DIGEST = "_digest"  # An output parameter `dataset_digest` is the digest of the output artifact `dataset`.
log = logging.getLogger("graft")


def given_folders(executor_input: str, name: str) -> list[Path]:
    """The folders of an input that is a list of artifacts, for which the launcher knows no placeholder.

    BadInput when `executor_input` is not what Kubeflow gives.
    """
    try:
        artifacts = json.loads(executor_input)["inputs"]["artifacts"][name]["artifacts"]
        return [Path(local_path(artifact["uri"])) for artifact in artifacts]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"--executor-input is not Kubeflow's JSON: expected inputs.artifacts.{name} ({error})."
        ) from None


def write_executor_output(executor_input: str, outputs: Mapping[str, Path]) -> None:
    """Write the executor output file of a task whose step has written `outputs`.

    BadInput when `executor_input` is not what Kubeflow gives.
    """
    try:
        asked = json.loads(executor_input)["outputs"]
        target = Path(asked["outputFile"])
        parameters, artifacts = asked.get("parameters", {}), asked.get("artifacts", {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"--executor-input is not Kubeflow's JSON: expected outputs.outputFile ({error}).") from None
    report = read_report(outputs["report"]) if "report" in outputs else None
    written = {
        "parameterValues": {name: _value(name, outputs) for name in parameters},
        "artifacts": {
            name: {"artifacts": [_filled(name, found["artifacts"][0], report, outputs)]}
            for name, found in artifacts.items()
        },
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(written), encoding="utf-8")


def _value(name: str, outputs: Mapping[str, Path]) -> str:
    """What an output parameter says: a verdict's word, or an artifact's digest."""
    if name in outputs:
        return outputs[name].read_text(encoding="utf-8")
    return digest(outputs[name.removesuffix(DIGEST)])


def _filled(name: str, artifact: dict[str, Any], report: Report | None, outputs: Mapping[str, Path]) -> dict[str, Any]:
    """The artifact as Kubeflow gave it, with what its user interface shows in its metadata."""
    if report is None or name in outputs:
        return artifact
    if name == "metrics":
        return {**artifact, "metadata": {**artifact.get("metadata", {}), **figures(report)}}
    if name == "confusion":
        if (classes := len(report.details["classes"])) > MOST_CLASSES_DRAWN:
            log.info("Kubeflow is given no confusion matrix: of %d classes, over %d.", classes, MOST_CLASSES_DRAWN)
            return artifact
        return {**artifact, "metadata": {**artifact.get("metadata", {}), "confusionMatrix": confusion(report)}}
    page = outputs["report"] / PAGE
    if name == "html" and page.is_file():
        place = Path(local_path(artifact["uri"]))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, place)
    return artifact


def local_path(uri: str) -> str:
    """Where the launcher has an artifact of this URI on disk: `s3://b/k` is `/s3/b/k`, a path is itself."""
    for scheme in ("s3", "minio", "gs"):
        if uri.startswith(f"{scheme}://"):
            return f"/{'gcs' if scheme == 'gs' else scheme}/{uri.removeprefix(f'{scheme}://')}"
    return uri.removeprefix("file://")


def figures(report: Report) -> dict[str, float]:
    """The report's numbers by name, owner and split: `top1 candidate test`.

    Where they are too many, without those of single classes (`recall candidate/scratch test`).
    """
    numbers = [(row, float(row.value)) for row in report.rows if isinstance(row.value, int | float)]
    if len(numbers) > MOST_FIGURES:
        overall = [(row, value) for row, value in numbers if "/" not in row.of]
        log.info("Kubeflow is given %d of %d figures: without those of single classes.", len(overall), len(numbers))
        numbers = overall
    return {" ".join(part for part in (row.name, row.of, row.split) if part): value for row, value in numbers}


def confusion(report: Report) -> dict[str, Any]:
    """The selected classifier's confusion matrix on test, in the shape of Kubeflow's ClassificationMetrics."""
    classes, cells = report.details["classes"], report.details["confusion"][ENTRANTS[report.details["selected"]]]
    rows = [[0] * len(classes) for _ in classes]
    for truth, predicted, images in cells:
        rows[truth][predicted] = images
    return {
        "annotationSpecs": [{"displayName": name} for name in classes],
        "rows": [{"row": row} for row in rows],
    }
