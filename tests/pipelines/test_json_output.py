"""With --json a command prints JSON and nothing else: whatever it has to say besides goes to standard error."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from components.interchange.blobs import open_blobs
from pipelines.cli import app
from tests.promote.test_rollback import promoted

ON_A_STORE = {
    "champion show",
    "champion history",
    "champion rollback",
    "runs",
    "status",
    "store gc",
    "store ls",
    "store verify",
    "weights ls",
}
# They need more than a store: their own tests read their whole standard output as JSON.
ELSEWHERE = {"run", "demo", "predict", "conformance", "doctor", "find-lr", "recommend", "weights fetch"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("json")
    promoted(folder, str(folder / "store"), "ab")
    open_blobs(str(folder / "store")).put("runs/20260101-000000-aaaa/request.json", b'{"model_name": "parts"}')
    return str(folder / "store")


def names(command: Any, path: str = "") -> Iterator[str]:
    """Every command that takes --json."""
    for name, one in getattr(command, "commands", {}).items():
        yield from names(one, f"{path} {name}".strip())
    if any("--json" in parameter.opts for parameter in command.params):
        yield path


@pytest.mark.parametrize("words", sorted(ON_A_STORE))
@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
def test_standard_output_is_json_alone(words: str, full: bool, store: str, tmp_path: Path) -> None:
    place = store if full else str(tmp_path)
    done = CliRunner().invoke(app, [*words.split(), "--store", place, "--json"])
    if full or done.exit_code == 0:
        assert done.exit_code == 0, done.stderr
        json.loads(done.stdout)
    else:
        assert (done.exit_code, done.stdout) == (2, "") and done.stderr.startswith("graft: ")


def test_no_command_is_forgotten() -> None:
    assert set(names(typer.main.get_command(app))) == ON_A_STORE | ELSEWHERE
