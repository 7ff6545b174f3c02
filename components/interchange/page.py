"""One self-contained HTML page: sections of text, tables, plots and pictures. No script, no file beside it.

Light and dark follow the reader's system. Plots are SVG markup whose `currentColor` takes the page's ink.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

TEMPLATE = "page.html"
JPEG_QUALITY = 85


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
    """A table; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""


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
    """Pictures side by side."""

    pictures: Sequence[Picture]


Block = Text | Table | Plot | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def picture_uri(pixels_HWC: NDArray[np.uint8], longest_px: int = 256) -> str:
    """A JPEG data URI of uint8 RGB pixels, made smaller where a side is longer than `longest_px`."""
    image = Image.fromarray(pixels_HWC)
    image.thumbnail((longest_px, longest_px))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML; `lead` is the one sentence to take away. All text is escaped, SVG markup is not."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["plot"] = lambda block: isinstance(block, Plot)
    environment.tests["gallery"] = lambda block: isinstance(block, Gallery)
    environment.filters["cell"] = lambda cell: cell if isinstance(cell, Cell) else Cell(cell)
    environment.filters["markup"] = Markup
    template = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(template).render(title=title, lead=lead, sections=sections) + "\n"
