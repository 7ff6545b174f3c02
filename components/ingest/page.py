"""The picture report of ingest: what the images are, how they are split, what was left out and who looks like whom."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import median

from components.ingest.files import SourceFile
from components.ingest.findings import Findings
from components.ingest.pictures import Picture, stored_pixels
from components.ingest.placement import Placement
from components.interchange import page
from components.interchange.dataset import SPLITS, ChannelStatistics, SplitName
from components.interchange.errors import counted
from components.interchange.image_files import BrokenImage
from components.interchange.ledgers import Quarantined
from components.interchange.page import Block, Cell, Gallery, KeyFigure, Notes, Section, Table, Text
from components.interchange.pixels import glimpse

EXAMPLES, CLASSES_SHOWN, SETS_SHOWN, FILES_SHOWN, PICTURE_PX = 4, 24, 12, 50, 128
PROFILES_SHOWN = 8
ODD_SHAPES = ("too small", "too elongated")  # Reasons to refuse a file that may well decode.
Counts = Mapping[str, Mapping[str, int]]


def ingest_page(findings: Findings, val_fraction: float, test_fraction: float) -> str:
    """The page as HTML; the pictures' pixels must still be there to read. The fractions are those asked for."""
    asked = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    placement, quarantined, counts = findings.placement, findings.quarantined, findings.counts
    num_files = findings.found.num_files
    pictures = [picture for split in SPLITS for picture in placement.sides[split]]
    classes = list(counts["train"])
    left_out = [_reasons(quarantined), _left_out(quarantined), *_left_out_pictures(findings)]
    lead = (
        f"{len(pictures):,} images of {len(classes):,} classes; {len(quarantined):,} of {num_files:,} files left out."
    )
    figures = [
        KeyFigure("images", f"{len(pictures):,}"),
        KeyFigure("classes", f"{len(classes):,}"),
        KeyFigure("left out", f"{len(quarantined):,}", f"of {num_files:,} files"),
        KeyFigure("sets of look-alikes", str(len(placement.families))),
    ]
    said: list[Block] = [Notes([("bad", warning) for warning in findings.warnings])] if findings.warnings else []
    sections = [
        *([Section("Worth a look", said)] if said else []),
        *_splits(counts, asked, pictures),
        Section("Examples", _examples(classes, placement)),
        Section("Sizes, formats, colours", _properties(pictures, findings.statistics)),
        Section("Storage", [Text(sentence) for sentence in findings.cost.sentences()]),
        Section("Left out", left_out if quarantined else [Text("None.")]),
        Section("One picture under several labels", _sets(_telling(placement.conflicts), placement)),
        Section("Look-alikes", _sets(_telling(placement.families), placement)),
        Section(
            "Copies",
            _sets(placement.copies, placement),
            folded=True,
            hint=counted(len(placement.copies), "sets"),
        ),
    ]
    return page.render("Images", lead, sections, figures=figures)


def _splits(counts: Counts, asked: Mapping[str, float], pictures: Sequence[Picture]) -> list[Section]:
    """Images by class and split; many classes are folded away, or what follows would be out of sight."""
    totals = {split: sum(counts[split].values()) for split in SPLITS}
    number = sum(totals.values())
    rows: list[list[Cell | str]] = []
    for label in counts["train"]:
        found = [counts[split][label] for split in SPLITS]
        share = sum(found) / number
        rows.append([label, *(f"{each:,}" for each in found), Cell(f"{share:.1%}", shade=share)])
    in_all: list[list[Cell | str]] = [
        [Cell("all", strong=True), *(Cell(f"{totals[split]:,}", strong=True) for split in SPLITS), ""],
        ["achieved", *(f"{totals[split] / number:.1%}" for split in SPLITS), ""],
        ["asked for", *(f"{asked[split]:.1%}" for split in SPLITS), ""],
    ]
    given = sum(one.source.split is not None for one in pictures)
    by_hash = "the hash of each decides its side."
    how = f"{given:,} stand where the source puts them; of the others {by_hash}" if given else by_hash
    header = ["class", *SPLITS, "share"]
    if len(rows) <= CLASSES_SHOWN:
        return [Section("Classes and splits", [Table(header, rows + in_all, f"Images by class and split; {how}")])]
    return [
        Section("Splits", [Table(["", *SPLITS], [row[:-1] for row in in_all], f"Images by split; {how}")]),
        Section(
            "Classes", [Table(header, rows, "Images by class and split.")], folded=True, hint=f"{len(rows):,} classes"
        ),
    ]


def _examples(classes: Sequence[str], placement: Placement) -> list[Block]:
    found: list[Block] = []
    for label in classes[:CLASSES_SHOWN]:
        of_class = [one for one in placement.sides["train"] if one.source.label == label][:EXAMPLES]
        found += [Text(label), Gallery([_picture(one, [one.source.path]) for one in of_class])]
    if len(classes) > CLASSES_SHOWN:
        found.append(Text(f"{len(classes) - CLASSES_SHOWN} more classes are not shown."))
    return found


