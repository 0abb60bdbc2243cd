"""Comparison of an image with its budget: the limits that it exceeds, and the layers that grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.budget import BUMP, LAYERS, SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.inspect.sizes.manifest import ImageSize

MB = 10**6


def numbers(image: ImageSize, *, bump: int | None = None, second: int | None = None) -> dict[str, int]:
    """Return the numbers that a budget limits, in its units and rounded up, as far as they were measured.

    Args:
        image: the size of the image.
        bump: the bytes to pull after a new version of Dynamo.
        second: the bytes to pull where the other backend's image exists.
    """
    measured = {
        "compressed-mb": _mb(image.packed),
        "uncompressed-mb": _mb(image.unpacked),
        "largest-layer-mb": _mb(image.largest.packed),
        LAYERS: len(image.layers),
    }
    return measured | {key: _mb(size) for key, size in ((SECOND, second), (BUMP, bump)) if size is not None}


def _mb(size: int) -> int:
    return -(-size // MB)


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A number that is over its limit."""

    key: str
    number: int
    limit: int


def over(budget: Mapping[str, int], measured: Mapping[str, int]) -> tuple[Excess, ...]:
    """Return the measured numbers that are over their limits; `unmeasured` has the others."""
    rows = ((key, measured[key], limit) for key, limit in budget.items() if key in measured)
    return tuple(Excess(key=key, number=number, limit=limit) for key, number, limit in rows if number > limit)


def unmeasured(budget: Mapping[str, int], measured: Mapping[str, int]) -> tuple[str, ...]:
    """Return the keys of a budget that were not measured."""
    return tuple(key for key in budget if key not in measured)


def layers_of(image: ImageSize) -> dict[str, int]:
    """Return name -> compressed bytes; layers of the same name are added up."""
    sizes: dict[str, int] = {}
    for layer in image.layers:
        sizes[layer.name] = sizes.get(layer.name, 0) + layer.packed
    return sizes


def table(rows: tuple[Excess, ...], image: ImageSize, accepted: Mapping[str, int]) -> str:
    """Return the numbers over their limits, and the layers that grew since sizes were accepted.

    Args:
        rows: the result of `over`.
        image: the measured image.
        accepted: layer -> accepted compressed bytes; empty where none were accepted.
    """
    sizes = layers_of(image)
    head = [f"  {row.key:<18} {row.number:>8} over {row.limit:>8}" for row in rows]
    grown = {name: size - accepted.get(name, 0) for name, size in sizes.items() if size > accepted.get(name, 0)}
    comparison = "compared with the accepted sizes" if accepted else "no accepted sizes: all layers"
    lines = [
        f"  {growth / MB:>+9.1f} MB  {name} ({accepted.get(name, 0) / MB:.1f} -> {sizes[name] / MB:.1f} MB)"
        for name, growth in sorted(grown.items(), key=lambda row: -row[1])
    ]
    title = f"Growth by layer, compressed ({comparison}):" if grown else "By layer, compressed: none grew."
    return "\n".join([*head, title, *lines])
