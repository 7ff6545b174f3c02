"""The fitted head against scikit-learn's logistic regression, on features of very different spreads."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from components.feature_extraction import linear_probe
from components.feature_extraction.linear_probe import fit_each
from components.interchange import progress


def features_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.arange(120) % 3
    features_ND = torch.randn(120, 7, generator=generator) + torch.nn.functional.one_hot(labels_N, 7)
    features_ND[:, 6] = 4.0  # constant on train
    return 5 * features_ND + 20, labels_N


@pytest.mark.parametrize("bounds", [{}, {"LOGITS_AT_A_TIME": 3 * 50, "HISTORY_BYTES": 3000}])
def test_the_optimum_is_scikit_learns_in_parts_and_with_little_history_too(
    bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(linear_probe, name, value)
    features_ND, labels_N = features_and_labels()
    scaled = (features_ND.double() - features_ND.double().mean(0)).numpy()
    scaled /= np.sqrt((scaled**2).mean())
    for fit in fit_each(features_ND, labels_N, 3, (0.001, 0.1)):
        theirs = LogisticRegression(C=1 / (fit.l2 * 120), tol=1e-10, max_iter=10_000).fit(scaled, labels_N)
        expected = theirs.decision_function(scaled)
        found = fit.head.logits(features_ND).numpy()
        # A constant added to every class changes no probability.
        found -= found.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected - expected.mean(axis=1, keepdims=True), atol=2e-4)


def test_the_gradient_vanishes_and_a_stronger_penalty_gives_smaller_weights() -> None:
    features_ND, labels_N = features_and_labels()
    fits = fit_each(features_ND, labels_N, 3, (1e-4, 1e-2, 1.0))
    assert [fit.l2 for fit in fits] == [1.0, 1e-2, 1e-4]
    assert all(fit.gradient_norm < 1e-6 for fit in fits)
    sizes = [fit.head.weight_CD.norm().item() for fit in fits]
    assert sizes == sorted(sizes)


def test_a_feature_that_is_constant_on_train_has_no_weight() -> None:
    features_ND, labels_N = features_and_labels()
    assert all(not fit.head.weight_CD[:, 6].any() for fit in fit_each(features_ND, labels_N, 3, (0.01,)))


def test_a_long_fit_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    fit_each(*features_and_labels(), 3, (0.01, 0.1))
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("head 1 of 2, l2=0.1: ") and told[-1].startswith("head 2 of 2, l2=0.01: ")
    assert "passes/s" in told[-1]
