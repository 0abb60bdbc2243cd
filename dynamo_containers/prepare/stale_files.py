"""Files below .build whose locks are no longer those of the checkout.

The name of what is generated ends in what it was made from, so that of other locks stays beside it until it is old.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

from dynamo_containers import state
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
)
"""Patterns of the files whose names end in a digest of their locks."""
SIZES = f"{state.SIZES}/*.json"
"""Sizes of images by their digest (inspect/sizes/cache.py): what is asked for again is measured again."""
OLD_SECONDS = 7 * 24 * 3600
"""What is younger may be wanted again by another branch: as for the engine's cache (clean.UNUSED)."""


def paths(catalogue: Catalogue, now: float) -> tuple[Path, ...]:
    """Return what is older than a week and no present lock names, given the present in seconds since 1970."""
    folder, present = catalogue.folder, frozenset(named(catalogue))
    found = [
        path
        for pattern in (*GENERATED, SIZES)
        for path in sorted(folder.glob(pattern))
        if path not in present and now - path.lstat().st_mtime > OLD_SECONDS
    ]
    store = oci_layout.layout(folder)
    records = [path for path in found if path.parent == store]
    others = set(folder.glob(ROOT_RECORDS)) - set(records)
    return (*found, *sorted(set(_blobs(store, records)) - set(_blobs(store, others))))


def named(catalogue: Catalogue) -> Iterator[Path]:
    """Return what the present locks name, whether it is there or not."""
    folder = catalogue.folder
    yield from _pieces(catalogue)
    for bases in catalogue.bases.values():
        yield binaries.folder_of(folder, bases, catalogue.pins)
        yield from (os_packages.folder_of(folder, bases, name) for name in (*bases.extended_roots, *bases.packages))
        yield from (toolchains.folder_of(folder, bases, catalogue.pins, name) for name in bases.toolchains)
        yield from _roots(catalogue, bases)


def _pieces(catalogue: Catalogue) -> Iterator[Path]:
    texts: dict[tuple[PythonLayer, str], dict[Platform, str]] = {}
    for lock in python_lock.locks(catalogue):
        file = catalogue.folder / lock.path
        if file.is_file():
            of = texts.setdefault((lock.layer, lock.target.bases), {})
            of[lock.target.platform] = file.read_text(encoding="utf-8")
    for (layer, bases), each in texts.items():
        how = layer_split.split_for(catalogue, layer)
        for some in (some for count in range(1, len(each) + 1) for some in combinations(each, count)):
            wanted = {platform: each[platform] for platform in some}
            yield layer_split.folder_of(catalogue.folder, bases, how, wanted)


def _roots(catalogue: Catalogue, bases: Bases) -> Iterator[Path]:
    for lock in (
        OsLock(bases=bases, role=role, platform=each) for role in bases.bootstrapped_roots for each in Platform
    ):
        try:
            packages = os_lock.read(lock, catalogue.folder)
        except LockError:
            continue  # nothing is made of a lock that is missing or stale
        yield root_images.record_of(catalogue.folder, lock, packages, catalogue.pins.epoch)


def _blobs(store: Path, records: Iterable[Path]) -> Iterator[Path]:
    """Return the files of the root images of some records."""
    for record in records:
        manifest = oci_layout.blob(store, json.loads(record.read_text(encoding="utf-8"))["digest"])
        if manifest.is_file():
            said = json.loads(manifest.read_text(encoding="utf-8"))
            parts = (said["config"], *said["layers"])
            yield from (manifest, *(oci_layout.blob(store, each["digest"]) for each in parts))
