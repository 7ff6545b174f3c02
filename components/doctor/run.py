"""Doctor: the order of work. A check that fails ends it with exit code 2, after all have been made and written."""

import logging
from dataclasses import asdict

from components.doctor.check import FORMAT, Check
from components.doctor.pod import gpu_check, shared_memory_check, user_check, write_check
from components.doctor.spec import Doctor
from components.doctor.store import FOLDER, store_checks
from components.interchange.artifact import to_json
from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from components.interchange.step import RunContext

log = logging.getLogger("graft")


def run(spec: Doctor, context: RunContext) -> None:
    """Look at everything, say it, and write doctor/<run_id>.json to the store where that can be written."""
    if context.store is None or context.run_id is None:
        raise BadInput("doctor looks at the store and writes to it: give --store and --run-id.")
    checks = [user_check(), write_check()]
    checks += [gpu_check(spec.gpus)] if spec.gpus else []
    checks += [shared_memory_check(spec.shm_gib)] if spec.shm_gib else []
    of_the_store = store_checks(context.store)
    checks += of_the_store
    for check in checks:
        log.info("check=%s state=%s found=%s%s", check.name, check.state, check.found, _remedy(check))
    if of_the_store[0].state == "ok":
        found = {"format": FORMAT, "checks": [asdict(check) for check in checks]}
        open_blobs(context.store).put(f"{FOLDER}/{context.run_id}.json", to_json(found).encode())
    failed = [check.name for check in checks if check.state == "fail"]
    if failed:
        raise BadInput(f"{len(failed)} of {len(checks)} checks fail: {', '.join(failed)}. The remedies stand above.")


def _remedy(check: Check) -> str:
    return f" remedy={check.remedy}" if check.remedy else ""
