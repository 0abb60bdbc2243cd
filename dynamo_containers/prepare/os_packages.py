"""Folders of OS packages, one per set and architecture, ready to be installed in one layer.

Exactly the packages in the folder are installed: install-debs (containers/os-packages) and install-rpms
(containers/os-rpms) resolve no dependencies.
"""

from __future__ import annotations

import hashlib
from shutil import copyfile
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, integrity, process, state
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import drift

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package

RENEWS = "renews"
"""The file beside the .debs that lists the packages that may replace other versions in the root image."""
RECORD = "drift"
"""The file beside the .debs that lists the drift: these packages may replace other versions as well."""


def folder_of(folder: Path, bases: Bases, name: str) -> Path:
    """Return the folder of a set, with a folder per architecture; its name has a digest of the locks."""
    digest = hashlib.sha256()
    for lock in (os_lock.lock_of(bases, name, platform) for platform in Platform):
        # The lock of the root image as well: the replacement of a missing version depends on its packages.
        for path in (folder / lock.file, folder / lock.root_lock.file):
            digest.update(file_reader.read_bytes(path) if path.is_file() else b"")
            digest.update(b"\0")
    return folder / state.OS_PACKAGES / f"{bases.name}-{name}-{digest.hexdigest()[:16]}"


def is_ready(folder: Path, bases: Bases, name: str, platform: Platform) -> bool:
    """Return whether the packages of a set exist for a platform, as they were laid out."""
    return integrity.is_sealed(folder_of(folder, bases, name) / platform.arch)


def ensure(folder: Path, bases: Bases, name: str, platform: Platform) -> tuple[os_lock.Drift, ...]:
    """Provide the packages of a set for a platform, and return their drift.

    Raises:
        LockError: the lock is missing or stale, or (strict bases) no source has a locked version any more.
        DownloadError: a package could not be fetched or is not the locked one.
    """
    lock = os_lock.lock_of(bases, name, platform)
    locked = os_lock.read(lock, folder)
    target = folder_of(folder, bases, name) / platform.arch
    if not integrity.is_sealed(target):
        from dynamo_containers.prepare import bootstrap

        packages = bootstrap.fetch(folder, lock, locked)
        drifted = _drifted(folder, lock, locked, packages)
        integrity.provide(target, lambda partial: _lay_out(folder, lock, packages, drifted, partial))
    return drift.read(target / RECORD)


def _drifted(
    folder: Path, lock: OsLock, locked: tuple[Package, ...], used: tuple[Package, ...]
) -> tuple[os_lock.Drift, ...]:
    """Return the drift from the locks of the set and of its root image."""
    if used == locked:
        return ()
    names = {package.name for package in used}
    root_packages = tuple(package for package in os_lock.read(lock.root_lock, folder) if package.name in names)
    return os_lock.drifts((*root_packages, *locked), used)


def _lay_out(
    folder: Path, lock: OsLock, packages: tuple[Package, ...], drifted: tuple[os_lock.Drift, ...], partial: Path
) -> None:
    from dynamo_containers.upstream import deb_origins

    kind = "rpm" if lock.repositories else "deb"
    for package in packages:
        # A copy: a link would change whenever the store or another set links the same file, and the seal with it.
        copyfile(deb_origins.store_path(folder, package), partial / f"{package.name}.{kind}")
    # A lock on a registry's image was resolved with the packages of that image. It has a newer version of one of them
    # only if other packages need that version.
    if lock.image and not lock.repositories:
        names = "".join(f"{package.name}\n" for package in packages)
        process.write(process.Document(path=partial / RENEWS, text=names))
    process.write(drift.document(partial / RECORD, drifted))
