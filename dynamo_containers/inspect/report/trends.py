"""Sizes of images over time, and what two images share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.inspect.report.record import BuildReport, RecordedImage
    from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer


LEAST = 10**6
"""Compressed bytes that two images must share to be compared: an empty folder is the same layer in all."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Size of an image from a moment on."""

    moment: float
    """In seconds since 1970."""
    packed: int
    revision: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images that share layers."""

    first: str
    second: str
    shared: tuple[MeasuredLayer, ...]
    only_first: int
    """Compressed bytes."""
    only_second: int
    """Compressed bytes."""

    @property
    def both(self) -> int:
        """Return the compressed bytes of the layers that both have."""
        return sum(layer.packed for layer in self.shared)


@dataclass(frozen=True, kw_only=True)
class MeasuredImage:
    """An image at its last measurement."""

    image: RecordedImage
    size: ImageSize
    stage: str
    bases: str
    """Bases and platforms: images that differ in them share nothing."""


def last(reports: Iterable[BuildReport]) -> dict[str, MeasuredImage]:
    """Return name -> the image at its last measurement; the reports are sorted from the oldest on."""
    return {
        image.name: MeasuredImage(
            image=image,
            size=image.size,
            stage=image.stage,
            bases=f"{report.request.bases} {' '.join(report.request.platforms)}",
        )
        for report in reports
        for image in report.images
        if image.size
    }


def history(reports: Iterable[BuildReport]) -> dict[str, tuple[Point, ...]]:
    """Return name -> sizes of the image over time; builds with the same bytes are a single point."""
    rows: dict[str, list[tuple[str, Point]]] = {}
    for report in reports:
        for image in report.images:
            points = rows.setdefault(image.name, [])
            if image.size and not (points and points[-1][0] == image.digest):
                point = Point(moment=report.started, packed=image.size.packed, revision=report.request.revision)
                points.append((image.digest, point))
    return {name: tuple(point for _, point in points) for name, points in rows.items() if points}


def pairs(images: Mapping[str, MeasuredImage]) -> tuple[Pair, ...]:
    """Return the pairs that share layers: pairs of one stage first, then by shared bytes."""
    rows = [
        (first.stage != second.stage, _pair(first, second))
        for first, second in combinations(images.values(), 2)
        if first.bases == second.bases
    ]
    related = [(differ, pair) for differ, pair in rows if pair.both >= LEAST]
    return tuple(pair for _, pair in sorted(related, key=lambda row: (row[0], -row[1].both)))


def _pair(first: MeasuredImage, second: MeasuredImage) -> Pair:
    first_contents, second_contents = ({layer.content for layer in image.size.layers} for image in (first, second))
    return Pair(
        first=first.image.name,
        second=second.image.name,
        shared=tuple(layer for layer in first.size.layers if layer.content in second_contents),
        only_first=_packed(layer for layer in first.size.layers if layer.content not in second_contents),
        only_second=_packed(layer for layer in second.size.layers if layer.content not in first_contents),
    )


def _packed(layers: Iterable[MeasuredLayer]) -> int:
    return sum(layer.packed for layer in layers)


def shared_with(name: str, pairs: Sequence[Pair]) -> dict[str, tuple[str, ...]]:
    """Return content digest of a layer of an image -> the other images that have it."""
    shared: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        if name in {pair.first, pair.second}:
            other = pair.second if name == pair.first else pair.first
            for layer in pair.shared:
                shared[layer.content] = (*shared.get(layer.content, ()), other)
    return shared
