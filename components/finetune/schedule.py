"""The learning rate's shape over a training run, as a pure function of the step."""

import math


def warmup_cosine(step: float, num_steps: int, warmup_steps: int) -> float:
    """Factor in [0, 1] on the peak rate at `step` (from 0, or a fraction): linear warm-up, then a half cosine to 0.

    It rises from 1 / (warmup_steps + 1) at step 0 to 1 at step `warmup_steps` and reaches 0 at `num_steps`, one step
    after the last, so that no step is taken at rate zero. Loshchilov and Hutter 2017 (arXiv:1608.03983), no restarts.
    """
    if not 0 <= warmup_steps < num_steps:
        raise ValueError(f"warmup_steps must be in [0, num_steps={num_steps}), got {warmup_steps}")
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (num_steps - warmup_steps)))
