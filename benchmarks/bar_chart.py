"""How are two ways of building drawn beside each other? As an SVG of bars with their numbers: values only.

Plain SVG (https://www.w3.org/TR/SVG11/), so that the page needs no program to be drawn and no network to be read. It
has a background of its own: pages are dark for some readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, LEFT, RIGHT, TOP = 760, 230, 110, 78
BAR, GAP = 18, 16
COLOURS = ("#2f6f4f", "#c9883a", "#5b6c9d")
FONT = "font-family=\"'DejaVu Sans', Verdana, sans-serif\""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row of a chart."""

    label: str
    values: tuple[float | None, ...]
    """One for each series; None was not measured."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn."""

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
        ValueError: a row has not one value for each series.
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
        f'<line x1="{LEFT}" x2="{LEFT}" y1="{TOP - 6}" y2="{height - 12}" stroke="#999"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(series: Sequence[str]) -> Iterator[str]:
    left = 16
    for name, colour in zip(series, COLOURS, strict=False):
        yield f'<rect x="{left}" y="42" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{left + 18}" y="53">{escape(name)}</text>'
        left += 50 + 8 * len(name)


def _row(chart: Chart, bar: Bar, top: int) -> Iterator[str]:
    middle = top + BAR * len(chart.series) / 2 + 5
    yield f'<text x="{LEFT - 10}" y="{middle:g}" text-anchor="end">{escape(bar.label)}</text>'
    most = max((value for each in chart.bars for value in each.values if value is not None), default=0) or 1
    for place, (value, _) in enumerate(zip(bar.values, chart.series, strict=True)):
        y = top + place * BAR
        wide = 0 if value is None else max(1, round(value / most * (WIDTH - LEFT - RIGHT)))
        said = "not measured" if value is None else f"{number(value)} {chart.unit}"
        yield f'<rect x="{LEFT}" y="{y}" width="{wide}" height="{BAR - 2}" fill="{COLOURS[place]}"/>'
        yield f'<text x="{LEFT + wide + 6}" y="{y + 13}">{escape(said)}</text>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
