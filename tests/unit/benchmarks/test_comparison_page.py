"""The page of the comparison: the hand-written frame with the results of a run."""

from __future__ import annotations

import pytest

from benchmarks.bar_chart import Bar
from benchmarks.comparison import Measurements, MeasureRow
from benchmarks.comparison_page import chart, page

ROWS = (
    MeasureRow(measure="seconds", name="cold", unit="s", ours=10.0, baseline=40.0),
    MeasureRow(measure="seconds", name="a | <b>", unit="s", ours=None, baseline=2.5),
    MeasureRow(measure="pulled", name="cold", unit="MB", ours=7.0, baseline=8.0),
)
WAYS = {"ours": Measurements(date="2026-11-24 15:00", form="quick")}
MACHINE = {"cores": "2", "memory": "24 GiB"}


def test_results_stand_where_the_frame_has_its_mark() -> None:
    text = page("# Title\n\n<!-- results -->\n\nWords\n", ROWS, WAYS, MACHINE)
    assert text.startswith("# Title\n\nThis is the QUICK form: ")
    assert "Measured: ours on 2026-11-24 15:00 (UTC). Machine: cores 2, memory 24 GiB." in text
    assert "![Bytes that a node pulls](bench/pulled.svg)" in text
    assert text.endswith("\n\nWords\n")


def test_a_promise_is_bold_and_what_was_not_measured_is_a_dash() -> None:
    lines = page("<!-- results -->", ROWS, WAYS, MACHINE).splitlines()
    assert "| seconds | cold | 10 s | 40 s | **0.25** |" in lines
    assert "| seconds | a \\| &lt;b&gt; | - s | 2.50 s | - |" in lines


def test_a_frame_without_the_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="no line <!-- results -->"):
        page("# Title\n", ROWS, WAYS, MACHINE)


def test_a_chart_has_the_rows_of_its_kind_alone() -> None:
    pulled = chart(ROWS, "pulled", "Bytes", "MB")
    assert pulled.bars == (Bar(label="cold", values=(7.0, 8.0)),)
    assert pulled.series == ("one graph (ours)", "a Dockerfile per backend")
