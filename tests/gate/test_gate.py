"""The gate as a whole: verdicts, what its report carries, what it refuses to judge, what it does without."""

import subprocess
import sys

import pytest

from components.gate.spec import Gate
from components.interchange.artifact import digest
from components.interchange.cli import main
from pipelines.champions import rollback
from tests.gate.conftest import champion, figure, rewrite, write_reports
from tests.promote.test_rollback import promoted

TEST = {"split": "test", "n": 400}


def test_the_first_run_promotes_when_the_budgets_hold(judged):
    verdict, report = judged("--max-p99-ms", "40", "--min-top1", "0.8")

    assert verdict == "promote"
    assert report.details["verdict"] == "promote"
    assert report.details["reasons"][0] == "there is no champion to beat, so the budgets alone decide"
    assert report.details["compared_with"] is None


def test_a_clear_violation_wins_over_an_open_rule_and_both_are_told(judged):
    verdict, report = judged("--max-p99-ms", "12", "--min-top1", "0.99")

    assert verdict == "keep"
    assert len(report.details["reasons"]) == 2
    assert "is under its minimum" in report.details["reasons"][0]
    assert "cannot be told from its budget" in report.details["reasons"][1]


def test_the_report_has_one_row_a_rule(judged):
    _, report = judged("--max-p99-ms", "40", "--min-top1", "0.8", champion=champion())

    rules = {row.of: row for row in report.rows if row.of in {one["rule"] for one in report.details["findings"]}}
    assert set(rules) == {"better_than_guessing", "eligible", "max_flips", "max_p99_ms", "min_top1", "promote_if"}
    assert (rules["max_p99_ms"].value, rules["max_p99_ms"].low, rules["max_p99_ms"].high) == (12.0, 11.0, 13.0)
    assert {one["outcome"] for one in report.details["findings"]} == {"holds"}


def test_the_report_carries_what_promote_and_the_next_run_need(judged, tmp_path):
    _, report = judged(champion=champion())

    assert report.details["compared_with"] == champion()["digest"] and report.details["warnings"] == []
    artifacts = tmp_path / "reports"
    assert report.details["contenders"] == [digest(artifacts / "candidate"), digest(artifacts / "baseline")]
    assert (report.details["provider"], report.details["num_threads"]) == ("CPUExecutionProvider", 4)
    assert report.row("p50_ms", "batch 1").value == 8.0
    assert report.row("top1", "candidate", "test").value == 0.93
    assert report.row("top1_difference", "selected-champion", "test").value == 0.05


def test_who_replaces_what_a_rollback_put_back_is_warned(judged, tmp_path):
    store = str(tmp_path / "store")
    a, b = promoted(tmp_path, store, "ab")
    when = rollback(store, "model").when

    verdict, report = judged("--store", store, champion=champion(digest=digest(a)))

    assert verdict == "promote"
    assert report.details["warnings"] == [
        f"the champion that this model replaces was put back by a rollback on {when}: is what was wrong with "
        f"{digest(b)[:12]} mended in this one?"
    ]


def refused(tmp_path, capfd, folders, *flags) -> str:
    out = tmp_path / "refused"
    argv = [part for name, folder in folders.items() for part in (f"--{name}-report", str(folder))]
    assert main(Gate, [*argv, *flags, "--verdict", str(out / "verdict"), "--report", str(out / "report")]) == 2
    assert not any(out.iterdir()), "nothing half-written"
    return capfd.readouterr().err


def test_reports_that_were_mixed_up_are_bad_input(tmp_path, capfd):
    folders = write_reports(tmp_path / "reports")
    folders["latency"], folders["export"] = folders["export"], folders["latency"]

    assert "mixed up" in refused(tmp_path, capfd, folders)


def test_the_merge_of_shares_tells_of_ingest(judged):
    verdict, _ = judged(ingest_step="ingest_merge")

    assert verdict == "promote"


