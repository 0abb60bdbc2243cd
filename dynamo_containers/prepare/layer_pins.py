"""Pins of image layers: the split of a layer of Python packages, written as a file per image layer and platform."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, integrity
from dynamo_containers.facts.catalogue import REST
from dynamo_containers.plan import layer_split
from dynamo_containers.plan.layer_split import COMPILED, PackageLayer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.plan.layer_split import LayerSplit
    from dynamo_containers.platforms import Platform


def split(folder: Path, bases: str, rows: LayerSplit, texts: Mapping[Platform, str]) -> tuple[PackageLayer, ...]:
    """Return the image layers of a layer of Python packages, lowest first, and `compiled` last. Nothing is written.

    Args:
        folder: the checkout.
        bases: the name of the bases.
        rows: the rows of images.toml that split the layer.
        texts: platform -> the text of its lock.
    """
    pins_folder = layer_split.folder_of(folder, bases, rows, texts)
    if integrity.is_sealed(pins_folder):
        files: dict[str, dict[str, str]] = {path.name: {} for path in pins_folder.iterdir()}
    else:
        files = _files(rows, texts)
    return tuple(
        PackageLayer(
            name=name,
            target=f"{rows.layer}-{name}" if rows.patterns else rows.layer,
            folder=pins_folder / name,
            index=rows.indexes.get(name, ""),
            unwritten=files[name],
        )
        for name in (*rows.patterns, REST, COMPILED)
        if name in files
    )


def _files(rows: LayerSplit, texts: Mapping[Platform, str]) -> dict[str, dict[str, str]]:
    """Return image layer -> file -> pins, with a file for every platform; a file may be empty."""
    pins = {platform: layer_split.split_pins(text, rows, platform) for platform, text in texts.items()}
    names = dict.fromkeys((COMPILED, *(name for layers in pins.values() for name in layers)))
    return {name: {f"{platform.arch}.txt": layers.get(name, "") for platform, layers in pins.items()} for name in names}


def read(layer: PackageLayer, platform: Platform) -> str:
    """Return the pins of an image layer for a platform, from its file or as they will be written."""
    name = f"{platform.arch}.txt"
    return layer.unwritten[name] if layer.unwritten else file_reader.read_text(layer.folder / name)


def ensure(layers: Iterable[PackageLayer]) -> None:
    """Write the files of image layers that do not exist or were changed, all image layers of a layer at once."""
    folders: dict[Path, list[PackageLayer]] = {}
    for layer in layers:
        if layer.unwritten:
            folders.setdefault(layer.folder.parent, []).append(layer)
    for folder, unwritten in folders.items():
        integrity.provide(folder, partial(_write, unwritten))


def _write(layers: Iterable[PackageLayer], folder: Path) -> None:
    for layer in layers:
        (folder / layer.name).mkdir()
        for name, pins in layer.unwritten.items():
            (folder / layer.name / name).write_text(pins, encoding="utf-8")
