"""Pool of locked .debs, for builds when no mirror has their versions any more.

The folder has the layout of the archives, so a web server can serve it as a mirror.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, integrity, process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import PackagePin
from dynamo_containers.prepare import binaries
from dynamo_containers.result import Result
from dynamo_containers.upstream import deb_origins

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.upstream.deb_origins import File


@dataclass(frozen=True, kw_only=True)
class PoolCopy:
    """Result of `invoke lock --keep-pool`."""

    folder: str
    """Absolute path of the pool."""
    packages: int
    """Number of locked packages in it."""


def copy_packages(catalogue: Catalogue, locks: Iterable[OsLock], pool: Path) -> Result:
    """Copy every locked .deb, also those of the binaries, into a folder.

    Raises:
        LockError: a lock is missing or stale, or no source has a package any more; the message names them.
        DownloadError: a package could not be downloaded, or is not the locked one.
    """
    folder, locks = catalogue.folder, tuple(locks)
    gone: list[str] = []
    copies: set[Path] = set()
    for lock in locks:
        packages = os_lock.read(lock, folder)
        missing = deb_origins.fetch_all(folder, lock.package_sources, packages, os_lock.locked_at(lock, folder))
        gone += [package.path for package in missing]
        copies |= {_copy(folder, package, pool) for package in packages if package not in missing}
    targets = {(lock.bases.name, lock.platform): (lock.bases, lock.platform) for lock in locks}
    for bases, platform in targets.values():
        pins = binaries.pins_for(catalogue.pins, bases, platform).values()
        for pin in (pin for pin in pins if isinstance(pin, PackagePin)):  # a release archive is not a .deb
            if deb_origins.fetch_all(folder, bases, (pin,), pin.locked):
                gone.append(pin.path)
            else:
                copies.add(_copy(folder, pin, pool))
    if gone:
        names = ", ".join(sorted(set(gone)))
        message = (
            f"No source has these packages any more: {names}.\nThe other {len(copies)} packages are in {pool}. "
            "Lock the current versions first, then run this again: invoke lock --only os --only archives"
        )
        raise LockError(message)
    text = f"{pool} has every locked package: {len(copies)}."
    return Result(text=text, data=PoolCopy(folder=str(pool), packages=len(copies)))


def _copy(folder: Path, file: File, pool: Path) -> Path:
    target = pool / file.archive / file.path
    if not integrity.has_content(target, file.sha256):
        with process.replace_file(target) as copy:
            copy.write(file_reader.read_bytes(deb_origins.store_path(folder, file)))
    return target
