"""What a step's key holds besides its spec and inputs: code, versions, weights, hardware.

Read without importing what is described: no torch, no timm, no onnxruntime.
"""

import ast
import ctypes
import hashlib
import platform
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import components
from components.interchange.cores import num_cores
from components.interchange.weights import weights_sha256

CODE = Path(components.__file__).parent
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
# What decides on the CPU which kernels run, and so the last bits of a training.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def code_of(step: str, root: Path = CODE) -> dict[str, str]:
    """sha256 by file of a step's package and of the interchange modules that it imports, directly or not."""
    pending = [path for path in sorted((root / step).rglob("*")) if _counts(path)]
    found: dict[Path, str] = {}
    while pending:
        path = pending.pop()
        if path in found:
            continue
        content = path.read_bytes()
        found[path] = hashlib.sha256(content).hexdigest()
        if path.suffix == ".py":
            named = (root / "interchange" / f"{module}.py" for module in _interchange_imports(content))
            pending += [module for module in named if module.is_file()]
            pending += [root / "interchange" / "__init__.py"]
        if path.parent == root / "interchange":
            pending += [other for other in path.parent.iterdir() if other.suffix != ".py" and _counts(other)]
    return {path.relative_to(root).as_posix(): found[path] for path in sorted(found)}


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@cache
def _interchange_imports(source: bytes) -> frozenset[str]:
    """What a module imports from `components.interchange`: names of modules, and perhaps of other things.

    Cached, since the steps share most of their modules, and a run asks for each step's code more than once.
    """
    found = set()
    for node in _statements(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {match[1] for name in names if (match := re.match(r"components\.interchange\.(\w+)", name))}
    return frozenset(found)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement in a module, also in functions and branches; expressions, which hold no import, are passed by."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, part, ()):
            yield child
            yield from _statements(child)


def versions_of(extra: str | None) -> dict[str, str | None]:
    """Installed version of every package of an extra of Graft; None where one is not installed."""
    names = set()
    for requirement in metadata.requires("graft") or []:
        wanted, _, marker = requirement.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", wanted.strip())
        if extra and name and re.search(rf"extra == ['\"]{extra}['\"]", marker):
            names.add(name[0])
    return versions_of_packages(sorted(names))


def versions_of_packages(names: Iterable[str]) -> dict[str, str | None]:
    """Installed version by package; None where one is not installed."""
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def weights(weights: str, backbone: str, sha256: str | None, store: str | None) -> str:
    """sha256 of pretrained weights; for timm's hub the backbone's name and timm's version. BadInput if not there."""
    if weights == "hub":
        return f"{backbone} of timm {_version('timm')}"
    return weights_sha256(weights, backbone, sha256, store)


def _cuda() -> str | None:
    """`cuda` with the compute capability of the driver's first device, as `cuda 9.0`; None where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device, major, minor = (ctypes.c_int(0) for _ in range(4))
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return None
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    return f"cuda {major.value}.{minor.value}"


def device_kind(device: str) -> str:
    """CUDA with its compute capability, or the CPU with its instruction sets: they decide precision and kernels."""
    cuda = _cuda() if device != "cpu" else None
    if cuda or device == "cuda":
        return cuda or "cuda"
    flags = cpu_flags()
    return " ".join(["cpu", platform.machine(), *(name for name in INSTRUCTIONS if name in flags)])


def cpu_flags() -> set[str]:
    """What the processor says that it can do, in Linux' words; empty where it is not told."""
    return set(_cpu_field("flags").split()) | set(_cpu_field("Features").split())


def processor() -> str:
    """The processor's model, in its maker's words."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def num_threads(given: int | None) -> int:
    """Threads that an operator may use: those given, or every core this process may run on."""
    return given or num_cores()


def provider(device: str) -> str:
    """onnxruntime's provider for a device, judged by the installed package."""
    if device != "auto":
        return device
    return "cuda" if _version("onnxruntime-gpu") is not None and _cuda() is not None else "cpu"


def _cpu_field(name: str) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return ""
    match = re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo.read_text(), re.MULTILINE)
    return match[1].strip() if match else ""
