"""Every line in its room: who may import whom, and what must stay light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = ["ingest", "feature_extraction", "finetune", "evaluate", "export_onnx", "latency", "gate", "promote"]
STEPS += ["changes", "record", "doctor"]
ENGINE_FILES = {
    "kfp": {"pipelines/kfp_adapter.py", "pipelines/kfp_pipeline.py", "pipelines/kfp_doctor.py"},
    "prefect": {f"pipelines/prefect_{name}.py" for name in ("adapter", "artifacts", "flow", "schedule")},
}
HEAVY = ["torch", "timm", "onnxruntime", "onnx", "kfp", "prefect", "pyarrow", "numpy"]


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def loaded(code: str, watched: list[str]) -> list[str]:
    """The watched packages that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint([name for name in {watched!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    return list(ast.literal_eval(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_no_other_step(step: str) -> None:
    others = [f"components.{other}" for other in STEPS if other != step]
    for path in sources(f"components/{step}"):
        wrong = [name for name in imported(path) if any(name == o or name.startswith(f"{o}.") for o in others)]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_what_steps_share_imports_no_step() -> None:
    for path in sources("components/interchange"):
        wrong = [name for name in imported(path) if name.startswith(tuple(f"components.{step}" for step in STEPS))]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("engine", ENGINE_FILES)
def test_only_the_adapter_and_the_graph_import_an_engine(engine: str) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in sources("components", "pipelines")
        if any(name.split(".")[0] == engine for name in imported(path))
    }
    assert files <= ENGINE_FILES[engine]


def test_steps_know_nothing_of_pipelines() -> None:
    wrong = [path for path in sources("components") if any(n.split(".")[0] == "pipelines" for n in imported(path))]
    assert not wrong


def test_only_models_and_what_they_answer_share_torch() -> None:
    using = {
        path.name
        for path in sources("components/interchange")
        if any(name.split(".")[0] in ("torch", "timm") for name in imported(path))
    }
    assert using == {"backbone.py", "classifier.py", "inference.py", "pixels_to_logits.py", "state_dicts.py"}


def test_modules_are_named_for_what_they_hold() -> None:
    banned = {"utils", "util", "common", "helpers", "misc", "base"}
    assert not [path for path in sources("components", "pipelines", "tests") if path.stem in banned]


def test_specs_and_their_command_line_load_nothing_heavy() -> None:
    specs = "".join(f"from components.{step} import spec\n" for step in STEPS)
    assert loaded(f"{specs}import components.interchange.cli", HEAVY) == []


def test_the_check_for_heavy_imports_can_fail() -> None:
    assert loaded("import numpy", HEAVY) == ["numpy"]


@pytest.mark.parametrize(
    ("step", "absent"),
    [
        ("ingest", ["torch", "timm", "onnxruntime"]),
        ("latency", ["torch", "timm"]),
        ("gate", ["torch", "numpy", "pyarrow", "scipy", "onnxruntime"]),
        ("promote", ["torch", "numpy", "pyarrow", "scipy", "onnxruntime"]),
        ("changes", ["torch", "numpy", "pyarrow", "scipy", "onnxruntime"]),
        ("record", ["torch", "numpy", "pyarrow", "scipy", "onnxruntime"]),
    ],
)
def test_a_step_runs_where_heavy_packages_are_not_installed(step: str, absent: list[str]) -> None:
    block = f"""
import importlib.abc

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
    assert loaded(f"{block}\nimport components.{step}.run", ["components"]) == ["components"]
    with pytest.raises(subprocess.CalledProcessError):
        loaded(f"{block}\nimport {absent[0]}", [])


def test_normalisation_comes_from_the_weights() -> None:
    """ImageNet's usual mean and std stand nowhere in the code: a wrong one is the commonest reason not to learn."""
    for path in sources("components", "pipelines"):
        assert "0.485" not in path.read_text() and "0.229" not in path.read_text(), path
