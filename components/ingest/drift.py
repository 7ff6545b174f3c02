"""Whether the images are still like those that the champion was made from: shares of classes, colours.

Legend: N images, C channels (RGB).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from components.ingest.pictures import Picture
from components.interchange.dataset import ChannelStatistics
from components.interchange.errors import counted, on_one_line
from components.interchange.lineage import LineageFacts
from components.interchange.report import Row

MAX_SHARE_SHIFT = 0.1  # Half the sum of how much each class's share of the images changed.
MAX_COLOUR_SHIFT = 0.25  # Of a channel's mean, in standard deviations of the champion's training pixels.
SHARE_OF = "share of "  # Of the class whose share changed most.
OF_NEW = " mean, new images"
BOUND = 1.96  # Standard errors on either side of a mean: 95 %.
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


def drift_rows_of_new(pictures: Iterable[Picture], known: Collection[str], lineage: LineageFacts) -> list[Row]:
    """How far the colours of images that are new since the champion are from those of the `known` ids, class by class.

    A class counts by its new images, so that another mix of classes is no drift. Over all images a week of another
    camera would drown in the weeks before it. No rows where no class has two new images and two known.
    """
    by_class: dict[str, tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]] = defaultdict(lambda: ([], []))
    for picture in pictures:
        sums_C, _ = picture.sums.by_channel()
        by_class[picture.source.label][picture.id in known].append(np.array(sums_C) / (255 * picture.sums.num_pixels))
    both = [(np.stack(new), np.stack(old)) for new, old in by_class.values() if len(new) > 1 and len(old) > 1]
    if not both:
        return []
    n = sum(len(new_NC) for new_NC, _ in both)
    shift_C = sum(len(new_NC) / n * (new_NC.mean(0) - old_NC.mean(0)) for new_NC, old_NC in both)
    variance_C = sum(
        (len(new_NC) / n) ** 2 * (new_NC.var(0, ddof=1) / len(new_NC) + old_NC.var(0, ddof=1) / len(old_NC))
        for new_NC, old_NC in both
    )
    spread_C = np.maximum(lineage.statistics.std, 1 / 255)
    shift_C, error_C = shift_C / spread_C, BOUND * np.sqrt(variance_C) / spread_C
    return [
        Row(name="drift", value=value, low=value - error, high=value + error, n=n, of=f"{channel}{OF_NEW}", unit="std")
        for channel, value, error in zip(CHANNELS, shift_C.tolist(), error_C.tolist(), strict=True)
    ]


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
    return found + _warnings_of_new([row for row in rows if str(row.of).endswith(OF_NEW)])


def _warnings_of_new(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    # How far from zero the whole interval is.
    clear = {row.of: max(row.low or 0.0, -(row.high or 0.0)) for row in rows}
    furthest = max(rows, key=lambda row: clear[row.of])
    if clear[furthest.of] <= MAX_COLOUR_SHIFT:
        return []
    return [
        f"In the {counted(furthest.n or 0, 'images')} that are new since the champion, the mean of "
        f"{str(furthest.of).removesuffix(OF_NEW)} is {furthest.value:+.2f} standard deviations from that of its images "
        f"of the same classes (over {MAX_COLOUR_SHIFT:g}): did light, camera or product change?"
    ]


def _shares(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    by_class: dict[str, int] = {}
    for of_split in counts.values():
        for label, number in of_split.items():
            by_class[label] = by_class.get(label, 0) + number
    total = sum(by_class.values()) or 1
    return {label: number / total for label, number in by_class.items()}
