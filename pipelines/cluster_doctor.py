"""`graft doctor --cluster`: sends a look into a pod, waits for it, and gathers what it and Kubeflow have to say."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.doctor.check import FORMAT, Check
from components.doctor.store import FOLDER
from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from pipelines.cluster import Cluster
from pipelines.kubeflow_api import Kubeflow, read_package
from pipelines.kubeflow_runs import ENDED, follow

GOOD = ("SUCCEEDED", "SKIPPED")
OLDEST = (2, 16)
STARTED = (
    "Look at the pod: `kubectl describe pod` tells of an image that cannot be pulled (--image-prefix, --image-tag, "
    "--pull-secret), of no node with a free GPU or that label (--gpu, --gpu-node-selector, --toleration), of a quota, "
    "or of a secret that is not there (--s3-secret)."
)
PULL = "Is that image in the registry under that tag, and may the nodes pull it (--pull-secret)?"
REPORT = (
    "Its log in Kubeflow's pages names each check and its remedy. Most likely the pod does not reach the store: see "
    "--s3-endpoint, --s3-secret and the network policy."
)
HERE = "Set AWS_ENDPOINT_URL and the credentials on this machine as well, or read the pod's log in Kubeflow's pages."


def version_check(server: Kubeflow) -> Check:
    """Kubeflow's version: the YAML is for 2.16 and newer."""
    version = server.release()
    if version is None:
        return Check("kubeflow", "warn", "it does not tell its version", "Graft's YAML is for 2.16 and newer.")
    numbers = version.lstrip("v").split(".")[:2]
    if not all(number.isdigit() for number in numbers):
        return Check("kubeflow", "warn", f"version {version}", "Graft's YAML is for 2.16 and newer.")
    if tuple(map(int, numbers)) < OLDEST:
        return Check("kubeflow", "fail", f"version {version}", "Upgrade Kubeflow Pipelines to 2.16 or newer.")
    return Check("kubeflow", "ok", f"version {version}")


def look(
    server: Kubeflow,
    cluster: Cluster,
    store: str,
    experiment: str,
    account: str | None,
    tell: Callable[[str], None],
    poll_s: float,
    wait_s: float,
) -> list[Check]:
    """Compile, submit, wait `wait_s` at most, and gather. `tell` hears the run's address and its states."""
    from pipelines.kfp_doctor import write

    checks = [version_check(server)]
    with tempfile.TemporaryDirectory(prefix="graft-doctor-") as folder:
        path = Path(folder) / "doctor.yaml"
        write(path, cluster)
        package = read_package(path)
        version = server.version_of(package)
    run_id = server.start(version, server.experiment_id(experiment), "graft doctor", {"store": store}, account)
    tell(server.address(run_id))
    state = follow(server, run_id, tell, poll_s, time.monotonic() + wait_s)
    return [*checks, *_pods(server.run(run_id), state, wait_s), *_report(store, run_id, state)]


def _pods(run: Any, state: str, wait_s: float) -> list[Check]:
    """What Kubeflow says of the run and its tasks; the look itself speaks through its report."""
    tasks = (run.run_details.task_details if run.run_details else None) or []
    pulls = [task for task in tasks if (task.display_name or "").startswith("image ") and task.state in ENDED]
    checks = [
        Check(task.display_name, "ok", "pulled and started")
        if task.state in GOOD
        else Check(task.display_name, "fail", _why(task), PULL)
        for task in pulls
    ]
    if state not in ENDED:
        checks.append(Check("pods", "fail", f"the run is {state or 'not told of'} after {wait_s:.0f} s", STARTED))
    elif state in GOOD and not checks:
        checks.append(Check("images", "ok", "every task started in its image"))
    return checks


def _why(task: Any) -> str:
    message = task.error.message if task.error and task.error.message else ""
    return f"{task.state}: {message}" if message else str(task.state)


def _report(store: str, run_id: str, state: str) -> list[Check]:
    """What the pod found, from the store; where that has no report, the pod could not write one."""
    try:
        found = open_blobs(store).get(f"{FOLDER}/{run_id}.json")
    except BadInput as error:
        good = state in GOOD
        told = (
            f"the pod found {'nothing wrong' if good else 'something wrong'}, but the store is not to be read from here"
        )
        return [Check("report", "warn" if good else "fail", f"{told} ({error})", HERE)]
    if found is None:
        return [Check("report", "fail", f"the run is {state}, and the pod left no report in the store", REPORT)]
    report = json.loads(found)
    if report.get("format") != FORMAT:
        raise BadInput(f"{store}/{FOLDER}/{run_id}.json is {report.get('format')}, expected {FORMAT}: another Graft's.")
    return [Check(**one) for one in report["checks"]]
