"""Bar chart of two ways of building, as SVG text.

Plain SVG (https://www.w3.org/TR/SVG11/): the page needs no program to draw it and no network to show it. The chart has
its own background, because some readers see the page in dark colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, LABEL_WIDTH, VALUE_WIDTH, TOP = 760, 230, 110, 78
BAR, GAP = 18, 16
COLOURS = ("#2f6f4f", "#c9883a", "#5b6c9d")
FONT = "font-family=\"'DejaVu Sans', Verdana, sans-serif\""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A group of bars with one label."""

    label: str
    values: tuple[float | None, ...]
    """A value for each series; None if it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its title, series and bars."""

    title: str
    unit: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]


def number(value: float) -> str:
    """Return a number as people read it: three digits, no exponent."""
    if value >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits


def svg(chart: Chart) -> str:
    """Return the chart as an SVG document.

    Raises:
        ValueError: a group of bars lacks a value of a series.
    """
    row = BAR * len(chart.series) + GAP
    height = TOP + row * len(chart.bars) + 12
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    described = f'role="img" aria-label="{_attribute(chart.title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {described} {FONT} font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="28" font-size="16" font-weight="bold">{escape(chart.title)}</text>',
        *_legend(chart.series),
        *(part for place, bar in enumerate(chart.bars) for part in _row(chart, bar, TOP + place * row)),
        f'<line x1="{LABEL_WIDTH}" x2="{LABEL_WIDTH}" y1="{TOP - 6}" y2="{height - 12}" stroke="#999"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(series: Sequence[str]) -> Iterator[str]:
    x = 16
    for name, colour in zip(series, COLOURS, strict=False):
        yield f'<rect x="{x}" y="42" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="53">{escape(name)}</text>'
        x += 50 + 8 * len(name)


def _row(chart: Chart, bar: Bar, top: int) -> Iterator[str]:
    middle = top + BAR * len(chart.series) / 2 + 5
    yield f'<text x="{LABEL_WIDTH - 10}" y="{middle:g}" text-anchor="end">{escape(bar.label)}</text>'
    most = max((value for row in chart.bars for value in row.values if value is not None), default=0) or 1
    for place, (value, _) in enumerate(zip(bar.values, chart.series, strict=True)):
        y = top + place * BAR
        wide = 0 if value is None else max(1, round(value / most * (WIDTH - LABEL_WIDTH - VALUE_WIDTH)))
        label = "not measured" if value is None else f"{number(value)} {chart.unit}"
        yield f'<rect x="{LABEL_WIDTH}" y="{y}" width="{wide}" height="{BAR - 2}" fill="{COLOURS[place]}"/>'
        yield f'<text x="{LABEL_WIDTH + wide + 6}" y="{y + 13}">{escape(label)}</text>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
