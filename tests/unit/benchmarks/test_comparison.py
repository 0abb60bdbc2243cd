"""What two ways of building come to beside each other: medians, ratios, and who is worse."""

from __future__ import annotations

from benchmarks.comparison import Measured, Row, dumped, kept, rows, table, uncompared, worse

MACHINE = {"cores": "2", "memory": "24 GiB"}


def way(form: str = "quick", **measures: dict[str, list[float]]) -> Measured:
    return Measured(date="2026-11-24 15:00", form=form, **measures)


def row(what: str, name: str, ours: float | None, baseline: float | None) -> Row:
    return Row(what=what, name=name, unit="s", ours=ours, baseline=baseline)


def test_each_measure_is_the_median_of_its_rounds() -> None:
    ours = way(seconds={"no-op": [4.0, 1.0, 2.0]}, pushed={"cold": [3_000_000.0]})
    baseline = way(seconds={"no-op": [4.0, 5.0, 9.0]})
    found = {(each.what, each.name): each for each in rows({"ours": ours, "baseline": baseline})}
    assert found["seconds", "no-op"] == row("seconds", "no-op", 2.0, 5.0)
    assert found["seconds", "no-op"].ratio == 0.4
    assert found["pushed", "cold"] == Row(what="pushed", name="cold", unit="MB", ours=3.0, baseline=None)
    assert found["seconds", "cold"] == row("seconds", "cold", None, None)


def test_a_promise_that_is_not_kept_is_named_with_its_ratio() -> None:
    found = [row("seconds", "cold", 12.0, 10.0), row("pulled", "a second backend", 1.0, 10.0)]
    assert worse(found) == ("seconds, cold: 12.00 s is 1.20 x the baseline",)


def test_where_seconds_are_measured_once_what_is_noise_is_not_worse_and_bytes_are() -> None:
    found = [row("seconds", "cold", 12.0, 10.0), row("pushed", "a second backend", 12.0, 10.0)]
    assert [each.partition(":")[0] for each in worse(found, 1.25)] == ["pushed, a second backend"]


def test_where_nothing_is_promised_ours_may_be_worse() -> None:
    assert worse([row("seconds", "a package of one backend", 12.0, 10.0), row("disk", "images", 9.0, 1.0)]) == ()


def test_equal_is_not_worse() -> None:
    assert worse([row("seconds", "cold", 10.0, 10.0)]) == ()


def test_a_promise_that_was_not_measured_in_both_ways_is_not_passed() -> None:
    found = [
        row("seconds", "cold", 10.0, None),
        row("pushed", "a second backend", None, 3.0),
        row("disk", "a", 1, None),
    ]
    assert uncompared(found) == ("seconds, cold", "pushed, a second backend")
    assert worse(found) == ()


def test_the_table_has_a_line_per_row_and_marks_promises() -> None:
    lines = table([row("seconds", "cold", 12.5, 25.0), row("layers", "runtime, toy", 6.0, None)]).splitlines()
    assert lines[1].split() == ["seconds", "cold", "12.50", "25", "s", "0.50", "promised:", "at", "most", "1"]
    assert lines[2].split() == ["layers", "runtime,", "toy", "6", "-", "s", "-"]


def test_an_earlier_run_is_kept_in_the_same_form_and_on_the_same_machine_only() -> None:
    baseline = way(seconds={"cold": [10.0]})
    content = dumped({"baseline": baseline}, MACHINE)
    assert kept(content, "quick", MACHINE) == {"baseline": baseline}
    assert kept(content, "full", MACHINE) == {}
    assert kept(content, "quick", {**MACHINE, "cores": "64"}) == {}
    assert kept({}, "quick", MACHINE) == {}
