"""The fitted temperature against a fine grid, against data of a known temperature, and against torch's optimiser."""

import numpy as np
import pytest
import torch

from components.evaluate.scores import Intervals
from components.evaluate.temperature import choose, fit
from components.interchange import scoring


def drawn(true_temperature: float, num_images: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right after division by `true_temperature`, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits_NC = rng.normal(0, 2, (num_images, 4))
    cumulative_NC = scoring.softmax(logits_NC).cumsum(axis=1)
    labels_N = (rng.random((num_images, 1)) > cumulative_NC).sum(axis=1).clip(max=3)
    return (true_temperature * logits_NC).astype(np.float32), labels_N


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(true_temperature):
    logits_NC, labels_N = drawn(true_temperature)

    found = fit(logits_NC, labels_N).temperature

    assert found == pytest.approx(true_temperature, rel=0.06)
    assert scoring.ece(logits_NC / found, labels_N) < 0.03


def test_no_temperature_of_a_grid_has_less_nll():
    logits_NC, labels_N = drawn(2.5, 300)

    found = fit(logits_NC, labels_N).temperature

    least = scoring.nll(logits_NC / found, labels_N)
    assert all(least <= scoring.nll(logits_NC / other, labels_N) + 1e-9 for other in np.geomspace(0.05, 20, 2000))


def test_torchs_optimiser_finds_the_same():
    logits_NC, labels_N = drawn(1.7, 500)
    temperature = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([temperature], max_iter=200, line_search_fn="strong_wolfe")
    logits, labels = torch.from_numpy(logits_NC.astype(np.float64)), torch.from_numpy(labels_N)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / temperature, labels)
        value.backward()
        return value

    optimizer.step(loss)

    assert fit(logits_NC, labels_N).temperature == pytest.approx(temperature.item(), rel=1e-3)


def test_an_optimum_beyond_what_is_tried_is_said_to_be():
    found = fit(1000 * np.eye(2)[[0, 1, 0, 1]], np.array([1, 0, 0, 1]))

    assert found.temperature == pytest.approx(20, rel=1e-3)
    assert "at the edge of what was tried, 0.05 to 20" in found.how
    assert "edge" not in fit(*drawn(2.0, 300)).how


def test_without_a_mistake_there_is_no_optimum_and_the_logits_stay():
    found = fit(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))

    assert found.temperature == 1.0
    assert "all 2 val images are right" in found.how


QUICK = Intervals(num_resamples=400, seed=0, bins=15)


def test_a_temperature_that_helps_ships_with_its_gain_on_val_and_on_test():
    found = choose(*drawn(2.5, 400), *drawn(2.5, 400, seed=2), QUICK)

    assert found.temperature == fit(*drawn(2.5, 400)).temperature
    rows = {(row.name, row.split): row for row in found.rows}
    assert set(rows) == {("nll_difference", "val"), ("nll_difference", "test"), ("ece_difference", "test")}
    for row in rows.values():
        assert row.low <= row.value <= row.high < 0
    logits_NC, labels_N = drawn(2.5, 400, seed=2)
    for name, score in (("nll", scoring.nll), ("ece", scoring.ece)):
        change = score(logits_NC / found.temperature, labels_N) - score(logits_NC, labels_N)
        assert rows[f"{name}_difference", "test"].value == pytest.approx(change)


def test_what_val_does_not_show_to_help_does_not_ship():
    found = choose(*drawn(1.0, 400), *drawn(1.0, 400, seed=2), QUICK)

    assert fit(*drawn(1.0, 400)).temperature != 1.0
    assert found.temperature == 1.0
    assert found.how.endswith("not clearly below zero: the logits stay as they are")
    assert [row.split for row in found.rows] == ["val"], "test is asked for a veto alone"


def test_few_images_seldom_make_a_temperature_of_what_is_right_already():
    """Fitted to 40 images of well calibrated logits, the temperature would always ship."""
    ships = [choose(*drawn(1.0, 40, seed), *drawn(1.0, 40, 999), QUICK).temperature != 1.0 for seed in range(60)]

    assert sum(ships) <= 6


def test_test_vetoes_a_temperature_that_harms():
    found = choose(*drawn(2.5, 400), *drawn(0.6, 400, seed=2), QUICK)

    assert found.temperature == 1.0
    assert found.how.endswith("test vetoes, the logits stay as they are")
    change = next(row for row in found.rows if (row.name, row.split) == ("nll_difference", "test"))
    assert change.low > 0
