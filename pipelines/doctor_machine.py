"""What `graft doctor` looks at on this machine: Python and packages, processor, memory, GPU, disk, Prefect, docker."""

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from components.doctor.check import Check, checked
from components.doctor.pod import gpu_check
from components.interchange.errors import BadInput
from pipelines import docker_runner, fingerprints
from pipelines.cluster import Cluster
from pipelines.prefect_server import fault_of
from pipelines.shelf import GIB
from pipelines.steps import STEPS

PYTHON = (3, 11)
MEMORY_FAIL_GIB, MEMORY_WARN_GIB = 2, 6  # The demo's largest process takes 2.7 GiB.
DISK_FAIL_GIB, DISK_WARN_GIB = 1, 10
PACKAGES = {
    "ingest": ("numpy", "pyarrow", "pillow", "cykooz-resizer"),
    "train": ("torch", "torchvision", "timm"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "run": ("typer", "rich", "jinja2"),
}
GPU = "Install a torch that was built with CUDA (graft[train] has it on Linux), and a driver that is new enough for it."
ELSEWHERE = "name another place: --store, GRAFT_CACHE or TMPDIR."


def python_check() -> Check:
    """The version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        return Check("python", "fail", found, f"Graft needs Python {'.'.join(map(str, PYTHON))} or newer.")
    return Check("python", "ok", f"{found} ({sys.executable})")


def package_checks() -> list[Check]:
    """What each part of Graft needs, by extra; what is missing, or of a version that Graft cannot work with, is a
    warning, as a machine may do one part alone.
    """
    checks = []
    for extra, names in PACKAGES.items():
        versions, asked = fingerprints.versions_of_packages(names), _asked_for(extra)
        wrong = {name for name, version in versions.items() if version is None or not asked[name].contains(version)}
        found = ", ".join(
            f"{name} {version or 'is missing'}" + (f" (expected {asked[name]})" if version and name in wrong else "")
            for name, version in versions.items()
        )
        remedy = f"Install graft[{extra}] anew." if wrong else ""
        checks.append(Check(f"packages: {extra}", "warn" if wrong else "ok", found, remedy))
    return checks


def _asked_for(extra: str) -> dict[str, SpecifierSet]:
    """The versions that Graft's own requirements allow; any, where Graft is not installed as a package."""
    asked: dict[str, SpecifierSet] = defaultdict(lambda: SpecifierSet(prereleases=True))
    with suppress(metadata.PackageNotFoundError):
        for requirement in map(Requirement, metadata.requires("graft") or []):
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                asked[requirement.name] = SpecifierSet(str(requirement.specifier), prereleases=True)
    return asked


def processor_check() -> Check:
    """Cores and the instructions that training and int8 are fast with."""
    flags = fingerprints.cpu_flags()
    bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    vnni = bool(flags & {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
    found = f"{fingerprints.processor()}, {fingerprints.num_threads(None)} cores"
    found += (
        f"; bf16: {'yes' if bf16 else 'no, training is in fp32'}; VNNI: {'yes' if vnni else 'no, int8 gains little'}"
    )
    if flags and not flags & {"avx2", "asimd"}:
        return Check("processor", "warn", f"{found}; no AVX2", "Everything will be slow; use a newer processor.")
    return Check("processor", "ok", found)


def memory_check() -> Check:
    """Memory that is free for a run."""
    total_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    free_gib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():  # Linux counts what its caches would give back.
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free_gib = int(fields["MemAvailable"].split()[0]) * 1024 / GIB
    found = f"{free_gib:.1f} of {total_gib:.1f} GiB are free"
    return _enough(
        "memory", free_gib, MEMORY_FAIL_GIB, MEMORY_WARN_GIB, found, "End other programs, or use a smaller recipe."
    )


def gpu_on_this_machine_check() -> Check:
    """A GPU that the driver knows must be one that torch can use. None is no fault: training then is on the CPU."""
    kind = fingerprints.device_kind("auto")
    if not kind.startswith("cuda"):
        return Check("gpu", "ok", "none; everything is computed on the processor")
    if fingerprints.versions_of_packages(["torch"])["torch"] is None:
        return Check("gpu", "warn", f"{kind}, but torch is not installed", "Install graft[train].")
    found = gpu_check(1)
    return found if found.state == "ok" else Check("gpu", "fail", f"the driver has {kind}, but {found.found}", GPU)


def disk_checks(places: dict[str, Path]) -> list[Check]:
    """Room where a run writes, by what is written there, and whether it may."""
    checks = []
    for what, place in places.items():
        if not _may_write(place):
            checks.append(
                Check("disk", "fail", f"{what} ({place}) cannot be written to", f"See to who may, or {ELSEWHERE}")
            )
            continue
        free_gib = shutil.disk_usage(_there(place)).free / GIB
        found = f"{what} ({place}): {free_gib:.1f} GiB are free"
        checks.append(_enough("disk", free_gib, DISK_FAIL_GIB, DISK_WARN_GIB, found, f"Make room, or {ELSEWHERE}"))
    return checks


def _may_write(place: Path) -> bool:
    return os.access(_there(place), os.W_OK | os.X_OK, effective_ids=True)


def _there(place: Path) -> Path:
    """The place itself, or the nearest folder around it that is there."""
    return next(one for one in [place, *place.absolute().parents] if one.exists())


def temporary_folder() -> Path:
    """Where Python writes what is soon gone."""
    return Path(tempfile.gettempdir())


def prefect_check(history: Path | None) -> Check:
    """The server that PREFECT_API_URL names answers; or Prefect is installed, and the folder of its history, if it is
    known, can be written to.
    """
    address = os.environ.get("PREFECT_API_URL")
    remedy = "Start that server, or unset PREFECT_API_URL; or give --engine none." if address else ""

    version = fingerprints.versions_of_packages(["prefect"])["prefect"]
    if version is None:
        return Check("prefect", "fail", "Prefect is not installed", "Install graft[prefect], or give --engine none.")

    def look() -> str:
        if address:
            if fault := fault_of(address):
                raise BadInput(fault)
            return f"Prefect {version}, server {address}"
        if history is None:
            return f"Prefect {version}"
        if not _may_write(history):
            raise BadInput(f"{history} cannot be written to.")
        return f"Prefect {version}, history in {history}"

    return checked("prefect", look, remedy or "See to who may write there, or give --engine none.")


def docker_check(image_prefix: str, image_tag: str | None) -> Check:
    """An engine that answers, and the images of every step where a tag was given."""
    try:
        if image_tag is None:
            docker_runner.check_engine()
            return Check("docker", "ok", "the engine answers; give --image-tag to look for the images")
        docker_runner.check(STEPS, Cluster(image_prefix, image_tag))
        return Check("docker", "ok", f"the engine answers, and has every image of {image_tag}")
    except docker_runner.NotReady as error:
        return Check("docker", "fail", error.found, error.remedy)


def _enough(name: str, free_gib: float, fail_gib: float, warn_gib: float, found: str, remedy: str) -> Check:
    if free_gib >= warn_gib:
        return Check(name, "ok", found)
    return Check(name, "fail" if free_gib < fail_gib else "warn", f"{found}, expected {warn_gib} or more", remedy)
