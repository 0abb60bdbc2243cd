"""Layout of a treemap: sizes in, rectangles out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import squarify

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE = 100.0
SCREEN, TELEPHONE = 3.2, 0.85
"""Width of a map divided by its height (page.css), so that tiles are nearly square."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle, in hundredths of the width and the height of the map."""

    index: int
    """The index of its size in the arguments."""
    left: float
    top: float
    width: float
    height: float


def tiles(sizes: Sequence[int], ratio: float) -> tuple[Tile, ...]:
    """Return a rectangle for each size above 0, the largest first, on a map with a ratio of width to height."""
    order = sorted((index for index, size in enumerate(sizes) if size > 0), key=lambda index: (-sizes[index], index))
    if not order:
        return ()
    areas = squarify.normalize_sizes([sizes[index] for index in order], SIDE * ratio, SIDE)
    rows = squarify.squarify(areas, 0, 0, SIDE * ratio, SIDE)
    return tuple(
        Tile(index=index, left=row["x"] / ratio, top=row["y"], width=row["dx"] / ratio, height=row["dy"])
        for index, row in zip(order, rows, strict=True)
    )
