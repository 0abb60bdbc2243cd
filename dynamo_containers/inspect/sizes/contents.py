"""Contents of an image by package and file, and what grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.inspect.in_container import contents as contents_inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MB = 10**6
SMALL = contents_inside.SMALL
"""What is below this many bytes has no line of its own: it is counted with its like."""
SHOWN = 15
"""How many lines a table has; the rest is summed."""


def folded(contents: Mapping[str, int]) -> dict[str, int]:
    """Return `KIND NAME` -> bytes without what is small: all of a kind in one line."""
    found: dict[str, int] = {}
    for owner, size in sorted(contents.items()):
        kind = owner.partition(" ")[0]
        key = owner if size >= SMALL else f"{kind} (each below {SMALL // MB} MB)"
        found[key] = found.get(key, 0) + size
    return found


@dataclass(frozen=True, kw_only=True)
class Change:
    """One package or file whose size is another; 0 bytes where it is not there."""

    name: str
    before: int
    now: int

    @property
    def growth(self) -> int:
        """Return by how many bytes it grew."""
        return self.now - self.before


def changes(found: Mapping[str, int], accepted: Mapping[str, int]) -> tuple[Change, ...]:
    """Return what is of another size than accepted, new or gone; the largest difference first."""
    every = (Change(name=name, before=accepted.get(name, 0), now=found.get(name, 0)) for name in {**accepted, **found})
    return tuple(sorted((each for each in every if each.growth), key=lambda each: (-abs(each.growth), each.name)))


def table(found: Mapping[str, int], accepted: Mapping[str, int]) -> str:
    """Return what grew, is new or gone since the accepted sizes; without any, what is largest.

    Args:
        found: as `folded` gives them.
        accepted: the same of the image that was accepted last; empty where none was.
    """
    rows = changes(found, accepted)
    if not accepted:
        lines = [f"  {each.now / MB:>9.1f} MB  {each.name}" for each in rows[:SHOWN]]
        return "\n".join(
            ["By package and file, unpacked: no sizes were accepted yet; the largest:", *lines, *_rest(rows)]
        )
    if not rows:
        return "By package and file, unpacked: all is of the accepted size."
    lines = [f"  {each.growth / MB:>+9.1f} MB  {each.name} ({_how(each)})" for each in rows[:SHOWN]]
    title = "What grew by package and file, unpacked (against the last accepted sizes):"
    return "\n".join([title, *lines, *_rest(rows)])


def _how(change: Change) -> str:
    if not change.before:
        return "new"
    return f"{change.before / MB:.1f} -> {change.now / MB:.1f} MB" if change.now else "gone"


def _rest(rows: Sequence[Change]) -> list[str]:
    left = [each.growth for each in rows[SHOWN:]]
    return [f"  {sum(left) / MB:>+9.1f} MB  {len(left)} others together"] if left else []
