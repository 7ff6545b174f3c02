"""Whether the images are still like those that the champion was made from: shares of classes, colours."""

from collections.abc import Mapping

from components.interchange.dataset import ChannelStatistics
from components.interchange.errors import on_one_line
from components.interchange.lineage import LineageFacts
from components.interchange.report import Row

MAX_SHARE_SHIFT = 0.1  # Half the sum of how much each class's share of the images changed.
MAX_COLOUR_SHIFT = 0.25  # Of a channel's mean, in standard deviations of the champion's training pixels.
SHARE_OF = "share of "  # Of the class whose share changed most.
CHANNELS = ("red", "green", "blue")


def drift_rows(
    counts: Mapping[str, Mapping[str, int]], statistics: ChannelStatistics, lineage: LineageFacts
) -> list[Row]:
    """How far classes and colours moved since the champion, of which `lineage` tells."""
    now, before = _shares(counts), _shares(lineage.counts)
    changes = {label: now.get(label, 0.0) - before.get(label, 0.0) for label in sorted(now | before)}
    most = max(changes, key=lambda label: round(abs(changes[label]), 6))  # Of two alike the first.
    found = [
        Row(name="drift", value=sum(map(abs, changes.values())) / 2, of="classes", unit="of all images"),
        Row(name="drift", value=changes[most], of=f"{SHARE_OF}{most}", unit="of all images"),
    ]
    then = lineage.statistics
    for channel, mean, std, mean_then, std_then in zip(
        CHANNELS, statistics.mean, statistics.std, then.mean, then.std, strict=True
    ):
        spread = max(std_then, 1 / 255)
        found.append(Row(name="drift", value=(mean - mean_then) / spread, of=f"{channel} mean", unit="std"))
        found.append(Row(name="drift", value=std / spread, of=f"{channel} std", unit="ratio"))
    return found


def drift_warnings(rows: list[Row]) -> list[str]:
    """What moved further than it should, in words."""
    values = {str(row.of): float(row.value or 0) for row in rows}
    found = []
    if values["classes"] > MAX_SHARE_SHIFT:
        of = next(of for of in values if of.startswith(SHARE_OF))
        most = f"{on_one_line(of.removeprefix(SHARE_OF))} ({values[of]:+.0%})"
        found.append(
            f"Since the champion, {values['classes']:.0%} of the images changed their class's share (over "
            f"{MAX_SHARE_SHIFT:.0%}), most that of {most}: is the source what it was?"
        )
    shifts = {channel: values[f"{channel} mean"] for channel in CHANNELS}
    furthest = max(shifts, key=lambda channel: abs(shifts[channel]))
    if abs(shifts[furthest]) > MAX_COLOUR_SHIFT:
        found.append(
            f"Since the champion, the mean of {furthest} moved by {shifts[furthest]:+.2f} standard deviations (over "
            f"{MAX_COLOUR_SHIFT:g}): did light, camera or product change?"
        )
    return found


def _shares(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    by_class: dict[str, int] = {}
    for of_split in counts.values():
        for label, number in of_split.items():
            by_class[label] = by_class.get(label, 0) + number
    total = sum(by_class.values()) or 1
    return {label: number / total for label, number in by_class.items()}
