"""Pool of locked .debs, from which locks can be built when no mirror has their versions.

The folder has the layout of the archives themselves, so it is of use behind a web server too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import Pin
from dynamo_containers.prepare import programs
from dynamo_containers.upstream import deb_origins

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.upstream.deb_origins import File


def keep(catalogue: Catalogue, locks: Iterable[OsLock], pool: Path) -> str:
    """Copy every locked .deb, those of the programs included, into a folder; say how many there are.

    Raises:
        LockError: a lock is missing or stale, or no source has a package any more; the message names them.
        DownloadError: a package could not be fetched, or is not the locked one.
    """
    folder, wanted = catalogue.folder, tuple(locks)
    gone: list[str] = []
    kept: set[Path] = set()
    for lock in wanted:
        packages = os_lock.read(lock, folder)
        missing = deb_origins.fetch_all(folder, lock.asked, packages, os_lock.moment_of(lock, folder))
        gone += [package.path for package in missing]
        kept |= {_keep(folder, package, pool) for package in packages if package not in missing}
    for bases, platform in {(lock.bases.name, lock.platform): (lock.bases, lock.platform) for lock in wanted}.values():
        pins = programs.pinned(catalogue.pins, bases, platform).values()
        for pin in (each for each in pins if isinstance(each, Pin)):  # a pool is of .debs
            if deb_origins.fetch_all(folder, bases, (pin,), pin.locked):
                gone.append(pin.path)
            else:
                kept.add(_keep(folder, pin, pool))
    if gone:
        names = ", ".join(sorted(set(gone)))
        message = (
            f"No source has these any more: {names}.\nThe other {len(kept)} packages are in {pool}. "
            "Lock the current versions, then keep them: invoke lock --only os --only archives"
        )
        raise LockError(message)
    return f"{pool} has every locked package: {len(kept)}."


def _keep(folder: Path, file: File, pool: Path) -> Path:
    target = pool / file.archive / file.path
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != file.sha256:
        with process.replace_file(target) as copy:
            copy.write(deb_origins.stored(folder, file).read_bytes())
    return target
