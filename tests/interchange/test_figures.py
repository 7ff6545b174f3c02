"""How pages write figures."""

import pytest

from components.interchange.figures import number


@pytest.mark.parametrize(
    ("value", "written"), [(0.0, "0.000"), (0.25, "0.250"), (0.001, "0.001"), (0.00075, "7.5e-04"), (-2e-8, "-2.0e-08")]
)
def test_what_three_digits_would_distort_is_written_by_its_first_two(value: float, written: str) -> None:
    assert number(value) == written
