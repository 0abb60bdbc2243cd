"""Layout of a drawn graph: rows of places and lines.

The usual way for graphs that have a direction (Sugiyama, Tagawa and Toda, 1981): a row for each distance from what
needs nothing, bends where a line passes a row, few crossings, and each step near what it is joined to.
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
"""Of a step, in the drawing's units."""
BESIDE, BETWEEN = 22.0, 38.0
"""How far steps stand apart in a row, and rows."""
BEND = 14.0
"""The width that a line takes where it passes a row."""
EDGE = 6.0
SWEEPS = 40
STRAIGHT = 12.0
"""How much more a line wants to go straight on where it passes rows than a step wants to be near another."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a step stands: its upper left corner."""

    name: str
    left: float
    top: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """From a step down to one that is built on it, by some points."""

    start: str
    end: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def layout(graph: Graph) -> Layout:
    """Lay a graph out: step -> the steps that it needs; a line that others imply is left out."""
    needs = reduced(graph)
    rank = _ranks(needs)
    rows, joined, chains = _with_bends(needs, rank)
    for sweep in range(SWEEPS):
        _order(rows, joined, down=sweep % 2 == 0)
    middle = _middles(rows, joined)
    height = EDGE * 2 + len(rows) * HEIGHT + max(0, len(rows) - 1) * BETWEEN
    width = max((middle[name] + _width(name) / 2 for row in rows for name in row), default=0.0) + EDGE
    boxes = tuple(Box(name=name, left=round(middle[name] - WIDTH / 2, 1), top=_top(rank[name])) for name in needs)
    lines = tuple(_line(chain, middle, rank) for chain in chains)
    return Layout(width=round(width, 1), height=round(height, 1), boxes=boxes, lines=lines)


def reduced(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the graph without what is implied: who needs a thing needs all below it."""
    below: dict[str, set[str]] = {}
    for name in in_order(graph):
        needed = [each for each in graph[name] if each in graph]
        below[name] = set(needed).union(*(below[each] for each in needed))
    return {
        name: tuple(
            each
            for each in graph[name]
            if each in graph and not any(each in below[other] for other in graph[name] if other in graph)
        )
        for name in in_order(graph)
    }


def _ranks(needs: Graph) -> dict[str, int]:
    """Return in which row each step is: below all that it needs."""
    rank: dict[str, int] = {}
    for name in needs:  # each after those that it needs
        rank[name] = max((rank[each] + 1 for each in needs[name]), default=0)
    return rank


def _with_bends(needs: Graph, rank: Mapping[str, int]) -> tuple[Rows, dict[str, list[str]], list[list[str]]]:
    """Return the rows with a bend for each row that a line passes, who is joined to whom, and the way of each line."""
    rows: Rows = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in needs:
        rows[rank[name]].append(name)
    joined: dict[str, list[str]] = {name: [] for name in needs}
    chains = []
    for name in needs:
        for each in needs[name]:
            chain = [each, *(f"{each}>{name}>{row}" for row in range(rank[each] + 1, rank[name])), name]
            for row, bend in enumerate(chain[1:-1], rank[each] + 1):
                rows[row].append(bend)
            for one, other in pairwise(chain):
                joined.setdefault(one, []).append(other)
                joined.setdefault(other, []).append(one)
            chains.append(chain)
    return rows, joined, chains


def _order(rows: Rows, joined: Mapping[str, Sequence[str]], *, down: bool) -> None:
    """Put each step of a row where those that it is joined to are, in the row before."""
    walk = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    for row in walk:
        before = {name: place for place, name in enumerate(rows[row - 1 if down else row + 1])}
        here = {name: place for place, name in enumerate(rows[row])}

        def wish(name: str, before: Mapping[str, int] = before, here: Mapping[str, int] = here) -> float:
            places = [before[each] for each in joined[name] if each in before]
            return sum(places) / len(places) if places else here[name]

        rows[row].sort(key=wish)


def _width(name: str) -> float:
    return BEND if ">" in name else WIDTH


def _middles(rows: Rows, joined: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the middle of everything: near what it is joined to, and in a row nothing over another."""
    middle: dict[str, float] = {}
    for row in rows:
        at = 0.0
        for name in row:
            middle[name] = at + _width(name) / 2
            at += _width(name) + BESIDE
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            middle |= dict(zip(row, _apart(row, [_wish(name, joined[name], middle) for name in row]), strict=True))
    least = min((middle[name] - _width(name) / 2 for row in rows for name in row), default=0.0)
    return {name: place - least + EDGE for name, place in middle.items()}


def _wish(name: str, others: Sequence[str], middle: Mapping[str, float]) -> float:
    """Return where something wants to be: in the middle of what it is joined to."""
    weights = [STRAIGHT if ">" in name and ">" in other else 1.0 for other in others]
    whole = sum(weights)
    places = (weight * middle[other] for weight, other in zip(weights, others, strict=True))
    return sum(places) / whole if whole else middle[name]


def _apart(row: Sequence[str], wishes: Sequence[float]) -> list[float]:
    """Return places as near to the wishes as the widths allow: between pushing all to the right and all to the left."""
    right, left = list(wishes), list(wishes)
    for place in range(1, len(row)):
        right[place] = max(right[place], right[place - 1] + _gap(row[place - 1], row[place]))
    for place in range(len(row) - 2, -1, -1):
        left[place] = min(left[place], left[place + 1] - _gap(row[place], row[place + 1]))
    return [(one + other) / 2 for one, other in zip(right, left, strict=True)]


def _gap(one: str, other: str) -> float:
    return (_width(one) + _width(other)) / 2 + BESIDE


def _top(rank: int) -> float:
    return EDGE + rank * (HEIGHT + BETWEEN)


def _line(chain: Sequence[str], middle: Mapping[str, float], rank: Mapping[str, int]) -> Line:
    first, top = rank[chain[0]], [(round(middle[chain[0]], 1), _top(rank[chain[0]]) + HEIGHT)]
    bends = [
        (round(middle[name], 1), _top(first + place) + at)
        for place, name in enumerate(chain[1:-1], 1)
        for at in ((0.0, HEIGHT) if len(chain) == 3 else (HEIGHT / 2,))  # noqa: PLR2004 - a single bend
    ]
    end = (round(middle[chain[-1]], 1), _top(rank[chain[-1]]))
    return Line(start=chain[0], end=chain[-1], points=(*top, *bends, end))
