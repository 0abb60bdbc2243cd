"""Packages that moved between two states of the locks, as one Markdown table for terminals and pull requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.kinds import LockKind  # noqa: TC001 - msgspec reads the types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


NO_MOVES = "Nothing moved."
HEAD = ("kind", "name", "from", "to", "download", "locks")
ABSENT = "-"
TARGET = re.compile(r"(?P<layer>.+)-(?P<bases>[^-]+)-(?P<arch>[^-]+)")
"""The name of a lock for a target; of a lock of OS packages, `bases` matches the root image or the set."""
SMALLEST_CHANGE = 5000
"""A smaller change in bytes would read as 0.00 MB."""


@dataclass(frozen=True, kw_only=True)
class LockedVersion:
    """Version of a package in one state of a lock."""

    version: str
    size: int | None
    """Bytes of its download; None where they are unknown."""
    hashes: frozenset[str] = frozenset()
    """Hashes of its files, where other files of the same version count as a move."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A package of one lock that was added or removed, or that has another version or other files now."""

    kind: LockKind
    """Kind of the lock."""
    name: str
    """The package."""
    old: str | None
    """Its version before; null where the lock did not have it."""
    new: str | None
    """Its version now; null where the lock no longer has it. The same as before: it has other files."""
    lock: str
    """Name of the lock: its file without folder and suffix."""
    size_change: int | None
    """Bytes that a download takes more than before; null where a size is unknown."""


def compare(
    kind: LockKind, lock: str, before: Mapping[str, LockedVersion], after: Mapping[str, LockedVersion]
) -> tuple[Move, ...]:
    """Return the moves between two states of a lock: package -> its version."""
    pairs = {name: (before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())}
    return tuple(
        Move(
            kind=kind,
            lock=lock,
            name=name,
            old=old.version if old else None,
            new=new.version if new else None,
            size_change=_size_change(old, new),
        )
        for name, (old, new) in pairs.items()
        if old != new
    )


def _size_change(old: LockedVersion | None, new: LockedVersion | None) -> int | None:
    before, after = (version.size if version else 0 for version in (old, new))
    return None if before is None or after is None else after - before


def report(moves: Iterable[Move]) -> str:
    """Return the table of moves, and the change in download size of each lock."""
    moves = tuple(moves)
    if not moves:
        return NO_MOVES
    totals = "\n".join(f"- {line}" for line in download_totals(moves))
    return f"{moves_table(moves)}\n\n{totals}"


def moves_table(moves: Iterable[Move]) -> str:
    """Return the table of moves: the same move in several locks is one row."""
    rows: dict[tuple[str, str, str, str, str], list[str]] = {}
    for move in moves:
        row = (move.kind.value, move.name, move.old or ABSENT, _new_version(move), megabytes(move.size_change))
        rows.setdefault(row, []).append(move.lock)
    return table([(*row, ", ".join(compact(locks))) for row, locks in sorted(rows.items())])


def download_totals(moves: Iterable[Move]) -> tuple[str, ...]:
    """Return a line for the locks whose downloads grew or shrank by the same size."""
    changes: dict[str, list[int | None]] = {}
    for move in moves:
        changes.setdefault(move.lock, []).append(move.size_change)
    locks: dict[str, list[str]] = {}
    for lock, sizes in changes.items():
        locks.setdefault(_total(sizes), []).append(lock)
    return tuple(sorted(f"{', '.join(compact(names))}: {total} to download" for total, names in locks.items()))


def _total(changes: Collection[int | None]) -> str:
    sizes = [change for change in changes if change is not None]
    unknown = len(changes) - len(sizes)
    return megabytes(sum(sizes)) + (f" and {unknown} of unknown size" if unknown else "")


def compact(locks: Iterable[str]) -> tuple[str, ...]:
    """Return the names of locks in short: `vllm-{cuda,debian}-{amd64,arm64}` for four of them."""
    targets: dict[str, dict[str, list[str]]] = {}
    names = []
    for lock in sorted(set(locks)):
        if match := TARGET.fullmatch(lock):
            targets.setdefault(match["layer"], {}).setdefault(match["bases"], []).append(match["arch"])
        else:
            names.append(lock)
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for layer, architectures in targets.items():
        for bases, archs in architectures.items():
            groups.setdefault((layer, tuple(archs)), []).append(bases)
    names += [f"{layer}-{_alternatives(bases)}-{_alternatives(archs)}" for (layer, archs), bases in groups.items()]
    return tuple(sorted(names))


def _alternatives(names: Collection[str]) -> str:
    return f"{{{','.join(names)}}}" if len(names) > 1 else "".join(names)


def _new_version(move: Move) -> str:
    return f"{move.new} (other files)" if move.new == move.old else move.new or ABSENT


def megabytes(change: int | None) -> str:
    """Return a change in size for a person."""
    if change is None:
        return "unknown"
    return f"{change / 1e6:+.2f} MB" if abs(change) >= SMALLEST_CHANGE else "0"


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = HEAD) -> str:
    """Return a Markdown table with aligned columns, so that it is readable at a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (head, tuple("-" * width for width in widths), *rows)
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
