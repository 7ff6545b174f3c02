"""What the README says of the steps is what their specs say."""

from pathlib import Path

from pipelines.tables import with_tables

README = Path(__file__).parents[2] / "README.md"


def test_the_tables_are_the_specs() -> None:
    text = README.read_text(encoding="utf-8")

    assert with_tables(text) == text, "run `make docs`"
