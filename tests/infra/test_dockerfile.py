"""The Dockerfile: linted, and with an image for every step."""

import re
import subprocess
import sys
from pathlib import Path

from pipelines.cluster import Cluster, image_of
from pipelines.steps import CLUSTER_STEPS, DOCTOR, STEPS

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def stages() -> dict[str, str]:
    """The text of every target, by name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout


def test_every_step_is_in_the_image_of_its_family_and_in_no_other() -> None:
    for step in [*STEPS, *CLUSTER_STEPS, DOCTOR]:
        family = image_of(step, Cluster("", "1")).partition(":")[0]
        there = {name for name, text in stages().items() if f"COPY components/{step.name} " in text}
        assert there - {"latency-gpu"} == {family}, step.name


def test_every_image_is_pinned_hashed_and_without_root() -> None:
    for name, text in stages().items():
        if name == "python":
            continue
        assert (
            f"COPY docker/requirements/{name}.txt" in text and "--require-hashes" in text and "--no-cache-dir" in text
        )
        assert "USER 1000:0" in text and '"--help"]' in text
        assert (ROOT / "docker" / "requirements" / f"{name}.txt").is_file()
    for name in ("ingest", "control", "latency", "latency-gpu"):
        assert "torch==" not in (ROOT / "docker" / "requirements" / f"{name}.txt").read_text()
