"""Measurements of two ways of building, their medians and ratios, and the promises that were not kept."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OURS, BASELINE = "ours", "baseline"
COLD, NO_OP, ADDED = "cold", "no-op", "a second backend"
LINE, BUMP, PACKAGE = "a line of Dynamo", "a new Dynamo", "a package of one backend"
SCENARIOS = (COLD, NO_OP, LINE, BUMP, PACKAGE, ADDED)
PUSHED = (COLD, LINE, BUMP, PACKAGE, ADDED)
PULLED = (COLD, LINE, BUMP, PACKAGE, ADDED)
PROMISED = {("seconds", COLD), ("seconds", NO_OP), ("seconds", BUMP), ("pushed", ADDED), ("pulled", ADDED)}
"""(measure, scenario) for which the design promises a better result (one graph, each artifact built once)."""
MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of one way of building. Each list has a value per round, in the order of the rounds."""

    date: str
    """Date and time of the measurement, in UTC."""
    form: str
    """`quick` or `full`."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    pushed: dict[str, list[float]] = field(default_factory=dict)
    """Bytes sent to the registry, for all stages of all backends."""
    pulled: dict[str, list[float]] = field(default_factory=dict)
    """Bytes that a node pulls: for `cold` a node without any image, otherwise a node with the previous runtime."""
    layers: dict[str, list[float]] = field(default_factory=dict)
    """Layers of a backend's runtime image."""
    disk: dict[str, list[float]] = field(default_factory=dict)
    """Bytes of images and build cache in the engine, without downloads."""

    def add(self, measure: str, name: str, value: float) -> None:
        """Add a value."""
        getattr(self, measure).setdefault(name, []).append(value)


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """Medians of one measure for both ways; None if it was not measured."""

    measure: str
    name: str
    unit: str
    ours: float | None
    baseline: float | None

    @property
    def ratio(self) -> float | None:
        """Return our value divided by that of the baseline."""
        return self.ours / self.baseline if self.ours is not None and self.baseline else None

    @property
    def promised(self) -> bool:
        """Return whether the design promises that our value is not worse."""
        return (self.measure, self.name) in PROMISED


def rows(ways: Mapping[str, Measurements]) -> tuple[MeasureRow, ...]:
    """Return the medians of all measured values, and a row for each promise even if it was not measured."""
    candidates = (
        MeasureRow(
            measure=measure,
            name=name,
            unit=unit,
            ours=_median(ways.get(OURS), measure, name, scale),
            baseline=_median(ways.get(BASELINE), measure, name, scale),
        )
        for measure, unit, scale, names in (
            ("seconds", "s", 1, SCENARIOS),
            ("pushed", "MB", MB, PUSHED),
            ("pulled", "MB", MB, PULLED),
            ("layers", "", 1, _names(ways.values(), "layers")),
            ("disk", "MB", MB, _names(ways.values(), "disk")),
        )
        for name in names
    )
    return tuple(row for row in candidates if row.promised or (row.ours, row.baseline) != (None, None))


def _names(ways: Any, measure: str) -> tuple[str, ...]:  # noqa: ANN401 - any iterable of ways
    return tuple(dict.fromkeys(name for way in ways for name in getattr(way, measure)))


def _median(way: Measurements | None, measure: str, name: str, scale: int) -> float | None:
    values = getattr(way, measure).get(name) if way else None
    return statistics.median(values) / scale if values else None


def worse(rows: Sequence[MeasureRow], most_seconds: float = 1.0) -> tuple[str, ...]:
    """Return the broken promises: where our value is worse than that of the baseline.

    Args:
        rows: the rows.
        most_seconds: ratio of seconds that still counts as equal, because single rounds are noisy.
    """
    return tuple(_complaints(rows, most_seconds))


def _complaints(rows: Sequence[MeasureRow], most_seconds: float) -> Iterator[str]:
    for row in rows:
        most = most_seconds if row.measure == "seconds" else 1
        if row.promised and row.ratio is not None and row.ratio > most:
            yield f"{row.measure}, {row.name}: {row.ours:.2f} {row.unit} is {row.ratio:.2f} x the baseline"


def uncompared(rows: Sequence[MeasureRow]) -> tuple[str, ...]:
    """Return the promises that this run could not check; they do not count as kept."""
    return tuple(f"{row.measure}, {row.name}" for row in rows if row.promised and row.ratio is None)


def formatted(value: float | None) -> str:
    """Return a value as text for a table."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def table(rows: Sequence[MeasureRow]) -> str:
    """Return the rows as a table for a terminal."""
    lines = [f"{'':<8} {'':<26} {OURS:>10} {BASELINE:>10}      {'ratio':>6}"]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        mark = "  promised: at most 1" if row.promised else ""
        values = f"{formatted(row.ours):>10} {formatted(row.baseline):>10} {row.unit:<4} {ratio:>6}"
        lines.append(f"{row.measure:<8} {row.name:<26} {values}{mark}")
    return "\n".join(lines)


def as_json(ways: Mapping[str, Measurements], machine: Mapping[str, str]) -> dict[str, Any]:
    """Return all measurements as a JSON document."""
    return {"machine": dict(machine), "ways": {name: asdict(way) for name, way in ways.items()}}


def comparable(content: Mapping[str, Any], form: str, machine: Mapping[str, str]) -> dict[str, Measurements]:
    """Return the measurements of an earlier run if it had the same form and the same machine."""
    if content.get("machine") != dict(machine):
        return {}
    ways = {name: Measurements(**row) for name, row in content.get("ways", {}).items()}
    return {name: way for name, way in ways.items() if way.form == form}
