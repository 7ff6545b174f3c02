"""The HTML page: whole in one file, everything escaped, nothing fetched, nothing run."""

import base64
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.page import (
    Badge,
    Bar,
    Bars,
    Cell,
    Gallery,
    KeyFigure,
    Notes,
    Picture,
    Plot,
    Section,
    Table,
    Text,
    picture_uri,
    render,
)
from components.interchange.plots import lines

ROOT = Path(__file__).parents[2]
VOID = {"meta", "img", "br", "path", "use"}


class Balance(HTMLParser):
    """Collects tags and fails on one that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    picture = picture_uri(np.full((20, 30, 3), 200, np.uint8))
    return render(
        "Title <1>",
        "Lead & more",
        [
            Section("Words", [Text("a < b")]),
            Section("Table", [Table(["", "x"], [["row", Cell("1.0", shade=0.5, strong=True)]], "What <it> is")]),
            Section("Plot", [Plot(['<svg><path d="M0 0"/></svg>'], "A path")]),
            Section("Pictures", [Gallery([Picture(picture, ["cat's", '"paw"'])], wide=True)]),
            Section("Bars", [Bars([Bar("part <a>", 0.75, 0.6, 0.9, "0.75")], "Scale", mark=0.8, start=0.5)]),
            Section("Folded <b>", [Notes([("good", "holds & stays"), ("bad", "fell")])], folded=True, hint="more <i>"),
        ],
        badge=Badge("promote <3>", "good"),
        figures=[KeyFigure("top1 <x>", "0.93", "n 400", "bad")],
    )


def test_every_tag_is_closed_in_order(page):
    balance = Balance()
    balance.feed(page)

    assert balance.open == []
    assert {"table", "svg", "img", "figure", "h2"} <= set(balance.seen)


def test_text_is_escaped_and_drawings_are_not(page):
    assert "Title &lt;1&gt;" in page
    assert "Lead &amp; more" in page
    assert "a &lt; b" in page
    assert "What &lt;it&gt; is" in page
    assert 'alt="cat&#39;s, &#34;paw&#34;"' in page
    assert '<path d="M0 0"/>' in page
    assert '<span class="badge good">promote &lt;3&gt;</span>' in page
    assert '<div class="bad"><dt>top1 &lt;x&gt;</dt><dd class="value">0.93</dd>' in page
    assert "<h2>Folded &lt;b&gt;</h2><span>more &lt;i&gt;</span>" in page
    assert '<li class="good">holds &amp; stays</li>' in page
    assert "part &lt;a&gt;" in page


def test_a_folded_section_opens_without_a_script(page):
    assert page.count("<details>") == 1
    assert page.index("<summary>") < page.index("holds &amp; stays") < page.index("</details>")


def test_bars_lie_where_their_figures_are_on_the_scale(page):
    assert 'style="left: 20.00%; right: calc(100% - 80.00%)"' in page
    assert '<b style="left: clamp(.15rem, 50.00%, calc(100% - .15rem))">' in page
    assert '<u style="left: 60.00%">' in page
    assert Bars([], start=0.5).percent(0.4) == "0.00"
    assert Bars([], start=0.5).percent(1.4) == "100.00"


def test_it_needs_no_other_file_and_no_script(page):
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page


def test_it_follows_the_readers_light_or_dark_and_width(page):
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport" content="width=device-width' in page


def test_pictures_are_made_small_and_stay_the_same_bytes():
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (300, 600, 3)).astype(np.uint8)

    uri = picture_uri(pixels_HWC, longest_px=128)

    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
    assert image.size == (128, 64)
    assert uri == picture_uri(pixels_HWC, longest_px=128)


def test_a_matplotlibrc_in_the_current_folder_changes_no_plot(tmp_path: Path) -> None:
    code = "from components.interchange.plots import lines; print(lines('a', 'x', 'y', [1, 2], {'b': [1, 2]}), end='')"
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\nlines.markersize: 20\naxes.prop_cycle: cycler('color', ['r'])"
    )
    argv, env = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(ROOT)}
    there = subprocess.check_output(argv, cwd=tmp_path, env=env, text=True)
    assert there == lines("a", "x", "y", [1, 2], {"b": [1, 2]})
