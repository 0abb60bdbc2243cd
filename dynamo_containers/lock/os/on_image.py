"""Locks of OS packages on root images of registries, from the distribution's own archive.

An image digest and the archive at one moment decide these locks. Nothing is bootstrapped from them, so a new one does
not change the epoch. The locks on one image and platform are resolved together, or none of them is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dynamo_containers import progress, state
from dynamo_containers.errors import CommandFailedError, DownloadError, LockError, UnreachableError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.lock.os import debian, image_status, rpm
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.upstream import apt
from dynamo_containers.upstream.unreachable import AS_IT_WAS, NOT_LOCKED, UnreachableInput

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
"""Messages of apt about an archive that answered but whose signature is not trusted."""
APT_ERROR = re.compile(r"^\s*E: (?P<reason>.+)$", re.MULTILINE)


def update_locks(
    folder: Path, locks: Iterable[OsLock], pins: Pins, *, staged: Path
) -> tuple[tuple[Move, ...], tuple[UnreachableInput, ...]]:
    """Write locks of OS packages on images of registries; return what moved and what was unreachable.

    Args:
        folder: the checkout.
        locks: the locks.
        pins: the pins, also of the images.
        staged: the folder with the old locks, in which the new ones are written.

    Raises:
        LockError: a registry does not have an image, or a repository does not have a package.
        DownloadError: an archive or a package is not signed by the keys that the image trusts.
        CommandFailedError: the archive lacks a package, or the engine cannot read an image.
    """
    families: dict[str, list[OsLock]] = {}
    for lock in locks:
        families.setdefault(lock.root_lock.file, []).append(lock)
    moves: tuple[Move, ...] = ()
    unreachable: tuple[UnreachableInput, ...] = ()
    for family in families.values():
        try:
            resolved = _resolve(folder, family, pins)
        except UnreachableError as error:
            unreachable += tuple(_unreachable(folder, lock, str(error)) for lock in family)
        else:
            moves += tuple(move for lock in family for move in _write(staged, lock, resolved[lock.file], pins))
    return moves, unreachable


def _resolve(folder: Path, family: Iterable[OsLock], pins: Pins) -> dict[str, tuple[Package, ...]]:
    """Return the packages of each lock on one image, by its file."""
    locks = tuple(family)
    root = locks[0].root_lock
    progress.say(f"Locking {', '.join(lock.file for lock in locks)}")
    try:
        image_reference.digest(pins, root.bases, root.role, root.platform)
    except LockError as error:
        raise UnreachableError(str(error).replace("\n", " ")) from None
    if root.repositories:
        return rpm.resolve(folder, locks, pins)
    private = configured_apt(folder, root, image_status.read(folder, root, pins))
    _update_lists(private, root)
    root_packages = apt.resolve(private, root.root.packages)
    packages = {lock.file: apt.resolve(private, (*lock.root.packages, *lock.set_packages)) for lock in locks}
    return {lock.file: os_conflicts.packages_to_lock(lock, packages[lock.file], root_packages) for lock in locks}


def configured_apt(folder: Path, lock: OsLock, installed: image_status.InstalledPackages) -> apt.Apt:
    """Return a private apt that knows a root image's packages, with the archive of its bases."""
    archive, platform = lock.archive, lock.platform
    name, suite = archive.name(platform), lock.root.suite
    return apt.Apt(
        folder=folder / state.APT / f"{name}-{suite}-{platform.arch}",  # all such images share these lists
        suite=suite,
        architecture=platform.arch,
        mirrors={name: mirrors.configured().address(lock.origin)},
        status=installed.status,
        keyring=installed.keyring,
        suites=tuple((name, archive_suite) for archive_suite in archive.suites_of(suite)),
        components=archive.components,
    )


def _update_lists(private: apt.Apt, lock: OsLock) -> None:
    """Download the archive's lists; errors as in `update_locks`, and UnreachableError where it does not answer."""
    address = mirrors.describe(lock.origin, mirrors.configured().address(lock.origin))
    try:
        apt.update(private)
    except CommandFailedError as error:
        output = str(error)
        if UNSIGNED.search(output):
            message = f"{address} is not signed by the keys in {lock.image} ({lock.archive.keyring}):\n{output}"
            raise DownloadError(message) from None
        reasons = APT_ERROR.findall(output)
        message = f"{address}: {reasons[0] if reasons else 'apt could not read it'}"
        raise UnreachableError(message) from None


def _write(staged: Path, lock: OsLock, after: tuple[Package, ...], pins: Pins) -> tuple[Move, ...]:
    before, old_time = os_lock.read_valid_lines(lock, staged), os_lock.locked_at(lock, staged)
    time = old_time if old_time and before == after else debian.timestamp()
    write_lock(lock, staged, after, time, image_reference.digest(pins, lock.bases, lock.role, lock.platform))
    return debian.os_moves(lock, before, after)


def _unreachable(folder: Path, lock: OsLock, reason: str) -> UnreachableInput:
    exists = (folder / lock.file).is_file()
    return UnreachableInput(
        name=lock.file,
        address=f"{lock.image}, {lock.origin}",
        reason=reason,
        pinned=AS_IT_WAS if exists else NOT_LOCKED,
    )
