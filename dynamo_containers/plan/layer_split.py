"""Into which image layers is a layer of Python packages cut? So that none is huge, and a pull runs in parallel.

The pieces stand in containers/images.toml; what no pattern names is the last one, `rest`. Each piece is a file of pins
for every platform, below .build/pieces, in a folder whose name says what it was cut from: a step whose piece did not
change is not done again, whatever else moved in the lock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import REST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.facts.locks.python_layers import Layer
    from dynamo_containers.platforms import Platform

COMPILED = "compiled"
"""The pins of what is compiled in the backend stage; no layer is installed from them."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One image layer of Python packages."""

    name: str
    target: str
    """What its step is called in the build graph: as the layer, or as the layer and the piece where it is cut."""
    folder: Path
    """Where `<arch>.txt` of each platform has its pins."""
    index: str = ""
    """The address of the only index that has them ('' for the machine's own)."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a layer is cut: what stands in images.toml, for some platforms."""

    layer: str
    pieces: Mapping[str, tuple[str, ...]]
    """Piece -> patterns of the packages in it; the first that fits has it."""
    indexes: Mapping[str, str]
    """Piece -> address of an index that it alone is taken from."""
    compiled: Mapping[Platform, tuple[str, ...]]
    """Packages that are compiled for a platform, and so are in no piece of it."""


def cut_of(catalogue: Catalogue, layer: Layer) -> Cut:
    """Return how a layer is cut."""
    if layer.shared:
        return Cut(layer=layer.name, pieces=catalogue.shared[layer.name].pieces, indexes={}, compiled={})
    if layer.image is None:
        return Cut(layer=layer.name, pieces={}, indexes={}, compiled={})
    image = catalogue.images[layer.image]
    main = layer.image == layer.name
    # Its other forms too: what has an index of its own comes from there, whichever of its locks has it.
    own = {name: catalogue.indexes[name] for name in image.indexes}
    return Cut(
        layer=layer.name,
        pieces={**{name: index.packages for name, index in own.items()}, **(image.pieces if main else {})},
        indexes={name: index.url for name, index in own.items()},
        compiled=image.compiles if main else {},
    )


def piece_of(name: str, pieces: Mapping[str, tuple[str, ...]]) -> str:
    """Return the piece that a package is in."""
    fits = (piece for piece, patterns in pieces.items() if any(fnmatchcase(name, each) for each in patterns))
    return next(fits, REST)


def cut(text: str, how: Cut, platform: Platform) -> dict[str, str]:
    """Return piece -> its pins, out of the text of a lock; a piece that nothing is in is absent."""
    from dynamo_containers.facts.locks import python_common  # what only a new lock needs would make every no-op slower

    compiled = how.compiled.get(platform, ())
    found: dict[str, list[str]] = {}
    for name, entry in python_common.parse(text).entries.items():
        piece = COMPILED if name in compiled else piece_of(name, how.pieces)
        found.setdefault(piece, []).append("\n".join(entry.pin) + "\n")
    return {piece: "".join(pins) for piece, pins in found.items()}


def folder_of(folder: Path, bases: str, how: Cut, texts: Mapping[Platform, str]) -> Path:
    """Return where the pieces of a layer stand for some platforms, below the checkout `folder`."""
    compiled = {platform.value: how.compiled.get(platform, ()) for platform in texts}
    words = [repr(how.pieces), repr(compiled), *texts.values()]
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()
    architectures = "-".join(platform.arch for platform in texts)
    return folder / ".build" / "pieces" / f"{how.layer}-{bases}-{architectures}-{key[:16]}"


def ensure(folder: Path, bases: str, how: Cut, texts: Mapping[Platform, str]) -> tuple[Piece, ...]:
    """Cut a layer unless that was done before; return its pieces from below, and `compiled` last.

    Args:
        folder: the checkout.
        bases: the name of the bases.
        how: how the layer is cut.
        texts: platform -> the text of its lock.
    """
    place = folder_of(folder, bases, how, texts)
    if not place.is_dir():
        _write(place, {platform: cut(text, how, platform) for platform, text in texts.items()})
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


def installed(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Return the pieces that are layers of an image."""
    return tuple(piece for piece in pieces if piece.name != COMPILED)


def compiled(pieces: Iterable[Piece]) -> Piece:
    """Return the pins of what the backend stage compiles; its files may be empty."""
    return next(piece for piece in pieces if piece.name == COMPILED)


def compiles(image: Image, platforms: Iterable[Platform]) -> bool:
    """Say whether anything is compiled for an image on some of these platforms."""
    return any(image.compiles.get(platform) for platform in platforms)
