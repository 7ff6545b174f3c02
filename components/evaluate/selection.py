"""Which classifier ships: val chooses, test can only veto."""

from typing import Literal, NamedTuple

from components.evaluate.bootstrap import Interval

Strategy = Literal["finetune", "feature_extraction"]


class Selection(NamedTuple):
    """The winner's strategy, and why in words."""

    selected: Strategy
    because: str


def select(baseline_val_top1: float, candidate_val_top1: float, test_gain: Interval) -> Selection:
    """The candidate (finetune) if it leads on val and the interval of its paired gain on test lies above zero."""
    on_val = f"val top1 {candidate_val_top1:.3f} against {baseline_val_top1:.3f} of the baseline"
    on_test = f"its gain on test is {test_gain.value:+.3f} [{test_gain.low:+.3f}, {test_gain.high:+.3f}]"
    if candidate_val_top1 <= baseline_val_top1:
        return Selection("feature_extraction", f"fine-tuning does not lead on val ({on_val}), so the baseline ships")
    if test_gain.low <= 0:
        return Selection(
            "feature_extraction",
            f"fine-tuning leads on val ({on_val}), but {on_test}, not clearly above zero: "
            "test vetoes, the baseline ships",
        )
    return Selection("finetune", f"fine-tuning leads on val ({on_val}) and {on_test}, clearly above zero")


def only_one(strategy: Strategy) -> Selection:
    """The choice where a single classifier was given."""
    other = "baseline" if strategy == "finetune" else "candidate"
    return Selection(strategy, f"no {other} was given, so {strategy} is selected without a comparison")
