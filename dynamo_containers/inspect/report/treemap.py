"""Layout of a treemap: sizes in, rectangles out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import squarify

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = 100.0
SCREEN, TELEPHONE = 3.2, 0.85
"""How much wider than high a map is drawn: by that tiles are kept square (page.css)."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle; in hundredths of the width and the height of the map."""

    index: int
    """The place of its size in what was asked for."""
    left: float
    top: float
    width: float
    height: float


def tiles(sizes: Sequence[int], ratio: float) -> tuple[Tile, ...]:
    """Return a rectangle for each size that is more than nothing, the largest first, on a map of some form."""
    order = sorted((index for index, size in enumerate(sizes) if size > 0), key=lambda index: (-sizes[index], index))
    if not order:
        return ()
    areas = squarify.normalize_sizes([sizes[index] for index in order], WHOLE * ratio, WHOLE)
    rows = squarify.squarify(areas, 0, 0, WHOLE * ratio, WHOLE)
    return tuple(
        Tile(index=index, left=row["x"] / ratio, top=row["y"], width=row["dx"] / ratio, height=row["dy"])
        for index, row in zip(order, rows, strict=True)
    )
