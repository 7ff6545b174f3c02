"""Which figure each budget is held against, and what the figure rests on."""

from dataclasses import replace

from components.gate.evidence import Evidence
from components.gate.rivalry import CLASSES_TO_COMPARE
from components.gate.rules import Finding, above, at_least, at_most, bounds, eligible, flips, number
from components.interchange.errors import counted
from components.interchange.report import Row

AT_BATCH_1 = "batch 1"


def export_findings(evidence: Evidence, max_flips: int) -> list[Finding]:
    """The exported file: eligible, and no more flips than allowed."""
    exported = evidence.exported
    found, samples = evidence.row("export_onnx", "flips"), evidence.row("export_onnx", "parity_samples")
    ids = [flip.id for flip in exported.flips]
    return [
        eligible(exported.eligible, exported.ineligible_because),
        flips(found, max_flips, int(number(samples)), ids),
    ]


def sense_finding(evidence: Evidence) -> Finding:
    """Mean recall of the classes on test: guessing, and one answer for all images, have 1 / number of classes."""
    row = evidence.row("evaluate", "balanced_accuracy", evidence.entrant, "test")
    return above("better_than_guessing", row, 1 / evidence.num_tested_classes, "guessing", _test_images(row))


def latency_finding(evidence: Evidence, max_p99_ms: float) -> Finding:
    """p99 at batch 1. Noise only slows: on a noisy machine it takes a p50 over the budget to refuse."""
    row, p50 = (evidence.row("latency", name, AT_BATCH_1) for name in ("p99_ms", "p50_ms"))
    threads = counted(evidence.measured.num_threads, "threads")
    basis = f"{counted(row.n or 0, 'runs')}, {AT_BATCH_1}, {threads}"
    found = at_most("max_p99_ms", row, max_p99_ms, basis)
    if found.outcome == "violated" and evidence.measured.noisy and bounds(p50)[0] <= max_p99_ms:
        return replace(found, outcome="open", words=f"{found.words}, but the machine was too noisy to tell")
    return found


def top1_finding(evidence: Evidence, min_top1: float) -> Finding:
    """Test top-1 of the selected classifier, in the precision that ships."""
    row = evidence.as_it_ships(evidence.row("evaluate", "top1", evidence.entrant, "test"))
    return at_least("min_top1", row, min_top1, _shipped(evidence, row))


def ece_finding(evidence: Evidence, max_ece: float) -> Finding:
    """Test ECE of the selected classifier, as it ships: with its temperature, and in its precision."""
    row = evidence.as_it_ships(evidence.row("evaluate", "ece", "selected", "test"))
    return at_most("max_ece", row, max_ece, _shipped(evidence, row))


def gain_finding(evidence: Evidence, min_gain: float, difference: Row | None) -> Finding:
    """Test top-1 gain: over the champion where there is one (`difference`), else over this run's own baseline."""
    if evidence.evaluated.champion is not None:
        if difference is not None:
            return at_least("min_gain", difference, min_gain, f"over the champion, {_shipped(evidence, difference)}")
        few = len(evidence.evaluated.champion.shared_classes) < CLASSES_TO_COMPARE
        why = (
            "shares fewer than two classes with the champion" if few else "meets a champion that knows every test image"
        )
        return _no_gain(why, min_gain)
    if evidence.entrant == "baseline":
        words = "there is no champion, and the baseline, which was selected, gains nothing"
        row = Row(name="top1_difference", value=0, of="min_gain", split="test")
        return Finding("holds" if min_gain <= 0 else "violated", f"{words} over itself (minimum {min_gain:.3f})", row)
    own = evidence.reports["evaluate"].row("top1_difference", "candidate-baseline", "test")
    if own is None:
        return _no_gain("has neither a champion nor a baseline to be compared with", min_gain)
    own = evidence.as_it_ships(own)
    return at_least("min_gain", own, min_gain, f"no champion, so over the baseline, {_shipped(evidence, own)}")


def _no_gain(why: str, min_gain: float) -> Finding:
    row = Row(name="top1_difference", value=None, of="min_gain", split="test")
    return Finding("open", f"a gain of at least {min_gain:.3f} cannot be judged: the model {why}", row)


def _shipped(evidence: Evidence, row: Row) -> str:
    return _test_images(row) + evidence.in_precision


def _test_images(row: Row) -> str:
    return counted(row.n or 0, "test images")
