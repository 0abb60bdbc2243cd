"""Text of docs/explanation/benchmarks.md: the results of a run in a hand-written frame."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.bar_chart import Bar, Chart
from benchmarks.comparison import BASELINE, OURS, formatted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.comparison import Measurements, MeasureRow

CHARTS = {
    "seconds": ("seconds", "Seconds until everything is built", "s"),
    "pushed": ("pushed", "New bytes in a registry: all stages of both backends", "MB"),
    "pulled": ("pulled", "Bytes that a node pulls", "MB"),
    "disk": ("disk", "What the engine keeps: images and build cache", "MB"),
}
"""Name of a file in docs/explanation/bench -> its measure, title and unit."""
FORMS = {
    "quick": "This is the QUICK form: two toy backends of small packages, with Dynamo's and NIXL's wheels without "
    "their large files, measured to show that the comparison works. "
    "How the real engines compare says only the full form.",
    "full": "This is the full form: the real vLLM and SGLang.",
}
MARK = "<!-- results -->"


def chart(rows: Sequence[MeasureRow], measure: str, title: str, unit: str) -> Chart:
    """Return the chart of one measure."""
    bars = tuple(Bar(label=row.name, values=(row.ours, row.baseline)) for row in rows if row.measure == measure)
    return Chart(title=title, unit=unit, series=("one graph (ours)", "a Dockerfile per backend"), bars=bars)


def page(frame: str, rows: Sequence[MeasureRow], ways: Mapping[str, Measurements], machine: Mapping[str, str]) -> str:
    """Return the page: the frame with the results in place of its mark.

    Raises:
        ValueError: the frame has no mark.
    """
    before, mark, after = frame.partition(MARK)
    if not mark:
        message = f"The frame of the page has no line {MARK}"
        raise ValueError(message)
    forms = dict.fromkeys(FORMS[way.form] for way in ways.values())
    plots = [f"![{title}](bench/{name}.svg)" for name, (_, title, _) in CHARTS.items()]
    parts = [*forms, _measured_on(ways, machine), _table(rows), *plots]
    return before + "\n\n".join(parts) + after


def _measured_on(ways: Mapping[str, Measurements], machine: Mapping[str, str]) -> str:
    dates = "; ".join(f"{name} on {way.date}" for name, way in ways.items())
    facts = ", ".join(f"{key} {_cell(value)}" for key, value in machine.items())
    return f"Measured: {dates} (UTC). Machine: {facts}."


def _table(rows: Sequence[MeasureRow]) -> str:
    lines = [f"| | | {OURS} | {BASELINE} | ratio |", "|---|---|---:|---:|---:|"]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        strong = f"**{ratio}**" if row.promised else ratio
        cells = (f"{value} {row.unit}".strip() for value in (formatted(row.ours), formatted(row.baseline)))
        lines.append(f"| {row.measure} | {_cell(row.name)} | {' | '.join(cells)} | {strong} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|")
