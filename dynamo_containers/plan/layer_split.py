"""Split of a layer of Python packages into image layers, none of which is huge.

The pieces stand in containers/images.toml; what no pattern names is the last one, `rest`. Each piece is a file of pins
for every platform, below .build/pieces, in a folder whose name says what it was cut from: a step whose piece did not
change is not done again, whatever else moved in the lock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import REST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.facts.locks.python_layers import PythonLayer
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
    unwritten: Mapping[str, str] = field(default_factory=dict, compare=False)
    """File of `folder` -> its pins, where the folder does not exist yet (prepare/layer_pins.py)."""


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


def cut_of(catalogue: Catalogue, layer: PythonLayer) -> Cut:
    """Return how a layer is cut."""
    if layer.shared:
        return Cut(layer=layer.name, pieces=catalogue.common_layers[layer.name].package_layers, indexes={}, compiled={})
    if layer.image is None:
        return Cut(layer=layer.name, pieces={}, indexes={}, compiled={})
    image = catalogue.images[layer.image]
    main = layer.image == layer.name
    # Its other forms too: what has an index of its own comes from there, whichever of its locks has it.
    own = {name: catalogue.indexes[name] for name in image.indexes}
    return Cut(
        layer=layer.name,
        pieces={**{name: index.packages for name, index in own.items()}, **(image.package_layers if main else {})},
        indexes={name: index.url for name, index in own.items()},
        compiled=image.compile_from_source if main else {},
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


def installed(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Return the pieces that are layers of an image."""
    return tuple(piece for piece in pieces if piece.name != COMPILED)


def compiled(pieces: Iterable[Piece]) -> Piece:
    """Return the pins of what the backend stage compiles; its files may be empty."""
    return next(piece for piece in pieces if piece.name == COMPILED)


def compiles(image: Image, platforms: Iterable[Platform]) -> bool:
    """Say whether anything is compiled for an image on some of these platforms."""
    return any(image.compile_from_source.get(platform) for platform in platforms)
