"""One self-contained HTML page: a sentence, a verdict, key figures, then sections of text, tables, plots and pictures.

No script and no file beside it: it works in an iframe that may do nothing at all. Sections that are `folded` open on a
click.

Light and dark follow the reader's system. Plots are SVG markup whose `currentColor` takes the page's ink.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEMPLATE = "page.html"
JPEG_QUALITY = 85
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*)")
LONG = 14  # Characters of a cell from which on it may take several lines on a telephone.
Tone = Literal["plain", "good", "bad", "unsure"]


@dataclass(frozen=True)
class Cell:
    """One table cell; `shade` on [0, 1] colours it, `strong` sets it in bold."""

    text: str
    shade: float = 0.0
    strong: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row. Cells that hold `words` begin at the left and may take several lines."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    words: bool = False


@dataclass(frozen=True)
class Plot:
    """Drawings as SVG markup, side by side where there is room, and what they show in words."""

    svgs: Sequence[str]
    caption: str


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI; `lines` stand under it."""

    uri: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; `wide` gives each about twice the width."""

    pictures: Sequence[Picture]
    wide: bool = False


@dataclass(frozen=True)
class Bar:
    """A figure with its interval, all on [0, 1], drawn on a line; `text` stands behind it. `strong` marks it."""

    label: str
    value: float
    low: float
    high: float
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bars:
    """Intervals under each other on one scale, which begins at `start`; `mark` is a line through all of them."""

    bars: Sequence[Bar]
    caption: str = ""
    mark: float | None = None
    start: float = 0.0

    def percent(self, value: float) -> str:
        """Where a value lies on the scale, in percent of its length."""
        return f"{100 * min(1.0, max(0.0, (value - self.start) / (1 - self.start))):.2f}"


@dataclass(frozen=True)
class Notes:
    """Short lines that each begin with a mark: good, bad, unsure or plain."""

    lines: Sequence[tuple[Tone, str]]


Block = Text | Table | Plot | Gallery | Bars | Notes


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; `folded` shows the heading and `hint` alone until it is opened."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    folded: bool = False
    hint: str = ""


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures at the top of a page: what it is, the figure, and what it rests on."""

    label: str
    value: str
    note: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Badge:
    """The verdict in a word or two."""

    text: str
    tone: Tone = "plain"


def picture_uri(pixels_HWC: "NDArray[np.uint8]", longest_px: int = 256) -> str:
    """A JPEG data URI of uint8 RGB pixels, made smaller where a side is longer than `longest_px`."""
    from PIL import Image

    image = Image.fromarray(pixels_HWC)
    image.thumbnail((longest_px, longest_px))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def sentence(words: str) -> str:
    """The words with a capital and a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def render(
    title: str,
    lead: str,
    sections: Sequence[Section],
    *,
    badge: Badge | None = None,
    figures: Sequence[KeyFigure] = (),
    byline: str = "",
) -> str:
    """The page as HTML; `lead` is the one sentence to take away. All text is escaped, SVG markup is not.

    In tables an interval behind a figure (`0.93 [0.90, 0.95]`) stands in a softer colour, and below it on a telephone.
    """
    content = {"title": title, "lead": lead, "sections": sections, "badge": badge, "figures": figures, "byline": byline}
    return _template().render(content) + "\n"


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["plot"] = lambda block: isinstance(block, Plot)
    environment.tests["gallery"] = lambda block: isinstance(block, Gallery)
    environment.tests["bars"] = lambda block: isinstance(block, Bars)
    environment.tests["notes"] = lambda block: isinstance(block, Notes)
    environment.filters["cell"] = lambda cell: cell if isinstance(cell, Cell) else Cell(cell)
    environment.filters["markup"] = Markup
    environment.filters["flags"] = _flags
    environment.filters["parted"] = _parted
    environment.filters["is_long"] = lambda text: len(_parted(text)[0]) > LONG
    return environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))


def _flags(text: str) -> Markup:
    """Escaped text whose command-line flags stay on one line."""
    return Markup(FLAG.sub(r"<code>\1</code>", str(escape(text))))


def _parted(text: str) -> tuple[str, str]:
    """A figure and the interval behind it, which is empty where there is none."""
    value, opened, rest = text.partition(" [")
    return (value, f"[{rest}") if opened and rest.endswith("]") else (text, "")
