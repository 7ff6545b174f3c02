"""Throughput against latency as SVG, drawn by hand: the image that measures carries no plotting library."""

import math
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 440, 300, 48, 44, 22, 78
LINE = 14  # Between labels, of which none may lie on another.
LETTER = 7  # Of a label, at most.
MOST_MARKS = 7  # Of an axis, or their numbers lie on each other.


class Point(NamedTuple):
    """One way of asking: the median time of an answer, and images a second."""

    label: str
    p50_ms: float
    images_per_s: float


def ticks(most: float) -> list[float]:
    """Zero and round numbers up to `most`, three to six of them."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * part for part in (0.2, 0.5, 1, 2) if most / (power * part) <= 6)
    return [step * number for number in range(int(most / step) + 1)]


def times(least: float, most: float) -> list[float]:
    """1, 2 and 5 of each power of ten, from `least` or below to `most` or above: marks for an axis of logarithms.

    Where these are too many, the powers alone between the first and the last.
    """
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    marks = [part * 10.0**power for power in powers for part in (1, 2, 5)]
    first = max(mark for mark in marks if mark <= least)
    last = min(mark for mark in marks if mark >= most and mark > first)
    within = [mark for mark in marks if first <= mark <= last]
    if len(within) <= MOST_MARKS:
        return within
    return [first, *(mark for mark in within[1:-1] if mark in [10.0**power for power in powers]), last]


def curve(points: list[Point]) -> str:
    """Every point with its label. Up and to the left is better; times are spaced by their logarithm."""
    marks = times(min(point.p50_ms for point in points), max(point.p50_ms for point in points))
    most_y = 1.15 * max(point.images_per_s for point in points)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / marks[0]) / math.log(marks[-1] / marks[0])

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / most_y

    def text(at_x: float, at_y: float, words: str, anchor: str = "middle", soft: bool = True) -> str:
        opacity = ' opacity="0.65"' if soft else ""
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}"{opacity}>{escape(words)}</text>'

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="throughput against latency"'
        ' xmlns="http://www.w3.org/2000/svg" fill="currentColor" font-size="12">',
        f'<path d="M{LEFT} {TOP}V{y(0)}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>',
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "median time of an answer, ms"),
        text(LEFT, TOP - 10, "images a second", "start"),
    ]
    parts += [text(x(value), y(0) + 16, f"{value:,.6g}") for value in marks]
    parts += [text(LEFT - 6, y(value) + 4, f"{value:,.6g}", "end") for value in ticks(most_y)]
    lowest = -math.inf  # Where the last label stands; from the top downwards none comes nearer than a line.
    for point in sorted(points, key=lambda point: -point.images_per_s):
        lowest = max(y(point.images_per_s) + 4, lowest + LINE)
        parts.append(f'<circle cx="{x(point.p50_ms):.1f}" cy="{y(point.images_per_s):.1f}" r="4"/>')
        at, length = x(point.p50_ms), 7 + LETTER * len(point.label)
        dots = [x(other.p50_ms) - at for other in points if abs(y(other.images_per_s) + 4 - lowest) < LINE]
        right, left = (any(0 < way * dot <= length for dot in dots) for way in (1, -1))
        to_the_left = at + length > WIDTH or (right and not left and at - length > LEFT)
        beside = (at - 7, "end") if to_the_left else (at + 7, "start")
        parts.append(text(beside[0], lowest, point.label, beside[1], soft=False))
    return "".join([*parts, "</svg>"])
