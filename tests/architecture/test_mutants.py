"""The bugs that `make mutants` plants fit the code as it is, and have tests that are there."""

from pathlib import Path

from tests.mutants.guards import GUARDS
from tests.mutants.planted import MUTANTS

ROOT = Path(__file__).parents[2]


def test_every_mutant_fits_the_code() -> None:
    texts = {mutant.file: (ROOT / mutant.file).read_text(encoding="utf-8") for mutant in (*MUTANTS, *GUARDS)}
    found = {mutant.name: texts[mutant.file].count(mutant.before) for mutant in (*MUTANTS, *GUARDS)}
    assert {name: count for name, count in found.items() if count != 1} == {}


def test_every_mutant_has_tests() -> None:
    named = {name for mutant in (*MUTANTS, *GUARDS) for name in mutant.tests}
    for name in named:
        file, _, test = name.partition("::")
        path = ROOT / file
        assert path.is_file() or any(path.glob("test_*.py")), name
        assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), name