def test_reports_of_two_datasets_are_bad_input(tmp_path, capfd):
    folders = write_reports(tmp_path / "reports")
    rewrite(folders["latency"], inputs={"dataset": "f" * 64, "onnx_model": "e" * 64})

    message = refused(tmp_path, capfd, folders)
    assert "not of one run" in message
    assert "latency ffffffffffff" in message


def test_an_export_of_another_classifier_than_the_selected_is_bad_input(tmp_path, capfd):
    folders = write_reports(tmp_path / "reports")
    dataset = digest(tmp_path / "reports" / "dataset")
    rewrite(folders["export"], inputs={"dataset": dataset, "selected": "f" * 64})

    assert "export_onnx ffffffffffff" in refused(tmp_path, capfd, folders)


def test_a_report_without_its_details_is_bad_input(tmp_path, capfd):
    folders = write_reports(tmp_path / "reports")
    rewrite(folders["export"], details={"eligible": True})

    expected = "the report of export_onnx is damaged, in its details: ineligible_because (field required), flips ("
    assert expected in refused(tmp_path, capfd, folders)


def test_a_missing_report_is_bad_input(tmp_path, capfd):
    folders = write_reports(tmp_path / "reports")
    folders["evaluate"] = tmp_path / "nowhere"

    assert "there is no report at" in refused(tmp_path, capfd, folders)


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'numpy', 'torch', 'timm', 'pyarrow', 'onnxruntime', 'PIL', 'scipy', 'boto3'}:
            raise ImportError(f'{name} is not installed')
sys.meta_path.insert(0, Blocked())
"""
RUN = """
from components.gate.spec import Gate
from components.interchange.cli import main
sys.exit(main(Gate, sys.argv[1:]))
"""


def test_the_gate_runs_where_no_array_library_is_installed(tmp_path):
    folders = write_reports(tmp_path / "reports", p99=figure("p99_ms", 12.0, unit="ms", of="batch 1", n=1000))
    argv = [part for name, folder in folders.items() for part in (f"--{name}-report", str(folder))]
    argv += ["--verdict", str(tmp_path / "verdict"), "--report", str(tmp_path / "report")]

    done = subprocess.run([sys.executable, "-c", BLOCK + RUN, *argv], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "verdict").read_text() == "promote"


def test_the_block_of_the_test_above_does_block():
    done = subprocess.run([sys.executable, "-c", BLOCK + "import numpy"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "numpy is not installed" in done.stderr


@pytest.mark.parametrize("value", ["true", "false"])
def test_booleans_are_taken_as_values(judged, value):
    assert judged("--allow-class-change", value)[0] == "promote"


def edited(name, how):
    """A change by hand of a report's text: (report, what is found, what is put there)."""

    def change(folders):
        path = folders[name] / "report.json"
        text = path.read_text()
        assert how[0] in text
        path.write_text(text.replace(*how))

    return change


@pytest.mark.parametrize(
    ("change", "flags", "expected"),
    [
        (
            edited("evaluate", ('"value": 0.93', '"value": "x"')),
            ["--min-top1", "0.8"],
            "the figure top1 of candidate is",
        ),
        (edited("evaluate", ('"value": 0.93', '"value": NaN')), [], "NaN is no number of JSON"),
        (edited("evaluate", ('"rows": [', '"rows": [3, ')), [], "report.json is damaged: rows.0 ("),
        (edited("latency", ('"inputs"', '"input"')), [], "report.json is damaged: inputs (field required)"),
        (edited("latency", ('"p50_ms"', '"p51_ms"')), ["--promote-if", "faster"], "no figure p50_ms of batch 1"),
    ],
)
def test_a_report_that_was_edited_by_hand_is_bad_input(tmp_path, capfd, change, flags, expected):
    folders = write_reports(tmp_path / "reports", champion=champion())
    change(folders)

    told = refused(tmp_path, capfd, folders, *flags)

    assert expected in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
