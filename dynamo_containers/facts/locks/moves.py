"""Moves of locked packages, as a table for a terminal and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD = ("kind", "name", "from", "to", "download", "in")


@dataclass(frozen=True, kw_only=True, order=True)
class Move:
    """One package in one layer: its version before and after ('' for none), and the change in bytes to download."""

    kind: str
    name: str
    old: str
    new: str
    layer: str
    size_change: int


def moves(
    kind: str, layer: str, before: Mapping[str, tuple[str, int]], after: Mapping[str, tuple[str, int]]
) -> tuple[Move, ...]:
    """Return what differs between two states of a layer: name -> (version, size)."""
    none = ("", 0)
    pairs = {name: (before.get(name, none), after.get(name, none)) for name in sorted(before.keys() | after.keys())}
    return tuple(
        Move(kind=kind, layer=layer, name=name, old=old[0], new=new[0], size_change=new[1] - old[1])
        for name, (old, new) in pairs.items()
        if old != new
    )


def rows(moved: Iterable[Move]) -> tuple[tuple[str, ...], ...]:
    """Return the cells of the report: what moved alike in several layers is one row."""
    layers: dict[tuple[str, str, str, str, int], list[str]] = {}
    for each in sorted(moved):
        layers.setdefault((each.kind, each.name, each.old, each.new, each.size_change), []).append(each.layer)
    return tuple(
        (kind, name, old or "(none)", new or "(none)", megabytes(change), ", ".join(where))
        for (kind, name, old, new, change), where in layers.items()
    )


def megabytes(change: int) -> str:
    """Return a change of size as a person reads it."""
    return f"{change / 1e6:+.2f} MB" if abs(change) >= 5000 else "0"  # noqa: PLR2004 - it would be shown as 0.00


def totals(moved: Iterable[Move]) -> tuple[str, ...]:
    """Return the change in download size of each layer that moved."""
    sums: dict[str, int] = {}
    for each in moved:
        sums[each.layer] = sums.get(each.layer, 0) + each.size_change
    return tuple(f"{layer}: {megabytes(change)} to download" for layer, change in sorted(sums.items()))


def text(moved: Iterable[Move]) -> str:
    """Return the report for a terminal."""
    moved = tuple(moved)
    if not moved:
        return "Nothing moved."
    lines = (HEAD, *rows(moved))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join([*(line.rstrip() for line in padded), "", *totals(moved)])


def markdown(moved: Iterable[Move]) -> str:
    """Return the report for a pull request."""
    moved = tuple(moved)
    if not moved:
        return "Nothing moved.\n"
    lines = (HEAD, ("---",) * len(HEAD), *rows(moved))
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "\n" + "".join(f"- {line}\n" for line in totals(moved))
