"""Stale files below .build: made from other locks than those of the checkout.

The name of a generated file ends in a digest of its locks, so files of other locks stay beside it until they are old.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, integrity, state
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks import os_lock, python_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.plan import layer_split
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import binaries, oci_layout, os_packages, root_images, toolchains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_layers import PythonLayer

ROOT_RECORDS = f"{state.ROOT_IMAGES}/*-*.json"
"""Pattern of the records of root images."""
GENERATED = (
    *(f"{folder}/*-*" for folder in (state.LAYER_PINS, state.BINARIES, state.OS_PACKAGES, state.TOOLCHAINS)),
    ROOT_RECORDS,
    f"{ROOT_RECORDS}{integrity.SUFFIX}",
)
"""Patterns of the files whose names end in a digest of their locks."""
SIZES = f"{state.SIZES}/*.json"
"""Pattern of the cached sizes of images: a deleted size is measured again."""
OLD_SECONDS = 7 * 24 * 3600
"""Younger files may be needed by another branch; the engine's cache has the same limit (clean.UNUSED)."""


def stale_paths(catalogue: Catalogue, now: float) -> tuple[Path, ...]:
    """Return the files that are older than a week and that no current lock names; `now` is in seconds since 1970."""
    folder, locked = catalogue.folder, frozenset(locked_paths(catalogue))
    current = locked | {integrity.seal_path(path) for path in locked}
    stale = [
        path
        for pattern in (*GENERATED, SIZES)
        for path in sorted(folder.glob(pattern))
        if path not in current and now - path.lstat().st_mtime > OLD_SECONDS
    ]
    store = oci_layout.layout(folder)
    records = [path for path in stale if path.parent == store and path.suffix != integrity.SUFFIX]
    others = set(folder.glob(ROOT_RECORDS)) - set(records)
    return (*stale, *sorted(set(_blobs(store, records)) - set(_blobs(store, others))))


def locked_paths(catalogue: Catalogue) -> Iterator[Path]:
    """Yield the paths that the current locks name, whether they exist or not."""
    folder = catalogue.folder
    yield from _layer_pins(catalogue)
    for bases in catalogue.bases.values():
        yield binaries.folder_of(folder, bases, catalogue.pins)
        yield from (os_packages.folder_of(folder, bases, name) for name in (*bases.extended_roots, *bases.packages))
        yield from (toolchains.folder_of(folder, bases, catalogue.pins, name) for name in bases.toolchains)
        yield from _root_records(catalogue, bases)


def _layer_pins(catalogue: Catalogue) -> Iterator[Path]:
    texts: dict[tuple[PythonLayer, str], dict[Platform, str]] = {}
    for lock in python_lock.locks(catalogue):
        text = file_reader.cached_text(catalogue.folder / lock.path)
        if text is not None:
            by_platform = texts.setdefault((lock.layer, lock.target.bases), {})
            by_platform[lock.target.platform] = text
    for (layer, bases), by_platform in texts.items():
        split = layer_split.split_for(catalogue, layer)
        for count in range(1, len(by_platform) + 1):
            for platforms in combinations(by_platform, count):
                selected = {platform: by_platform[platform] for platform in platforms}
                yield layer_split.folder_of(catalogue.folder, bases, split, selected)


def _root_records(catalogue: Catalogue, bases: Bases) -> Iterator[Path]:
    for role, platform in product(bases.bootstrapped_roots, Platform):
        lock = OsLock(bases=bases, role=role, platform=platform)
        try:
            packages = os_lock.read(lock, catalogue.folder)
        except LockError:
            continue  # no root image is made from a missing or stale lock
        yield root_images.record_path(catalogue.folder, lock, packages, catalogue.pins.epoch)


def _blobs(store: Path, records: Iterable[Path]) -> Iterator[Path]:
    """Yield the files in the layout of the root images with these records."""
    for record in records:
        yield from root_images.files(store, record)
