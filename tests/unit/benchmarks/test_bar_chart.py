"""A chart is valid XML with all labels and numbers, even if they have special characters."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks.bar_chart import Bar, Chart, number, svg

SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart(
    title="Seconds & <more>",
    unit="s",
    series=("ours", "a <Dockerfile> each"),
    bars=(Bar(label="cold", values=(50.0, 100.0)), Bar(label="no-op & more", values=(0.0, None))),
)


def parsed(chart: Chart) -> ET.Element:
    return ET.fromstring(svg(chart))  # noqa: S314 - our own text


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in parsed(chart).iter(f"{SVG}text")]


def test_every_label_series_and_number_is_in_it_as_text() -> None:
    assert texts(CHART) == [
        "Seconds & <more>",
        "ours",
        "a <Dockerfile> each",
        "cold",
        "50.0 s",
        "100 s",
        "no-op & more",
        "0.00 s",
        "not measured",
    ]


def test_bars_are_as_long_as_their_values_and_one_of_nothing_is_seen_still() -> None:
    bars = [bar for bar in parsed(CHART).iter(f"{SVG}rect") if bar.get("x") == "230"]
    assert [bar.get("width") for bar in bars] == ["210", "420", "1", "0"]


def test_a_title_with_quotes_is_one_attribute() -> None:
    root = parsed(Chart(title='"a" < b', unit="MB", series=("ours",), bars=()))
    assert root.get("aria-label") == '"a" < b'


def test_a_row_with_too_few_values_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        svg(Chart(title="t", unit="s", series=("a", "b"), bars=(Bar(label="cold", values=(1.0,)),)))


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (1234.5, "1,234")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
