"""The last run's figures for Prometheus: a text file in the folder that node_exporter's textfile collector reads.

Every series carries the model name, so that the files of several schedules may lie side by side. Seconds and ratios, as
Prometheus counts; a figure that a run has not is left out.
"""

import importlib.util
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput
from components.interchange.summary import BROKEN_OFF

VERDICTS = ("promote", "keep", "inconclusive", "unchanged", *BROKEN_OFF)
Figures = dict[tuple[str, ...], float | None]  # By the values of their labels.
log = logging.getLogger("graft")


def check(path: Path) -> None:
    """BadInput, before anything runs, where the file could not be written or would never be read."""
    if path.suffix != ".prom":
        raise BadInput(f"--metrics {path}: expected a file that ends in .prom, or node_exporter does not read it.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput(f"--metrics {path}: {path.parent} is no folder that can be written to.")
    if importlib.util.find_spec("prometheus_client") is None:
        raise BadInput("--metrics needs prometheus_client, which is not installed: install graft[metrics].")


def write(path: Path, summary: Mapping[str, Any]) -> None:
    """Replace the file by a run's figures, whole or not at all. A refusal is a warning: it changes no run's end."""
    from prometheus_client import CollectorRegistry, write_to_textfile

    registry = CollectorRegistry()
    _fill(registry, summary)
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        log.warning("graft: --metrics %s: %s; the run itself is not touched by it", path, error.strerror)


def _fill(registry: Any, summary: Mapping[str, Any]) -> None:
    from prometheus_client import Gauge

    name = str(summary["model_name"])
    test, onnx, latency, seconds = (summary[part] for part in ("test", "onnx", "latency", "seconds"))

    def gauge(figure: str, help: str, values: Figures, labels: tuple[str, ...] = ()) -> None:
        known = {label: float(value) for label, value in values.items() if value is not None}
        if known:
            series = Gauge(f"graft_{figure}", help, ("model_name", *labels), registry=registry)
            for label, value in known.items():
                series.labels(name, *label).set(value)

    gauge("run_end_timestamp_seconds", "When the last run ended, since 1970", {(): time.time()})
    gauge("run_duration_seconds", "Duration of the last run", {(): seconds.get("total")})
    steps: Figures = {(step,): spent for step, spent in seconds.items() if step != "total"}
    gauge("step_duration_seconds", "Duration of a step in the last run; 0 where it did not run", steps, ("step",))
    verdicts: Figures = {(word,): int(word == summary["verdict"]) for word in VERDICTS}
    gauge("run_verdict", "1 for the verdict of the last run, 0 for the others", verdicts, ("verdict",))
    top1: Figures = {(who,): test[f"{who}_top1"] for who in ("baseline", "candidate")}
    gauge("test_top1_ratio", "Top-1 on the test images", top1, ("classifier",))
    gauge("test_top1_difference_ratio", "Top-1 of the candidate less the baseline's", {(): test["difference"]})
    interval: Figures = dict(zip([("low",), ("high",)], test["interval"] or [], strict=False))
    gauge("test_top1_difference_bound_ratio", "95 % interval of this difference", interval, ("bound",))
    gauge("test_images", "Images of the test set", {(): test["n"]})
    gauge("parity_flips", "Parity samples whose top-1 differs between torch and ONNX", {(): onnx["parity"]["flips"]})
    batch = (str(latency["provider"]), str(latency["batch"]))
    quantiles: Figures = {(*batch, f"{p / 100:g}"): _seconds(latency[f"p{p}_ms"]) for p in (50, 99)}
    labels = ("provider", "batch", "quantile")
    gauge("latency_seconds", "Latency of the ONNX model", quantiles, labels)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
