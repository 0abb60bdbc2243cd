"""Pins of image layers: a layer of Python packages is split, and each part written for its install step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import REST
from dynamo_containers.plan import layer_split
from dynamo_containers.plan.layer_split import COMPILED, PackageLayer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.plan.layer_split import LayerSplit
    from dynamo_containers.platforms import Platform


def split(folder: Path, bases: str, cut: LayerSplit, texts: Mapping[Platform, str]) -> tuple[PackageLayer, ...]:
    """Return the parts of a layer from below, and `compiled` last; nothing is written.

    Args:
        folder: the checkout.
        bases: the name of the bases.
        cut: how the layer is cut.
        texts: platform -> the text of its lock.
    """
    place = layer_split.folder_of(folder, bases, cut, texts)
    files = _files(cut, texts) if not place.is_dir() else {part.name: {} for part in place.iterdir()}
    return tuple(
        PackageLayer(
            name=name,
            target=f"{cut.layer}-{name}" if cut.patterns else cut.layer,
            folder=place / name,
            index=cut.indexes.get(name, ""),
            unwritten=files[name],
        )
        for name in (*cut.patterns, REST, COMPILED)
        if name in files
    )


def _files(cut: LayerSplit, texts: Mapping[Platform, str]) -> dict[str, dict[str, str]]:
    """Return part -> file -> pins, a file for every platform: a part may be empty on one of them, or on all."""
    pins = {platform: layer_split.split_pins(text, cut, platform) for platform, text in texts.items()}
    names = dict.fromkeys((COMPILED, *(name for parts in pins.values() for name in parts)))
    return {name: {f"{platform.arch}.txt": parts.get(name, "") for platform, parts in pins.items()} for name in names}


def text(part: PackageLayer, platform: Platform) -> str:
    """Return the pins of a part for a platform, whether they are written yet or not."""
    name = f"{platform.arch}.txt"
    return part.unwritten[name] if part.unwritten else (part.folder / name).read_text(encoding="utf-8")


def ensure(parts: Iterable[PackageLayer]) -> None:
    """Write the files of parts that are not there yet, all parts of a layer at once."""
    layers: dict[Path, list[PackageLayer]] = {}
    for part in parts:
        if part.unwritten:
            layers.setdefault(part.folder.parent, []).append(part)
    for place, unwritten in layers.items():
        if not place.is_dir():
            _write(place, unwritten)


def _write(place: Path, parts: Iterable[PackageLayer]) -> None:
    from tempfile import TemporaryDirectory

    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent) as scratch:
        layer = Path(scratch) / "layer"
        for part in parts:
            (layer / part.name).mkdir(parents=True)
            for name, pins in part.unwritten.items():
                (layer / part.name / name).write_text(pins, encoding="utf-8")
        try:
            layer.rename(place)
        except OSError:
            if not place.is_dir():  # else another build has just made the same
                raise
