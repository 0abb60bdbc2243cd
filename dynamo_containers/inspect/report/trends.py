"""Sizes of images over time, and what two images share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.inspect.report.record import Image, Report
    from dynamo_containers.inspect.sizes.manifest import ImageSize, Layer


LEAST = 10**6
"""Compressed bytes below which nobody calls two images related: an empty folder is the same layer in all."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What an image weighed, from a moment on."""

    moment: float
    """In seconds since 1970."""
    packed: int
    revision: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images of which some layers are the same."""

    one: str
    other: str
    shared: tuple[Layer, ...]
    only_one: int
    """Compressed bytes."""
    only_other: int

    @property
    def both(self) -> int:
        """Return the compressed bytes of what is the same."""
        return sum(layer.packed for layer in self.shared)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An image as it was measured last."""

    image: Image
    size: ImageSize
    stage: str
    below: str
    """Bases and platform: images that differ in them share nothing."""


def last(reports: Iterable[Report]) -> dict[str, Measured]:
    """Return name -> the image as it was measured last; the reports come from the oldest on."""
    return {
        image.name: Measured(
            image=image,
            size=image.size,
            stage=image.stage,
            below=f"{report.asked.bases} {' '.join(report.asked.platforms)}",
        )
        for report in reports
        for image in report.images
        if image.size
    }


def history(reports: Iterable[Report]) -> dict[str, tuple[Point, ...]]:
    """Return name -> what the image weighed over time; builds that made the same bytes again are one point."""
    found: dict[str, list[tuple[str, Point]]] = {}
    for report in reports:
        for image in report.images:
            points = found.setdefault(image.name, [])
            if image.size and not (points and points[-1][0] == image.digest):
                point = Point(moment=report.started, packed=image.size.packed, revision=report.asked.revision)
                points.append((image.digest, point))
    return {name: tuple(point for _, point in points) for name, points in found.items() if points}


def pairs(images: Mapping[str, Measured]) -> tuple[Pair, ...]:
    """Return the pairs that share layers: those of one stage first, and those with most in common."""
    every = combinations(images.values(), 2)
    found = [(one.stage != other.stage, _pair(one, other)) for one, other in every if one.below == other.below]
    kept = [(unlike, pair) for unlike, pair in found if pair.both >= LEAST]
    return tuple(pair for _, pair in sorted(kept, key=lambda each: (each[0], -each[1].both)))


def _pair(one: Measured, other: Measured) -> Pair:
    mine, theirs = one.size, other.size
    contents, others = {layer.content for layer in mine.layers}, {layer.content for layer in theirs.layers}
    return Pair(
        one=one.image.name,
        other=other.image.name,
        shared=tuple(layer for layer in mine.layers if layer.content in others),
        only_one=_packed(layer for layer in mine.layers if layer.content not in others),
        only_other=_packed(layer for layer in theirs.layers if layer.content not in contents),
    )


def _packed(layers: Iterable[Layer]) -> int:
    return sum(layer.packed for layer in layers)


def shared_with(name: str, pairs: Sequence[Pair]) -> dict[str, tuple[str, ...]]:
    """Return content digest of a layer of an image -> the other images that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        if name in {pair.one, pair.other}:
            other = pair.other if name == pair.one else pair.one
            for layer in pair.shared:
                found[layer.content] = (*found.get(layer.content, ()), other)
    return found
