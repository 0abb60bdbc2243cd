"""Contents of an image by package and file, and what grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.inspect.in_container import contents as contents_inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MB = 10**6
SMALL = contents_inside.SMALL
"""Packages and files below this many bytes are counted together, by kind."""
SHOWN = 15
"""How many lines a table has; the others are summed."""


def folded(contents: Mapping[str, int]) -> dict[str, int]:
    """Return `KIND NAME` -> bytes, with the small ones of each kind together."""
    folded_sizes: dict[str, int] = {}
    for owner, size in sorted(contents.items()):
        kind = owner.partition(" ")[0]
        key = owner if size >= SMALL else f"{kind} (each below {SMALL // MB} MB)"
        folded_sizes[key] = folded_sizes.get(key, 0) + size
    return folded_sizes


@dataclass(frozen=True, kw_only=True)
class SizeChange:
    """A package or file with another size; 0 bytes where it does not exist."""

    name: str
    before: int
    after: int

    @property
    def growth(self) -> int:
        """Return by how many bytes it grew."""
        return self.after - self.before


def changes(sizes: Mapping[str, int], accepted: Mapping[str, int]) -> tuple[SizeChange, ...]:
    """Return what is new, removed, or has another size than accepted; the largest difference first."""
    rows = (
        SizeChange(name=name, before=accepted.get(name, 0), after=sizes.get(name, 0)) for name in {**accepted, **sizes}
    )
    return tuple(sorted((row for row in rows if row.growth), key=lambda row: (-abs(row.growth), row.name)))


def table(sizes: Mapping[str, int], accepted: Mapping[str, int]) -> str:
    """Return what grew, is new or was removed since the accepted sizes; without accepted sizes, the largest.

    Args:
        sizes: the result of `folded`.
        accepted: the same for the image that was accepted last; empty where none was.
    """
    rows = changes(sizes, accepted)
    if not accepted:
        lines = [f"  {row.after / MB:>9.1f} MB  {row.name}" for row in rows[:SHOWN]]
        return "\n".join(["By package and file, uncompressed (no accepted sizes; the largest):", *lines, *_rest(rows)])
    if not rows:
        return "By package and file, uncompressed: everything has the accepted size."
    lines = [f"  {row.growth / MB:>+9.1f} MB  {row.name} ({_comparison(row)})" for row in rows[:SHOWN]]
    title = "Growth by package and file, uncompressed (compared with the accepted sizes):"
    return "\n".join([title, *lines, *_rest(rows)])


def _comparison(change: SizeChange) -> str:
    if not change.before:
        return "new"
    return f"{change.before / MB:.1f} -> {change.after / MB:.1f} MB" if change.after else "removed"


def _rest(rows: Sequence[SizeChange]) -> list[str]:
    growths = [row.growth for row in rows[SHOWN:]]
    return [f"  {sum(growths) / MB:>+9.1f} MB  {len(growths)} others together"] if growths else []
