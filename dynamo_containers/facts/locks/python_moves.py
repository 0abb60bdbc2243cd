"""Moves in the Python locks: versions, locks, and the change in download size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.download_sizes import SIZES_FILE
from dynamo_containers.facts.locks.requirements import COMMAND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from dynamo_containers.facts.locks.requirements import LockedPackage

NOTHING = "No Python package moved."
HEAD = ("package", "from", "to", "download", "locks")
ABSENT = "-"


@dataclass(frozen=True, kw_only=True)
class Move:
    """A package of one lock that came, went, or is another version or other files now."""

    name: str
    old: str | None
    new: str | None
    lock: str
    size: int | None
    """How many bytes more a download is; None where the index does not state the sizes."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the index says about the packages of one lock; keyed by `name==version`."""

    sizes: Mapping[str, int | None]
    """How many bytes a target downloads, for all that is locked or was; None where the index does not say."""
    yanked: Mapping[str, str]
    """The locked releases that were taken back, with the reason."""
    requirements: Mapping[str, list[str]]
    """Package -> what the others require of it: `vllm==0.26.0 requires torch==2.11.0`."""


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """A package that images should have alike but have not."""

    name: str
    found: tuple[tuple[str, str, str], ...]
    """(lock, version, what requires it there)."""


def unlike(rows: Iterable[Unlike]) -> str:
    """Return the Markdown table of what should be shared and is not; empty when all of it is."""
    cells: list[tuple[str, ...]] = [(row.name, *found) for row in rows for found in row.found]
    if not cells:
        return ""
    return "Should be alike in these locks (lock.common-layers in containers/images.toml) and is not:\n\n" + table(
        cells, ("package", "lock", "version", "because")
    )


def warning(path: str, found: Findings) -> str:
    """Return a line for each locked release that was taken back; empty when none was."""
    return "".join(
        f"{path}: {pin} was yanked: {reason}\nMove it with: {COMMAND} --upgrade {pin.partition('==')[0]}\n"
        for pin, reason in found.yanked.items()
    )


def moves(
    path: str, before: Iterable[LockedPackage], after: Iterable[LockedPackage], sizes: Mapping[str, int | None]
) -> tuple[Move, ...]:
    """Return what differs between two states of a lock; `sizes` has the bytes of `name==version` as far as known."""
    old, new = ({each.name: each for each in pins} for pins in (before, after))
    return tuple(
        Move(
            name=name,
            old=old[name].version if name in old else None,
            new=new[name].version if name in new else None,
            lock=Path(path).stem,
            size=_change(sizes, old.get(name), new.get(name)),
        )
        for name in sorted({*old, *new})
        if _differ(old.get(name), new.get(name))
    )


def _differ(old: LockedPackage | None, new: LockedPackage | None) -> bool:
    return old is None or new is None or old.version != new.version or set(old.hashes) != set(new.hashes)


def _change(sizes: Mapping[str, int | None], old: LockedPackage | None, new: LockedPackage | None) -> int | None:
    before, after = (sizes.get(each.pin) if each else 0 for each in (old, new))
    return None if before is None or after is None else after - before


def report(moved: Iterable[Move]) -> str:
    """Return the Markdown table of what moved; it is as readable at a terminal."""
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for move in moved:
        key = (move.name, move.old or ABSENT, _new(move), megabytes(move.size))
        together.setdefault(key, []).append(move.lock)
    if not together:
        return NOTHING
    return table([(*key, ", ".join(compact(locks))) for key, locks in sorted(together.items())])


def unstated(rows: Iterable[tuple[str, str]]) -> str:
    """Return the Markdown table of the (pin, lock) whose size the index does not state; empty when there is none."""
    together: dict[str, list[str]] = {}
    for pin, lock in rows:
        together.setdefault(pin, []).append(lock)
    if not together:
        return ""
    cells = [(pin, ", ".join(compact(locks))) for pin, locks in sorted(together.items())]
    return f"The index states no size of these, so {SIZES_FILE} has none:\n\n" + table(cells, ("package", "locks"))


TARGET = re.compile(r"(?P<layer>.+)-(?P<bases>[^-]+)-(?P<arch>[^-]+)")


def compact(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of locks as a person would: `vllm-{cuda,debian}-{amd64,arm64}` for the four."""
    rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    layers: dict[str, dict[str, list[str]]] = {}
    whole = []
    for name in sorted(set(names)):
        found = TARGET.fullmatch(name)
        if found:
            layers.setdefault(found["layer"], {}).setdefault(found["bases"], []).append(found["arch"])
        else:
            whole.append(name)
    for layer, targets in layers.items():
        for bases, archs in targets.items():
            rows.setdefault((layer, tuple(archs)), []).append(bases)
    return tuple(sorted([*whole, *(f"{layer}-{_of(bases)}-{_of(archs)}" for (layer, archs), bases in rows.items())]))


def _of(words: Collection[str]) -> str:
    return f"{{{','.join(words)}}}" if len(words) > 1 else "".join(words)


def _new(move: Move) -> str:
    return f"{move.new} (other files)" if move.new == move.old else move.new or ABSENT


def megabytes(size: int | None) -> str:
    """Return a change in size as a person reads it."""
    return "unknown" if size is None else f"{size / 1e6:+.2f} MB"


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = HEAD) -> str:
    """Return a Markdown table whose columns stand below each other at a terminal too."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (head, tuple("-" * width for width in widths), *rows)
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
