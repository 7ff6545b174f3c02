"""The selected model against the champion: what counts as beating it. Paired differences are of test top-1."""

from components.gate.evidence import ChampionFacts, Measured, how_measured
from components.gate.rules import IN_WORDS, SHORT_ID, Finding, Outcome, bounds, figure, measured, number, of_rule, shown
from components.gate.spec import PromoteIf
from components.interchange.champion import ChampionRecord
from components.interchange.errors import counted, listed
from components.interchange.report import Row

RULE = "promote_if"
CLASSES_TO_COMPARE = 2
LATENCY = ("p50_ms", "p99_ms")


def class_change(champion: ChampionFacts, allowed: bool) -> Finding | None:
    """Classes that the champion lacks or has too many; None where there are none."""
    added, removed = champion.added_classes, champion.removed_classes
    if not added and not removed:
        return None
    words = f"the classes differ from the champion's: new {listed(added) or 'none'}, gone {listed(removed) or 'none'}"
    row = Row(name="changed_classes", value=len(added) + len(removed), of="allow_class_change")
    if allowed:
        return Finding("holds", f"{words}; allowed by --allow-class-change", row)
    return Finding("violated", f"{words}; allow it with gate's --allow-class-change true", row)


def rolled_back(champion: ChampionRecord | None, model: str, allowed: bool) -> Finding | None:
    """A model that was champion and was rolled back; None where it was not."""
    when = champion.rolled_back_models().get(model) if champion else None
    if when is None:
        return None
    row = Row(name="rolled_back", value=when, of="allow_rolled_back")
    words = f"this model was champion and was rolled back on {when}"
    if allowed:
        return Finding("holds", f"{words}; allowed by --allow-rolled-back", row)
    return Finding("violated", f"{words}; allow it with --allow-rolled-back true, or graft run --force promote", row)


def over_a_rollback(champion: ChampionRecord | None, rival: str) -> list[str]:
    """What to look at where the rival to be replaced came back into service by a rollback; nothing where it did not."""
    newest_first = [champion, *reversed(champion.history)] if champion else []
    record = next((one for one in newest_first if one.digest == rival), None)
    if record is None or record.rolled_back is None:
        return []
    return [
        f"the champion that this model replaces was put back by a rollback on {record.when}: is what was wrong with "
        f"{record.rolled_back[:SHORT_ID]} mended in this one?"
    ]


def beats(
    promote_if: PromoteIf,
    margin: float,
    difference: Row | None,
    champion: ChampionFacts,
    latency: list[Row],
    how: Measured,
    in_precision: str,
) -> list[Finding]:
    """Findings of the rule `promote_if`; `latency` are this model's rows at batch 1, and `how` they were measured.

    `in_precision` is said of the difference behind its number of images.
    """
    if difference is None:
        row = Row(name="top1_difference", value=None, of=RULE)
        few = len(champion.shared_classes) < CLASSES_TO_COMPARE
        why = "fewer than two classes are shared with the champion" if few else "the champion knows every test image"
        return [Finding("open", f"{why}: nothing can be compared", row)]
    basis = f"{counted(difference.n or 0, 'test images')}, paired{in_precision}"
    if promote_if == "better":
        return [better(difference, basis)]
    quality = not_worse(difference, margin, basis)
    if promote_if == "not-worse":
        return [quality]
    return [quality, *(faster(name, latency, champion, how) for name in LATENCY)]


def better(difference: Row, basis: str) -> Finding:
    """The lower bound of the paired difference must be above zero; anything else keeps the champion."""
    low, high = bounds(difference)
    told = f"{shown(difference)} against the champion is"
    if low > 0:
        return _finding("holds", f"{told} clearly above zero ({basis})", difference)
    if high < 0:
        return _finding("violated", f"{told} clearly below zero: the champion is better ({basis})", difference)
    return _finding("violated", f"{told} not clearly above zero ({basis})", difference)


def not_worse(difference: Row, margin: float, basis: str) -> Finding:
    """The lower bound of the paired difference must be above minus the margin."""
    low, high = bounds(difference)
    told, limit = f"{shown(difference)} against the champion", f"-{figure(margin)} ({basis})"
    if low > -margin:
        return _finding("holds", f"{told} is clearly above the margin {limit}", difference)
    if high < -margin:
        return _finding("violated", f"{told} is clearly below the margin {limit}", difference)
    return _finding("open", f"{told} cannot be told from the margin {limit}", difference)


def faster(name: str, latency: list[Row], champion: ChampionFacts, how: Measured) -> Finding:
    """This model's percentile must be clearly below the champion's, measured the same way.

    Noise only slows: on a noisy machine a model may be faster than it looks, and so may a champion that was measured on
    one.
    """
    ours = next(row for row in latency if row.name == name)
    theirs = next((row for row in champion.latency if (row.name, row.of) == (name, ours.of)), None)
    if theirs is None:
        return _finding(
            "open", f"{shown(ours)}: the champion's {IN_WORDS[name]} is not known, it was promoted without", ours
        )
    processors = {champion.processor, how.machine.processor} - {None}
    if (champion.provider, champion.num_threads) != (how.provider, how.num_threads) or len(processors) > 1:
        then = how_measured(champion.provider, champion.num_threads, champion.processor)
        words = f"{shown(ours)}: the champion was measured with {then}, this model with {how.how}"
        return _finding("open", words, ours)
    (low, high), (their_low, their_high) = bounds(ours), bounds(theirs)
    compared = f"the champion's {measured(theirs)} ({counted(ours.n or 0, 'runs')})"
    if high < their_low:
        words = f"{shown(ours)} is clearly below {compared}"
        if champion.noisy:
            return _finding("open", f"{words}, but the machine was too noisy to tell when that was measured", ours)
        return _finding("holds", words, ours)
    if low > their_high or number(ours) >= number(theirs):
        words = f"{shown(ours)} is not below {compared}"
        if how.noisy:
            return _finding("open", f"{words}, but the machine was too noisy to tell", ours)
        return _finding("violated", words, ours)
    return _finding("open", f"{shown(ours)} cannot be told from {compared}", ours)


def _finding(outcome: Outcome, words: str, row: Row) -> Finding:
    return Finding(outcome, words, of_rule(row, RULE))