def _properties(pictures: Sequence[Picture], statistics: ChannelStatistics) -> list[Block]:
    rows: list[list[Cell | str]] = []
    for name, values in (
        ("width (px)", [one.width_px for one in pictures]),
        ("height (px)", [one.height_px for one in pictures]),
        ("brightness", [one.look.brightness for one in pictures]),
    ):
        rows.append([name, *(f"{value:g}" for value in map(_rounded, (min(values), median(values), max(values))))])
    formats = Counter(one.format for one in pictures).most_common()
    profiles = Counter(one.icc for one in pictures if one.icc).most_common()
    channels = zip(("red", "green", "blue"), statistics.mean, statistics.std, strict=True)
    return [
        Table(["", "least", "median", "most"], rows),
        Table(["format", "images"], [[name, f"{number:,}"] for name, number in formats]),
        *([_profiles(profiles)] if profiles else []),
        Table(["channel", "mean", "std"], [[name, f"{mean:.3f}", f"{std:.3f}"] for name, mean, std in channels]),
    ]


def _profiles(profiles: Sequence[tuple[str, int]]) -> Table:
    rows = [[name, f"{number:,}"] for name, number in profiles[:PROFILES_SHOWN]]
    rest = f" {len(profiles) - PROFILES_SHOWN} more are in samples.parquet." if len(profiles) > PROFILES_SHOWN else ""
    return Table(["colour profile", "images"], rows, f"Pixels are taken as they are, whatever a profile says.{rest}")


def _rounded(value: float) -> float:
    return round(value, 3)


def _reasons(quarantined: Sequence[Quarantined]) -> Table:
    reasons = Counter(entry.reason for entry in quarantined).most_common()
    return Table(["reason", "files"], [[reason, f"{number:,}"] for reason, number in reasons])


def _left_out(quarantined: Sequence[Quarantined]) -> Table:
    """The first of each reason, so that a thousand copies hide no broken file."""
    by_reason = groupby(sorted(quarantined, key=_by_reason), lambda entry: entry.reason)
    ranked = [(rank, entry) for _, entries in by_reason for rank, entry in enumerate(entries)]
    first = sorted(ranked, key=lambda pair: pair[0])[:FILES_SHOWN]
    shown = sorted((entry for _, entry in first), key=_by_reason)
    rest = len(quarantined) - len(shown)
    caption = f"{rest:,} more are in quarantine.parquet." if rest else ""
    return Table(
        ["file", "reason", "found"], [[one.path, one.reason, one.detail] for one in shown], caption, words=True
    )


def _by_reason(entry: Quarantined) -> tuple[str, str]:
    return entry.reason, entry.path


def _left_out_pictures(findings: Findings) -> list[Block]:
    """For each reason the first pictures that were left out for it, where they can be decoded."""
    decoded, unusable = {one.source.path: one for one in findings.usable}, findings.found.unusable
    by_reason: dict[str, list[str]] = {}
    for entry in sorted(findings.quarantined):
        if entry.path in decoded or (entry.path in unusable and entry.reason in ODD_SHAPES):
            by_reason.setdefault(entry.reason, []).append(entry.path)
    found: list[Block] = []
    for reason, paths in sorted(by_reason.items()):
        shown = [
            _picture(decoded[path], [path]) if path in decoded else _glimpse(path, unusable[path].file)
            for path in paths[:EXAMPLES]
        ]
        if pictures := [one for one in shown if one is not None]:
            found += [Text(reason), Gallery(pictures)]
    return found


def _glimpse(path: str, file: SourceFile) -> page.Picture | None:
    """A picture of a file that was refused before it was decoded."""
    try:
        pixels_HWC = glimpse(file.read(), PICTURE_PX)
    except BrokenImage:  # Gone, or changed, meanwhile.
        return None
    return None if pixels_HWC is None else page.Picture(page.picture_uri(pixels_HWC, PICTURE_PX), [path])


def _telling(sets: Sequence[list[Picture]]) -> list[list[Picture]]:
    """Sets of several labels first, each with one picture of another label in the second place."""
    found = []
    for first, *others in sets:
        others.sort(key=lambda one: one.source.label == first.source.label)
        found.append([first, *others])
    return sorted(found, key=lambda alike: alike[0].source.label == alike[1].source.label)


def _sets(sets: Sequence[list[Picture]], placement: Placement) -> list[Block]:
    """The first two pictures of each set, side by side."""
    if not sets:
        return [Text("None.")]
    side_of = {one.source.path: split for split, side in placement.sides.items() for one in side}
    found: list[Block] = []
    for alike in sets[:SETS_SHOWN]:
        pair = alike[:2]
        bits = (int(pair[0].look.phash, 16) ^ int(pair[1].look.phash, 16)).bit_count()
        found.append(Text(f"{len(alike)} pictures; these two are {bits} bits apart."))
        found.append(Gallery([_picture(one, _lines(one, side_of.get(one.source.path))) for one in pair]))
    if len(sets) > SETS_SHOWN:
        found.append(Text(f"{len(sets) - SETS_SHOWN:,} more sets are not shown."))
    return found


def _lines(one: Picture, side: SplitName | None) -> list[str]:
    return [one.source.path, f"{one.source.label}, {side or 'left out'}"]


def _picture(one: Picture, lines: Sequence[str]) -> page.Picture:
    return page.Picture(page.picture_uri(stored_pixels(one), PICTURE_PX), lines)
