"""Layout of a drawn graph: rows of boxes, and lines.

The usual method for directed graphs (Sugiyama, Tagawa and Toda, 1981): a row for each distance from the targets that
need nothing, bends where a line passes a row, few crossings, and each target near its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from dynamo_containers.inspect.report.steps import in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Graph: TypeAlias = Mapping[str, Sequence[str]]
    Rows: TypeAlias = list[list[str]]

WIDTH, HEIGHT = 176.0, 50.0
"""Size of a target's box, in the drawing's units."""
COLUMN_GAP, ROW_GAP = 22.0, 38.0
"""Distance between boxes of a row, and between rows."""
BEND = 14.0
"""The width of a line where it passes a row."""
EDGE = 6.0
SWEEPS = 40
STRAIGHT = 12.0
"""Weight of a straight line through rows, compared with a short distance between neighbours."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Position of a target: its upper left corner."""

    name: str
    left: float
    top: float


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Line from a target down to a target that needs it, through some points."""

    start: str
    end: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Edge, ...]


def layout(graph: Graph) -> Layout:
    """Lay out a graph (target -> the targets that it needs); a line that others imply is left out."""
    needs = reduced(graph)
    rank = _ranks(needs)
    rows, neighbours, chains = _with_bends(needs, rank)
    for sweep in range(SWEEPS):
        _order(rows, neighbours, down=sweep % 2 == 0)
    centers = _centers(rows, neighbours)
    height = EDGE * 2 + len(rows) * HEIGHT + max(0, len(rows) - 1) * ROW_GAP
    width = max((centers[name] + _width(name) / 2 for row in rows for name in row), default=0.0) + EDGE
    boxes = tuple(Box(name=name, left=round(centers[name] - WIDTH / 2, 1), top=_top(rank[name])) for name in needs)
    lines = tuple(_line(chain, centers, rank) for chain in chains)
    return Layout(width=round(width, 1), height=round(height, 1), boxes=boxes, lines=lines)


def reduced(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the graph without the needs that other needs imply."""
    implied: dict[str, set[str]] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for name in in_order(graph):
        needed = [target for target in graph[name] if target in graph]
        indirect = set[str]().union(*(implied[target] for target in needed))
        needs[name] = tuple(target for target in needed if target not in indirect)
        implied[name] = {*needed, *indirect}
    return needs


def _ranks(needs: Graph) -> dict[str, int]:
    """Return the row of each target: below all that it needs."""
    rank: dict[str, int] = {}
    for name in needs:  # each after those that it needs
        rank[name] = max((rank[target] + 1 for target in needs[name]), default=0)
    return rank


def _with_bends(needs: Graph, rank: Mapping[str, int]) -> tuple[Rows, dict[str, list[str]], list[list[str]]]:
    """Return the rows with a bend for each row that a line passes, the neighbours of each box, and the lines."""
    rows: Rows = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in needs:
        rows[rank[name]].append(name)
    neighbours: dict[str, list[str]] = {name: [] for name in needs}
    chains = []
    for name in needs:
        for target in needs[name]:
            chain = [target, *(f"{target}>{name}>{row}" for row in range(rank[target] + 1, rank[name])), name]
            for row, bend in enumerate(chain[1:-1], rank[target] + 1):
                rows[row].append(bend)
            for upper, lower in pairwise(chain):
                neighbours.setdefault(upper, []).append(lower)
                neighbours.setdefault(lower, []).append(upper)
            chains.append(chain)
    return rows, neighbours, chains


def _order(rows: Rows, neighbours: Mapping[str, Sequence[str]], *, down: bool) -> None:
    """Sort each row by the positions of the neighbours in the row before."""
    walk = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    for row in walk:
        before = {name: index for index, name in enumerate(rows[row - 1 if down else row + 1])}
        current = {name: index for index, name in enumerate(rows[row])}

        def position(name: str, before: Mapping[str, int] = before, current: Mapping[str, int] = current) -> float:
            positions = [before[neighbour] for neighbour in neighbours[name] if neighbour in before]
            return sum(positions) / len(positions) if positions else current[name]

        rows[row].sort(key=position)


def _width(name: str) -> float:
    return BEND if ">" in name else WIDTH


def _centers(rows: Rows, neighbours: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the horizontal center of each box: near its neighbours, and without overlaps in a row."""
    centers: dict[str, float] = {}
    for row in rows:
        left = 0.0
        for name in row:
            centers[name] = left + _width(name) / 2
            left += _width(name) + COLUMN_GAP
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            ideals = [_ideal(name, neighbours[name], centers) for name in row]
            centers |= dict(zip(row, _spread(row, ideals), strict=True))
    least = min((centers[name] - _width(name) / 2 for row in rows for name in row), default=0.0)
    return {name: center - least + EDGE for name, center in centers.items()}


def _ideal(name: str, neighbours: Sequence[str], centers: Mapping[str, float]) -> float:
    """Return the weighted mean of the centers of the neighbours."""
    weights = [STRAIGHT if ">" in name and ">" in neighbour else 1.0 for neighbour in neighbours]
    total = sum(weights)
    weighted = (weight * centers[neighbour] for weight, neighbour in zip(weights, neighbours, strict=True))
    return sum(weighted) / total if total else centers[name]


def _spread(row: Sequence[str], ideals: Sequence[float]) -> list[float]:
    """Return centers as near to the ideals as the widths allow: the mean of pushing all right and all left."""
    right, left = list(ideals), list(ideals)
    for index in range(1, len(row)):
        right[index] = max(right[index], right[index - 1] + _distance(row[index - 1], row[index]))
    for index in range(len(row) - 2, -1, -1):
        left[index] = min(left[index], left[index + 1] - _distance(row[index], row[index + 1]))
    return [sum(pair) / 2 for pair in zip(right, left, strict=True)]


def _distance(left: str, right: str) -> float:
    return (_width(left) + _width(right)) / 2 + COLUMN_GAP


def _top(rank: int) -> float:
    return EDGE + rank * (HEIGHT + ROW_GAP)


def _line(chain: Sequence[str], centers: Mapping[str, float], rank: Mapping[str, int]) -> Edge:
    first, top = rank[chain[0]], [(round(centers[chain[0]], 1), _top(rank[chain[0]]) + HEIGHT)]
    bends = [
        (round(centers[name], 1), _top(first + index) + height)
        for index, name in enumerate(chain[1:-1], 1)
        for height in ((0.0, HEIGHT) if len(chain) == 3 else (HEIGHT / 2,))  # noqa: PLR2004 - a single bend
    ]
    end = (round(centers[chain[-1]], 1), _top(rank[chain[-1]]))
    return Edge(start=chain[0], end=chain[-1], points=(*top, *bends, end))
