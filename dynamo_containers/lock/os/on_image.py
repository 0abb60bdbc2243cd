"""Locks of OS packages on root images of registries, from the distribution's own archive.

An image by digest and an archive at one moment decide these locks; nothing is bootstrapped from them, so a new one
leaves the epoch as it is. All locks on one image and platform are made from one reading, or none of them is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import CommandFailedError, DownloadError, LockError, UnreachableError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.lock.os import debian as os_debian
from dynamo_containers.lock.os import image_status
from dynamo_containers.lock.os import rpm as os_rpm
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.upstream import apt
from dynamo_containers.upstream.unreachable import AS_IT_WAS, NOT_LOCKED, Unreached

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import Pins

UNSIGNED = re.compile(
    r"is not signed|GPG error|signatures? (?:was|were|is) invalid|couldn't be verified", re.IGNORECASE
)
"""How apt says that an archive answered, and that nobody should believe it."""
REASON = re.compile(r"^\s*E: (?P<why>.+)$", re.MULTILINE)


def refresh(folder: Path, locks: Iterable[OsLock], pins: Pins) -> tuple[tuple[Move, ...], tuple[Unreached, ...]]:
    """Write the locks of what is installed on images of registries; return what moved, and what could not be asked.

    Raises:
        LockError: a registry says that there is no such image, or a repository that there is no such package.
        DownloadError: an archive or a package is not signed by the keys that the image trusts.
        CommandFailedError: the archive lacks a package, or the engine could not read an image.
    """
    families: dict[str, list[OsLock]] = {}
    for lock in locks:
        families.setdefault(lock.below.file, []).append(lock)
    moved: tuple[Move, ...] = ()
    missing: tuple[Unreached, ...] = ()
    for family in families.values():
        try:
            found = _resolved(folder, family, pins)
        except UnreachableError as error:
            missing += tuple(_unreached(folder, lock, str(error)) for lock in family)
        else:
            moved += tuple(move for lock in family for move in _written(folder, lock, found[lock.file], pins))
    return moved, missing


def _resolved(folder: Path, family: Iterable[OsLock], pins: Pins) -> dict[str, tuple[Package, ...]]:
    """Return what each lock on one image has to hold, by its file."""
    locks = tuple(family)
    root = locks[0].below
    progress.say(f"Locking {', '.join(lock.file for lock in locks)}")
    try:
        image_reference.digest(pins, root.bases, root.role, root.platform)
    except LockError as error:
        raise UnreachableError(str(error).replace("\n", " ")) from None
    if root.repositories:
        return os_rpm.resolved(folder, locks, pins)
    private = configured(folder, root, image_status.read(folder, root, pins))
    _update(private, root)
    below = apt.resolve(private, root.root.packages)
    everything = {lock.file: apt.resolve(private, (*lock.root.packages, *lock.added)) for lock in locks}
    return {lock.file: os_conflicts.only(lock, everything[lock.file], below) for lock in locks}


def configured(folder: Path, lock: OsLock, installed: image_status.Installed) -> apt.Apt:
    """Return a private apt in which a root image's packages are installed, with the archive of its bases."""
    archive, platform = lock.archive, lock.platform
    name, suite = archive.name(platform), lock.root.suite
    return apt.Apt(
        folder=folder / ".build" / "apt" / f"{name}-{suite}-{platform.arch}",  # lists that all such images share
        suite=suite,
        architecture=platform.arch,
        mirrors={name: mirrors.here().address(lock.origin)},
        status=installed.status,
        keyring=installed.keyring,
        suites=tuple((name, each) for each in archive.of(suite)),
        components=archive.components,
    )


def _update(private: apt.Apt, lock: OsLock) -> None:
    """Read the archive's lists; the same errors as `refresh`, and UnreachableError where it does not answer."""
    shown = mirrors.said(lock.origin, mirrors.here().address(lock.origin))
    try:
        apt.update(private)
    except CommandFailedError as error:
        said = str(error)
        if UNSIGNED.search(said):
            message = f"{shown} is not signed by the keys in {lock.image} ({lock.archive.keyring}):\n{said}"
            raise DownloadError(message) from None
        reasons = REASON.findall(said)
        message = f"{shown}: {reasons[0] if reasons else 'apt could not read it'}"
        raise UnreachableError(message) from None


def _written(folder: Path, lock: OsLock, after: tuple[Package, ...], pins: Pins) -> tuple[Move, ...]:
    before, stated = os_lock.known(lock, folder), os_lock.moment_of(lock, folder)
    moment = stated if stated and before == after else os_debian.moment()
    write_lock(lock, folder, after, moment, image_reference.digest(pins, lock.bases, lock.role, lock.platform))
    return os_debian.os_moves(lock, before, after)


def _unreached(folder: Path, lock: OsLock, why: str) -> Unreached:
    there = (folder / lock.file).is_file()
    return Unreached(
        what=lock.file, asked=f"{lock.image}, {lock.origin}", why=why, kept=AS_IT_WAS if there else NOT_LOCKED
    )
