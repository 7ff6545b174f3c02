"""`graft report`: where a run's page lies."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.store import Store, open_store

OLDER, NEWER, UNDER_WAY = "20260101-000000-aaaa", "20260102-000000-bbbb", "20260103-000000-cccc"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = open_store(str(tmp_path / "store"))
    for run in (OLDER, NEWER):
        found.blobs.put(f"runs/{run}/report.html", b"<p>page</p>")
    found.put_record(f"runs/{UNDER_WAY}/request.json", {})
    return found


def report(store: Store, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["report", *arguments, "--store", str(store.root)])
    return done.exit_code, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(("arguments", "run"), [([], NEWER), (["latest"], NEWER), ([OLDER], OLDER)])
def test_the_path_of_the_page_is_printed(store: Store, arguments: list[str], run: str) -> None:
    assert report(store, *arguments) == (0, str(store.root / "runs" / run / "report.html"), "")


def test_a_page_in_a_bucket_is_not_given_to_a_browser(s3_store: str) -> None:
    open_store(s3_store).blobs.put(f"runs/{NEWER}/report.html", b"<p>page</p>")
    done = CliRunner().invoke(app, ["report", "--open", "--store", s3_store])
    assert done.exit_code == 2
    assert done.stdout.strip() == f"{s3_store}/runs/{NEWER}/report.html"
    assert "--open: a browser shows pages on a disk only" in done.stderr


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (UNDER_WAY, f"run {UNDER_WAY} has no page: it is under way, or was interrupted."),
        ("nothing", "has no run nothing. `graft runs` lists them."),
    ],
)
def test_a_run_without_a_page_says_why(store: Store, run: str, words: str) -> None:
    code, out, error = report(store, run)
    assert (code, out) == (2, "")
    assert words in error
