"""From findings to one word: a violated rule keeps the champion, an open one leaves it undecided."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from components.gate.rules import Finding

Word = Literal["promote", "keep", "inconclusive"]


class Verdict(NamedTuple):
    """The word and the reasons for it."""

    word: Word
    reasons: list[str]


def decide(findings: Sequence[Finding], has_champion: bool) -> Verdict:
    """`keep` if any rule is violated, else `inconclusive` if any is open, else `promote`."""
    violated = [finding.words for finding in findings if finding.outcome == "violated"]
    still_open = [finding.words for finding in findings if finding.outcome == "open"]
    if violated:
        return Verdict("keep", violated + still_open)
    if still_open:
        return Verdict("inconclusive", still_open)
    first = [] if has_champion else ["there is no champion to beat, so the budgets alone decide"]
    return Verdict("promote", first + [finding.words for finding in findings])
