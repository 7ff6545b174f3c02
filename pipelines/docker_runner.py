"""Runs a step in the container of its family, on this machine's docker engine.

The container sees the store (or, of a store on S3, the local folder that the runner fetches artifacts to and publishes
them from) and, for reading, the places that the parameters name. It runs as the caller, with a read-only root, without
capabilities, and without a network unless a place lies behind one.
"""

import json
import os
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput
from components.interchange.step import parameters
from pipelines.cluster import Cluster, image_of, on_a_gpu
from pipelines.steps import Step

PASSED_ON = ("AWS_", "OMP_", "GOMP_", "HF_TOKEN")
REMOTE = ("hub", "s3://", "gs://", "http://", "https://")


class NotReady(BadInput):
    """There is no engine, or an image is missing: what was found, and the remedy."""

    def __init__(self, found: str, remedy: str) -> None:
        self.found, self.remedy = found, remedy
        super().__init__(f"{found} {remedy}")


def placed(step: Step, values: Mapping[str, Any]) -> Step:
    """The step with the image that its parameters ask for: latency on a GPU has one of its own."""
    return on_a_gpu(step) if step.name == "latency" and values.get("device") == "cuda" else step


def check(steps: Iterable[Step], images: Cluster) -> None:
    """NotReady where there is no engine, or where an image of these steps is not on this machine."""
    there = check_engine()
    names = [name for name in dict.fromkeys(image_of(step, images) for step in steps) if name not in there]
    if names:
        raise NotReady(f"--runner docker: no image {', '.join(names)} on this machine.", "Build them: make images.")


def check_engine() -> set[str]:
    """The images on this machine, by name and tag; NotReady where there is no engine."""
    try:
        listing = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
        found = subprocess.run(listing, capture_output=True, text=True)
    except OSError:
        raise _no_engine("there is no command docker") from None
    if found.returncode != 0:
        raise _no_engine((found.stderr.strip() or f"it ended with {found.returncode}").splitlines()[-1])
    return set(found.stdout.split())


def _no_engine(why: str) -> NotReady:
    return NotReady(
        f"docker is not to be had: {why}{'' if why.endswith(('.', '?', '!')) else '.'}",
        "Install an engine, start it, and let your user reach it; or use --runner process.",
    )


def command_of(
    step: Step, images: Cluster, root: Path, values: Mapping[str, Any], argv: list[str], name: str
) -> list[str]:
    """The `docker run` of a step. `root` is the store's local folder; `values` the step's parameters."""
    places = [str(values[one.name]) for one in parameters(step.spec) if one.location and values.get(one.name)]
    remote = any(place.startswith(REMOTE) for place in [*places, *_store(argv)])
    mounts = [f"{root}:{root}", *(f"{folder}:{folder}:ro" for folder in sorted(_folders(places, root)))]
    words = ["docker", "run", "--rm", "--init", "--name", name, "--user", f"{os.getuid()}:{os.getgid()}"]
    words += ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += ["--network", "host" if remote else "none", "--shm-size", f"{max(step.shm_gib, 1)}g"]
    words += [word for mount in mounts for word in ("--volume", mount)]
    words += [word for variable in sorted(os.environ) if variable.startswith(PASSED_ON) for word in ("--env", variable)]
    words += ["--gpus", "all"] if (step.gpu or step.name == "latency") and _has_gpu() else []
    return [*words, image_of(step, images), "python", "-m", f"components.{step.name}", *argv]


def new_name(step: Step) -> str:
    """A name for a container, by which it can be ended."""
    return f"graft-{step.name}-{uuid.uuid4().hex[:8]}"


def end(name: str) -> None:
    """Nothing stays behind, whatever became of the client."""
    subprocess.run(["docker", "rm", "--force", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _store(argv: list[str]) -> list[str]:
    return [argv[argv.index("--store") + 1]] if "--store" in argv else []


def _folders(places: Iterable[str], root: Path) -> set[Path]:
    """Local folders to be seen: each place, or the nearest folder around it (of a manifest, of an archive)."""
    found = set()
    for place in places:
        path = Path(place.removeprefix("file://"))
        nearest = next((one for one in [path, *path.parents] if one.exists()), None)
        if path.is_absolute() and nearest is not None and nearest != Path("/"):
            found.add(nearest if nearest.is_dir() else nearest.parent)
    return {folder for folder in found if folder != root and root not in folder.parents}


def _has_gpu() -> bool:
    done = subprocess.run(["docker", "info", "--format", "{{json .Runtimes}}"], capture_output=True, text=True)
    return done.returncode == 0 and "nvidia" in json.loads(done.stdout or "{}")
