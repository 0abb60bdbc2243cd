"""Verdict on a budget: what is over, and which layers grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.budget import BUMP, LAYERS, SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.inspect.sizes.manifest import ImageSize

MB = 10**6


def numbers(image: ImageSize, *, bump: int | None = None, second: int | None = None) -> dict[str, int]:
    """Return what a budget limits, in its units, rounded up; without what was not measured.

    Args:
        image: the size of the image.
        bump: the bytes to pull after a new version of Dynamo.
        second: the bytes to pull where the other backend's image is there.
    """
    found = {
        "compressed-mb": _mb(image.packed),
        "uncompressed-mb": _mb(image.unpacked),
        "largest-layer-mb": _mb(image.largest.packed),
        LAYERS: len(image.layers),
    }
    return found | {key: _mb(size) for key, size in ((SECOND, second), (BUMP, bump)) if size is not None}


def _mb(size: int) -> int:
    return -(-size // MB)


@dataclass(frozen=True, kw_only=True)
class Over:
    """One number that is over its budget."""

    key: str
    found: int
    allowed: int


def over(budget: Mapping[str, int], found: Mapping[str, int]) -> tuple[Over, ...]:
    """Return what is over; a number that was not measured is not here, see `unmeasured`."""
    rows = ((key, found[key], allowed) for key, allowed in budget.items() if key in found)
    return tuple(Over(key=key, found=size, allowed=allowed) for key, size, allowed in rows if size > allowed)


def unmeasured(budget: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    """Return the keys of a budget that were not compared."""
    return tuple(key for key in budget if key not in found)


def layers_of(image: ImageSize) -> dict[str, int]:
    """Return name -> compressed bytes; layers of one name together."""
    found: dict[str, int] = {}
    for layer in image.layers:
        found[layer.name] = found.get(layer.name, 0) + layer.packed
    return found


def table(rows: tuple[Over, ...], image: ImageSize, accepted: Mapping[str, int]) -> str:
    """Return what is over its budget, and which layers grew since the numbers that were accepted last.

    Args:
        rows: as `over` gives them.
        image: what was measured.
        accepted: layer -> compressed bytes; empty where none were accepted.
    """
    found = layers_of(image)
    head = [f"  {row.key:<18} {row.found:>8} over {row.allowed:>8}" for row in rows]
    grown = {name: size - accepted.get(name, 0) for name, size in found.items() if size > accepted.get(name, 0)}
    said = "against the last accepted numbers" if accepted else "no numbers were accepted yet: all layers"
    lines = [
        f"  {grown[name] / MB:>+9.1f} MB  {name} ({accepted.get(name, 0) / MB:.1f} -> {found[name] / MB:.1f} MB)"
        for name in sorted(grown, key=lambda each: -grown[each])
    ]
    title = f"What grew, compressed ({said}):" if grown else "By layer, compressed: none grew."
    return "\n".join([*head, title, *lines])
