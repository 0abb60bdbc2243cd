"""Comparison of two ways of building: medians, ratios and broken promises."""

from __future__ import annotations

from benchmarks.comparison import Measurements, MeasureRow, as_json, comparable, rows, table, uncompared, worse

MACHINE = {"cores": "2", "memory": "24 GiB"}


def way(form: str = "quick", **measures: dict[str, list[float]]) -> Measurements:
    return Measurements(date="2026-11-24 15:00", form=form, **measures)


def row(measure: str, name: str, ours: float | None, baseline: float | None) -> MeasureRow:
    return MeasureRow(measure=measure, name=name, unit="s", ours=ours, baseline=baseline)


def test_each_measure_is_the_median_of_its_rounds() -> None:
    ours = way(seconds={"no-op": [4.0, 1.0, 2.0]}, pushed={"cold": [3_000_000.0]})
    baseline = way(seconds={"no-op": [4.0, 5.0, 9.0]})
    by_name = {(result.measure, result.name): result for result in rows({"ours": ours, "baseline": baseline})}
    assert by_name["seconds", "no-op"] == row("seconds", "no-op", 2.0, 5.0)
    assert by_name["seconds", "no-op"].ratio == 0.4
    assert by_name["pushed", "cold"] == MeasureRow(measure="pushed", name="cold", unit="MB", ours=3.0, baseline=None)
    assert by_name["seconds", "cold"] == row("seconds", "cold", None, None)


def test_a_promise_that_is_not_kept_is_named_with_its_ratio() -> None:
    results = [row("seconds", "cold", 12.0, 10.0), row("pulled", "a second backend", 1.0, 10.0)]
    assert worse(results) == ("seconds, cold: 12.00 s is 1.20 x the baseline",)


def test_where_seconds_are_measured_once_what_is_noise_is_not_worse_and_bytes_are() -> None:
    results = [row("seconds", "cold", 12.0, 10.0), row("pushed", "a second backend", 12.0, 10.0)]
    assert [complaint.partition(":")[0] for complaint in worse(results, 1.25)] == ["pushed, a second backend"]


def test_where_nothing_is_promised_ours_may_be_worse() -> None:
    assert worse([row("seconds", "a package of one backend", 12.0, 10.0), row("disk", "images", 9.0, 1.0)]) == ()


def test_equal_is_not_worse() -> None:
    assert worse([row("seconds", "cold", 10.0, 10.0)]) == ()


def test_a_promise_that_was_not_measured_in_both_ways_is_not_passed() -> None:
    results = [
        row("seconds", "cold", 10.0, None),
        row("pushed", "a second backend", None, 3.0),
        row("disk", "a", 1, None),
    ]
    assert uncompared(results) == ("seconds, cold", "pushed, a second backend")
    assert worse(results) == ()


def test_the_table_has_a_line_per_row_and_marks_promises() -> None:
    lines = table([row("seconds", "cold", 12.5, 25.0), row("layers", "runtime, toy", 6.0, None)]).splitlines()
    assert lines[1].split() == ["seconds", "cold", "12.50", "25", "s", "0.50", "promised:", "at", "most", "1"]
    assert lines[2].split() == ["layers", "runtime,", "toy", "6", "-", "s", "-"]


def test_an_earlier_run_is_kept_in_the_same_form_and_on_the_same_machine_only() -> None:
    baseline = way(seconds={"cold": [10.0]})
    content = as_json({"baseline": baseline}, MACHINE)
    assert comparable(content, "quick", MACHINE) == {"baseline": baseline}
    assert comparable(content, "full", MACHINE) == {}
    assert comparable(content, "quick", {**MACHINE, "cores": "64"}) == {}
    assert comparable({}, "quick", MACHINE) == {}
