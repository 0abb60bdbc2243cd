"""Pins of image layers: a layer of Python packages is split, and each part written for its install step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import REST
from dynamo_containers.plan import layer_split
from dynamo_containers.plan.layer_split import COMPILED, Piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.plan.layer_split import Cut
    from dynamo_containers.platforms import Platform


def ensure(folder: Path, bases: str, how: Cut, texts: Mapping[Platform, str]) -> tuple[Piece, ...]:
    """Cut a layer unless that was done before; return its pieces from below, and `compiled` last.

    Args:
        folder: the checkout.
        bases: the name of the bases.
        how: how the layer is cut.
        texts: platform -> the text of its lock.
    """
    place = layer_split.folder_of(folder, bases, how, texts)
    if not place.is_dir():
        _write(place, {platform: layer_split.cut(text, how, platform) for platform, text in texts.items()})
    there = {each.name for each in place.iterdir()}
    order = (*how.pieces, REST, COMPILED)
    return tuple(
        Piece(
            name=name,
            target=f"{how.layer}-{name}" if how.pieces else how.layer,
            folder=place / name,
            index=how.indexes.get(name, ""),
        )
        for name in order
        if name in there
    )


def _write(place: Path, cuts: Mapping[Platform, Mapping[str, str]]) -> None:
    """Write the files of all pieces, each for every platform: a piece may be empty on one of them, or on all."""
    from tempfile import TemporaryDirectory

    names = {COMPILED, *(name for pieces in cuts.values() for name in pieces)}
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "made"
        for name in names:
            (made / name).mkdir(parents=True)
            for platform, pieces in cuts.items():
                (made / name / f"{platform.arch}.txt").write_text(pieces.get(name, ""), encoding="utf-8")
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():  # else another build has just made the same
                raise
