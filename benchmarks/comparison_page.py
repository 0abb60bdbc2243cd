"""Text of docs/explanation/benchmarks.md: the numbers of a run in the frame that is written by hand. Values only."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.bar_chart import Bar, Chart
from benchmarks.comparison import BASELINE, OURS, said

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.comparison import Measured, Row

CHARTS = {
    "seconds": ("seconds", "Seconds until everything is built", "s"),
    "pushed": ("pushed", "New bytes in a registry: all stages of both backends", "MB"),
    "pulled": ("pulled", "Bytes that a node pulls", "MB"),
    "disk": ("disk", "What the engine keeps: images and build cache", "MB"),
}
"""Name of a file below docs/explanation/bench -> what it shows, its title and its unit."""
FORMS = {
    "quick": "This is the QUICK form: two toy backends of small packages, with Dynamo's and NIXL's wheels without "
    "their large files, measured to show that the comparison works. "
    "How the real engines compare says only the full form.",
    "full": "This is the full form: the real vLLM and SGLang.",
}
MARK = "<!-- results -->"


def chart(found: Sequence[Row], what: str, title: str, unit: str) -> Chart:
    """Return the chart of one kind of measure."""
    bars = tuple(Bar(label=row.name, values=(row.ours, row.baseline)) for row in found if row.what == what)
    return Chart(title=title, unit=unit, series=("one graph (ours)", "a Dockerfile per backend"), bars=bars)


def page(frame: str, found: Sequence[Row], ways: Mapping[str, Measured], machine: Mapping[str, str]) -> str:
    """Return the page: the frame with the results where its mark is.

    Raises:
        ValueError: the frame has no mark.
    """
    before, mark, after = frame.partition(MARK)
    if not mark:
        message = f"The frame of the page has no line {MARK}"
        raise ValueError(message)
    forms = dict.fromkeys(FORMS[way.form] for way in ways.values())
    plots = [f"![{title}](bench/{name}.svg)" for name, (_, title, _) in CHARTS.items()]
    parts = [*forms, _measured_on(ways, machine), _table(found), *plots]
    return before + "\n\n".join(parts) + after


def _measured_on(ways: Mapping[str, Measured], machine: Mapping[str, str]) -> str:
    dates = "; ".join(f"{name} on {way.date}" for name, way in ways.items())
    facts = ", ".join(f"{key} {_cell(value)}" for key, value in machine.items())
    return f"Measured: {dates} (UTC). Machine: {facts}."


def _table(found: Sequence[Row]) -> str:
    lines = [f"| | | {OURS} | {BASELINE} | ratio |", "|---|---|---:|---:|---:|"]
    for row in found:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        strong = f"**{ratio}**" if row.promised else ratio
        cells = (f"{value} {row.unit}".strip() for value in (said(row.ours), said(row.baseline)))
        lines.append(f"| {row.what} | {_cell(row.name)} | {' | '.join(cells)} | {strong} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|")
