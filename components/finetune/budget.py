"""How far a training is: by steps, or by the clock where its time is limited."""


def share_done(step: int, num_steps: int, elapsed_s: float, limit_s: float | None, reserve_s: float = 0.0) -> float:
    """Share in [0, 1] of the training before `step`: of the steps, or of the time if more of that is used up.

    The learning rate falls with this share, so it ends at zero whichever ends first. `reserve_s` is kept for the
    validation that comes last.
    """
    of_steps = step / num_steps
    if limit_s is None:
        return min(1.0, of_steps)
    return min(1.0, max(of_steps, elapsed_s / max(limit_s - reserve_s, 1e-9)))
