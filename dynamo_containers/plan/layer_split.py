"""Split of a layer of Python packages into image layers, none of which is huge.

containers/images.toml names the image layers; packages that no pattern matches are in the last one, `rest`. Each image
layer has a file of pins per platform, below .build/pieces, in a folder that is named by a digest of its origin. So an
image layer whose pins did not change is not rebuilt, whatever else changed in the lock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.facts.catalogue import REST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.facts.locks.python_layers import PythonLayer
    from dynamo_containers.platforms import Platform

COMPILED = "compiled"
"""The pins of the packages that the backend stage compiles; no image layer is installed from them."""


@dataclass(frozen=True, kw_only=True)
class PackageLayer:
    """One image layer of Python packages."""

    name: str
    target: str
    """Its target in the build graph: named as the layer, or as the layer and the image layer where it is split."""
    folder: Path
    """The folder with the pins of each platform in `<arch>.txt`."""
    index: str = ""
    """The address of the only index that has them ('' for the machine's own)."""
    unwritten: Mapping[str, str] = field(default_factory=dict, compare=False)
    """File of `folder` -> its pins, where the folder does not exist yet (prepare/layer_pins.py)."""


@dataclass(frozen=True, kw_only=True)
class LayerSplit:
    """The rows of images.toml that split a layer, for some platforms."""

    layer: str
    patterns: Mapping[str, tuple[str, ...]]
    """Image layer -> patterns of the packages in it; the first match decides."""
    indexes: Mapping[str, str]
    """Image layer -> address of the only index that its packages come from."""
    compiled: Mapping[Platform, tuple[str, ...]]
    """Packages that are compiled for a platform, and so are in none of its image layers."""


def split_for(catalogue: Catalogue, layer: PythonLayer) -> LayerSplit:
    """Return how a layer is split."""
    if layer.shared:
        patterns = catalogue.common_layers[layer.name].package_layers
        return LayerSplit(layer=layer.name, patterns=patterns, indexes={}, compiled={})
    if layer.image is None:
        return LayerSplit(layer=layer.name, patterns={}, indexes={}, compiled={})
    image = catalogue.images[layer.image]
    main = layer.image == layer.name
    # The locks of its other stages too: a package with its own index comes from there, whichever lock has it.
    own = {name: catalogue.indexes[name] for name in image.indexes}
    return LayerSplit(
        layer=layer.name,
        patterns={**{name: index.packages for name, index in own.items()}, **(image.package_layers if main else {})},
        indexes={name: index.url for name, index in own.items()},
        compiled=image.compile_from_source if main else {},
    )


def layer_of(package: str, patterns: Mapping[str, tuple[str, ...]]) -> str:
    """Return the image layer that a package is in."""
    matches = (name for name, globs in patterns.items() if any(fnmatchcase(package, glob) for glob in globs))
    return next(matches, REST)


def split_pins(text: str, split: LayerSplit, platform: Platform) -> dict[str, str]:
    """Return image layer -> its pins, from the text of a lock; an image layer without packages is absent."""
    from dynamo_containers.facts.locks import python_common  # only a new lock needs it; builds without one start faster

    compiled = split.compiled.get(platform, ())
    pins: dict[str, list[str]] = {}
    for package, entry in python_common.parse(text).entries.items():
        name = COMPILED if package in compiled else layer_of(package, split.patterns)
        pins.setdefault(name, []).append("\n".join(entry.pin) + "\n")
    return {name: "".join(lines) for name, lines in pins.items()}


def folder_of(folder: Path, bases: str, split: LayerSplit, texts: Mapping[Platform, str]) -> Path:
    """Return the folder of a layer's pins for some platforms, below the checkout `folder`."""
    compiled = {platform.value: split.compiled.get(platform, ()) for platform in texts}
    content = [repr(split.patterns), repr(compiled), *texts.values()]
    key = hashlib.sha256("\n".join(content).encode()).hexdigest()
    architectures = "-".join(platform.arch for platform in texts)
    return folder / state.LAYER_PINS / f"{split.layer}-{bases}-{architectures}-{key[:16]}"


def installed_layers(package_layers: Iterable[PackageLayer]) -> tuple[PackageLayer, ...]:
    """Return those that are layers of an image."""
    return tuple(layer for layer in package_layers if layer.name != COMPILED)


def compiled_layer(package_layers: Iterable[PackageLayer]) -> PackageLayer:
    """Return the pins of the packages that the backend stage compiles; its files may be empty."""
    return next(layer for layer in package_layers if layer.name == COMPILED)


def compiles(image: Image, platforms: Iterable[Platform]) -> bool:
    """Return whether a package of an image is compiled for one of these platforms."""
    return any(image.compile_from_source.get(platform) for platform in platforms)
