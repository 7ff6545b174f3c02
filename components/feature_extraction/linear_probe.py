"""Multinomial logistic regression on cached features, fitted to the optimum.

Minimised: mean cross-entropy + l2 / 2 * |weight|^2 over centred features of mean variance one, the bias free.
scikit-learn's LogisticRegression(C=1 / (l2 * N)) has the same optimum; of two classes, to which it gives one weight
vector, with twice that C. All features share one scale: dividing each by its own would blow up those that hardly vary.
The scaling is folded into weight and bias afterwards, so that the result is a plain linear layer on the raw features.
Legend: N images, D features, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.interchange.progress import progress

MAX_ITERATIONS = 2000
GRADIENT_TOLERANCE = 1e-6
LOGITS_AT_A_TIME = 1 << 22  # 32 MiB, some times over with their gradients.
HISTORY, HISTORY_BYTES = 50, 1 << 31  # Steps that L-BFGS remembers, each as two heads; fewer where classes are many.
DOUBLE_BYTES = 8


class LinearHead(NamedTuple):
    """float32 `weight_CD` and `bias_C` on raw features."""

    weight_CD: Tensor
    bias_C: Tensor

    def logits(self, features_ND: Tensor) -> Tensor:
        """Logits [N, C], float32."""
        return nn.functional.linear(features_ND, self.weight_CD, self.bias_C)


class Fit(NamedTuple):
    """The head at the optimum for one l2; `gradient_norm` is the largest component left, over scaled features."""

    l2: float
    head: LinearHead
    gradient_norm: float
    iterations: int


def fit_each(features_ND: Tensor, labels_N: Tensor, num_classes: int, l2_candidates: Sequence[float]) -> list[Fit]:
    """One fit an l2, in float64, from the strongest penalty to the weakest, each starting at the optimum before it."""
    with torch.inference_mode(False):
        raw_ND = features_ND.detach().clone().double()
        mean_D = raw_ND.mean(0)
        scale = float((raw_ND - mean_D).square().mean().sqrt()) or 1.0
        scaled_ND = (raw_ND - mean_D) / scale
        weight_CD = torch.zeros(num_classes, raw_ND.shape[1], dtype=torch.float64, device=raw_ND.device)
        bias_C = torch.zeros(num_classes, dtype=torch.float64, device=raw_ND.device)
        fits = []
        path = sorted(set(l2_candidates), reverse=True)
        for number, l2 in enumerate(path, start=1):
            label = f"head {number} of {len(path)}, l2={l2:g}"
            with closing(progress(count(), label, unit=" passes")) as passes:
                gradient_norm, iterations = _minimise(weight_CD, bias_C, scaled_ND, labels_N, l2, passes)
            folded_CD = weight_CD.detach() / scale
            head = LinearHead(folded_CD.float(), (bias_C.detach() - folded_CD @ mean_D).float())
            fits.append(Fit(l2, head, gradient_norm, iterations))
    return fits


def _minimise(
    weight_CD: Tensor, bias_C: Tensor, features_ND: Tensor, labels_N: Tensor, l2: float, passes: Iterator[int]
) -> tuple[float, int]:
    """Move weight and bias to the optimum, in place; the largest gradient component there and the iterations taken.

    Each pass over the images takes one of `passes`.
    """
    parameters = [weight_CD.requires_grad_(), bias_C.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=1e-14,
        history_size=min(HISTORY, max(1, HISTORY_BYTES // (2 * DOUBLE_BYTES * (weight_CD.numel() + bias_C.numel())))),
        line_search_fn="strong_wolfe",
    )

    images_at_a_time = max(1, LOGITS_AT_A_TIME // len(weight_CD))
    parts = [torch.split(of_all, images_at_a_time) for of_all in (features_ND, labels_N)]

    def objective() -> Tensor:
        next(passes)
        optimizer.zero_grad()
        total = torch.zeros((), dtype=features_ND.dtype, device=features_ND.device)
        for part_ND, part_N in zip(*parts, strict=True):
            logits_NC = nn.functional.linear(part_ND, weight_CD, bias_C)
            loss = nn.functional.cross_entropy(logits_NC, part_N) + l2 / 2 * weight_CD.square().sum()
            share = len(part_N) / len(labels_N) * loss
            torch.autograd.backward(share)
            total += share.detach()
        return total

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    objective()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    return largest, int(optimizer.state[weight_CD]["n_iter"])
