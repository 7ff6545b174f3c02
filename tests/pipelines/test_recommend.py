"""`graft recommend`: the rules on given counts and latencies, the measurement on a tiny backbone, the command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.backbone_latency import Measured, latencies, measured
from pipelines.cli import app
from pipelines.recipes import RECIPES
from pipelines.recommend import Demands, counted, recommend
from tests import warm
from tests.conftest import write_source

P99_MS = {
    "vit_base_patch16_224": 120.0,
    "efficientnet_b3": 60.0,
    "resnet50": 30.0,
    "efficientnet_b0": 15.0,
    "resnet18": 12.0,
    "tf_efficientnet_lite0": 9.0,
}


def of(backbone: str, p99_ms: float, high: float | None = None, disturbed: bool = False) -> Measured:
    return Measured(
        backbone=backbone, p50_ms=0.9 * p99_ms, p99_ms=p99_ms, low=None, high=high, runs=100, when="2026-01-01 00:00",
        disturbed=disturbed,
    )  # fmt: skip


HERE = {backbone: of(backbone, p99_ms) for backbone, p99_ms in P99_MS.items()}


@pytest.mark.parametrize(
    ("demands", "recipe", "fits", "words"),
    [
        (Demands(499), "scarce", None, "the baseline on frozen features is expected to win"),
        (Demands(500), "production", None, "fine-tuning is worth it"),
        (Demands(50_000), "production", None, "ResNet50 is the default"),
        (Demands(50_001), "large", None, "enough for a ViT"),
        (Demands(50_001, gpu_memory_gb=24), "large", None, "enough for a ViT"),
        (Demands(50_001, gpu_memory_gb=8), "accuracy", None, "not measured"),
        (Demands(5_000, edge=True), "edge", None, "EfficientNet-B0"),
        (Demands(100, edge=True), "edge", None, "the baseline on frozen features is expected to win"),
        (Demands(5_000, max_p99_ms=500), "accuracy", True, "efficientnet_b3 (p99 60.0 ms"),
        (Demands(5_000, max_p99_ms=40), "production", True, "efficientnet_b3 (p99 60.0 ms, p50 54.0 ms, 100 runs) is"),
        (Demands(5_000, max_p99_ms=13), "scarce", True, "resnet18 (p99 12.0 ms"),
        (Demands(99_000, max_p99_ms=500), "large", True, "vit_base_patch16_224"),
        (Demands(99_000, max_p99_ms=20), "edge", True, "so few runs"),
        (Demands(5_000, max_p99_ms=1), "scarce", False, "none of accuracy, production, edge, scarce keeps"),
        (Demands(5_000, edge=True, max_p99_ms=13), "scarce", True, "efficientnet_b0 (p99 15.0 ms"),
    ],
)  # fmt: skip
def test_the_rules(demands: Demands, recipe: str, fits: bool | None, words: str) -> None:
    found = recommend(demands, HERE)
    assert (found.recipe, found.fits) == (recipe, fits)
    assert words in "; ".join(found.reasons)


def test_a_budget_inside_the_interval_is_not_kept_surely() -> None:
    found = recommend(Demands(5_000, max_p99_ms=65), {**HERE, "efficientnet_b3": of("efficientnet_b3", 60.0, 70.0)})
    assert found.recipe == "accuracy" and "not surely" in found.reasons[-1]
    surely = recommend(Demands(5_000, max_p99_ms=75), {**HERE, "efficientnet_b3": of("efficientnet_b3", 60.0, 70.0)})
    assert surely.reasons[-1].endswith("keeps a p99 of 75 ms")


def test_every_backbone_of_a_recipe_has_its_rule() -> None:
    assert {str(recipe.value("backbone")) for recipe in RECIPES} == P99_MS.keys()


def test_images_are_counted_as_ingest_lists_them(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 10)
    (source / "notes.txt").write_text("no image")
    assert counted(str(source)) == (30, 3, 18)


def test_given_splits_count_as_given(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for split, number in (("train", 6), ("validation", 2), ("test", 2)):
        write_source(source / split, number)
    assert counted(str(source)) == (30, 3, 18)
    (source / "train" / "blue" / "blue 000.png").unlink()
    assert counted(str(source)).train_images == 17


def test_what_was_measured_is_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def measure(backbone: str) -> Measured:
        asked.append(backbone)
        return HERE[backbone]

    first = latencies(["resnet18", "resnet50"], measure, tmp_path / "cache")
    todo, *done = capsys.readouterr().err.splitlines()
    assert todo.startswith("2 of 2 backbones are to be measured here, once: each is exported, ")
    assert done == ["measured resnet18, 1 of 2, in 0 s", "measured resnet50, 2 of 2, in 0 s"]
    assert latencies(["resnet50", "resnet18"], measure, tmp_path / "cache") == first
    assert asked == ["resnet18", "resnet50"]
    for file in (tmp_path / "cache").iterdir():
        file.write_text("{")
    assert latencies(["resnet18"], measure, tmp_path / "cache") == {"resnet18": HERE["resnet18"]}
    assert asked == ["resnet18", "resnet50", "resnet18"]


def test_what_other_work_disturbed_is_shown_and_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(backbone: str) -> Measured:
        asked.append(backbone)
        return of(backbone, 300.0, disturbed=len(asked) == 1)

    found = [latencies(["resnet50"], measure, tmp_path / "cache")["resnet50"].disturbed for _ in range(3)]
    assert (found, asked) == ([True, False, False], ["resnet50", "resnet50"])

    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    latencies(P99_MS.keys() - {"resnet18"}, HERE.__getitem__, tmp_path / "latency")
    monkeypatch.setattr("pipelines.backbone_latency.measured", lambda backbone: of(backbone, 300.0, disturbed=True))
    _, out, _ = recommended("--source", str(write_source(tmp_path / "source", 10)), "--max-p99-ms", "13.5")
    assert "other work took cores while resnet18 ran" in out


def test_a_backbone_is_exported_and_timed_on_this_machine() -> None:
    found = measured("test_resnet", 0.2, lambda command: warm.run(*command[2:]).returncode)
    assert found.backbone == "test_resnet" and found.runs >= 25
    assert 0 < found.p50_ms <= found.p99_ms


def test_processes_that_differ_count_alike(tmp_path: Path) -> None:
    """Of five, one is twice as fast and makes twice the runs; the median is that of the others."""

    def timed(command: list[str]) -> int:
        if command[3] == "time":
            result = Path(command[5])
            ms, runs = (5.0, 600) if result.stem == "0" else (10.0, 300)
            result.write_text(json.dumps({"samples_ms": [ms] * runs, "waiting": None}))
        return 0

    found = measured("resnet18", exit_code=timed)
    assert (found.p50_ms, found.p99_ms, found.high, found.runs, found.disturbed) == (10.0, 10.0, 10.0, 1500, False)


def recommended(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["recommend", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_measures_nothing_without_a_budget(tmp_path: Path) -> None:
    source = str(write_source(tmp_path / "source", 10))
    code, out, _ = recommended("--source", source, "--json")
    found = json.loads(out)
    assert (code, found["recipe"], found["backbone"], found["latency"]) == (0, "scarce", "resnet18", [])
    code, out, _ = recommended("--source", source, "--edge")
    assert (code, out.splitlines()[0]) == (0, "recipe: edge (efficientnet_b0)")


def test_the_command_shows_what_is_remembered_under_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    latencies(P99_MS, HERE.__getitem__, tmp_path / "cache" / "latency")
    code, out, err = recommended("--source", str(write_source(tmp_path / "source", 10)), "--max-p99-ms", "13.5")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "recipe: scarce (resnet18)"
    assert "\nefficientnet_b0 " in out and "vit_base_patch16_224" not in out, "measured is what suits few images"


def test_a_source_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    code, out, err = recommended("--source", str(tmp_path / "no"))
    assert (code, out) == (2, "") and "there is no source at" in err


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pipelines.cli import app\n"
        "assert CliRunner().invoke(app, ['recommend', '--help']).exit_code == 0\n"
        "assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
