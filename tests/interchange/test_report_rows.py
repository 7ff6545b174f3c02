"""Rows of a report, found by name."""

import time

from components.interchange.report import Report, Row


def test_of_many_classes_each_row_is_found_at_once() -> None:
    classes = [f"class {number}" for number in range(5000)]
    rows = [Row(name="recall", of=f"candidate/{name}", split="test", value=0.5, n=n) for n, name in enumerate(classes)]
    rows.append(rows[7].model_copy(update={"n": -1}))
    report = Report(format="graft.report/1", step="evaluate", spec={}, inputs={}, rows=rows, details={})
    started = time.process_time()
    found = [report.row("recall", f"candidate/{name}", "test") for name in classes]
    assert time.process_time() - started < 1
    assert [row.n for row in found if row] == list(range(5000))  # Of several the first.
    assert report.row("recall", "candidate/class 1", "val") is None
