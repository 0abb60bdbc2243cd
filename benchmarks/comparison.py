"""What came out of building in two ways, and where is ours not better although it should be? Values only."""

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
"""Where the design promises that ours is better (one graph, each artifact built once, what is shared is shared)."""
MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one way of building took. Each list has a value per round, in the order of the rounds."""

    date: str
    """When it was measured, in UTC."""
    form: str
    """`quick` or `full`."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    pushed: dict[str, list[float]] = field(default_factory=dict)
    """Bytes that the registry had to be sent: those of all stages of all backends."""
    pulled: dict[str, list[float]] = field(default_factory=dict)
    """Bytes that a node pulls: `cold` is the first runtime by a node without any image, else by one that has it."""
    layers: dict[str, list[float]] = field(default_factory=dict)
    """Layers of a backend's runtime image."""
    disk: dict[str, list[float]] = field(default_factory=dict)
    """Bytes that the engine keeps for everything: images and build cache, without downloads."""

    def add(self, what: str, name: str, value: float) -> None:
        """Keep one more value."""
        getattr(self, what).setdefault(name, []).append(value)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure in both ways; None is not measured."""

    what: str
    name: str
    unit: str
    ours: float | None
    baseline: float | None

    @property
    def ratio(self) -> float | None:
        """Return ours as a part of the baseline."""
        return self.ours / self.baseline if self.ours is not None and self.baseline else None

    @property
    def promised(self) -> bool:
        """Say whether the design promises that ours is no worse here."""
        return (self.what, self.name) in PROMISED


def rows(ways: Mapping[str, Measured]) -> tuple[Row, ...]:
    """Return the medians of what was measured, side by side, and what the design promises even where it was not."""
    every = (
        Row(
            what=what,
            name=name,
            unit=unit,
            ours=_median(ways.get(OURS), what, name, scale),
            baseline=_median(ways.get(BASELINE), what, name, scale),
        )
        for what, unit, scale, names in (
            ("seconds", "s", 1, SCENARIOS),
            ("pushed", "MB", MB, PUSHED),
            ("pulled", "MB", MB, PULLED),
            ("layers", "", 1, _names(ways.values(), "layers")),
            ("disk", "MB", MB, _names(ways.values(), "disk")),
        )
        for name in names
    )
    return tuple(row for row in every if row.promised or (row.ours, row.baseline) != (None, None))


def _names(ways: Any, what: str) -> tuple[str, ...]:  # noqa: ANN401 - any iterable of ways
    return tuple(dict.fromkeys(name for way in ways for name in getattr(way, what)))


def _median(way: Measured | None, what: str, name: str, scale: int) -> float | None:
    values = getattr(way, what).get(name) if way else None
    return statistics.median(values) / scale if values else None


def worse(found: Sequence[Row], most_seconds: float = 1.0) -> tuple[str, ...]:
    """Say where ours is worse than the baseline although the design promises better.

    Args:
        found: the rows.
        most_seconds: up to which ratio seconds are no worse: those of single rounds are noise to some part.
    """
    return tuple(_complaints(found, most_seconds))


def _complaints(found: Sequence[Row], most_seconds: float) -> Iterator[str]:
    for row in found:
        most = most_seconds if row.what == "seconds" else 1
        if row.promised and row.ratio is not None and row.ratio > most:
            yield f"{row.what}, {row.name}: {row.ours:.2f} {row.unit} is {row.ratio:.2f} x the baseline"


def uncompared(found: Sequence[Row]) -> tuple[str, ...]:
    """Return what the design promises and this run could not compare: it is not passed."""
    return tuple(f"{row.what}, {row.name}" for row in found if row.promised and row.ratio is None)


def said(value: float | None) -> str:
    """Return a value for a table."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def table(found: Sequence[Row]) -> str:
    """Return the rows for a terminal."""
    lines = [f"{'':<8} {'':<26} {OURS:>10} {BASELINE:>10}      {'ratio':>6}"]
    for row in found:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        mark = "  promised: at most 1" if row.promised else ""
        values = f"{said(row.ours):>10} {said(row.baseline):>10} {row.unit:<4} {ratio:>6}"
        lines.append(f"{row.what:<8} {row.name:<26} {values}{mark}")
    return "\n".join(lines)


def dumped(ways: Mapping[str, Measured], machine: Mapping[str, str]) -> dict[str, Any]:
    """Return everything as JSON has it."""
    return {"machine": dict(machine), "ways": {name: asdict(way) for name, way in ways.items()}}


def kept(content: Mapping[str, Any], form: str, machine: Mapping[str, str]) -> dict[str, Measured]:
    """Return what an earlier run found in the same form and on the same machine, and nothing else."""
    if content.get("machine") != dict(machine):
        return {}
    ways = {name: Measured(**row) for name, row in content.get("ways", {}).items()}
    return {name: way for name, way in ways.items() if way.form == form}
