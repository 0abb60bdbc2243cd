"""Locks of Debian's packages and binaries: the current versions of the mirror, and their moves.

A package that did not move keeps the time when it was locked, so that an unchanged lock is an unchanged file.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from dynamo_containers import progress
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.locks.download_sizes import lock_name
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import LockedVersion, compare
from dynamo_containers.facts.pins import PackagePin
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.prepare import apt_resolve, binaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import ArchivePin
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.apt import Apt

    ProgramPins: TypeAlias = Mapping[tuple[str, str, Platform], PackagePin | ArchivePin]


def update_locks(folder: Path, locks: Iterable[OsLock], *, staged: Path) -> tuple[Move, ...]:
    """Write the locks of OS packages, root images before the sets on them; return what moved.

    Args:
        folder: the checkout.
        locks: the locks.
        staged: the folder with the old locks, in which the new ones are written.

    Raises:
        LockError: a set would move a package of its root image; nothing is written then.
    """
    locks = tuple(locks)
    resolved = _resolve(folder, locks)
    after = {
        lock.file: os_conflicts.packages_to_lock(lock, resolved[lock.file], resolved[lock.root_lock.file])
        for lock in locks
    }
    moves: tuple[Move, ...] = ()
    for lock in locks:
        before, locked_at = os_lock.read_valid_lines(lock, staged), os_lock.locked_at(lock, staged)
        unchanged = locked_at and before == after[lock.file]
        write_lock(lock, staged, after[lock.file], locked_at if unchanged else timestamp())
        moves += os_moves(lock, before, after[lock.file])
    return moves


def _resolve(folder: Path, locks: Iterable[OsLock]) -> dict[str, tuple[Package, ...]]:
    """Return all packages of each lock by its file; each suite's lists are read once, so that the locks agree."""
    lists: dict[tuple[str, Platform], Apt] = {}
    resolved = {}
    for lock in locks:
        _print_progress(lock.file)
        suite, platform = key = lock.root.suite, lock.platform
        if key not in lists:
            lists[key] = apt_resolve.updated_apt(folder, suite, platform)
        resolved[lock.file] = apt_resolve.resolve(lock, lists[key])
    return resolved


def timestamp() -> str:
    """Return the present time in the format of snapshot services."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time()))


def os_moves(lock: OsLock, before: tuple[Package, ...], after: tuple[Package, ...]) -> tuple[Move, ...]:
    """Return the moves between two states of a lock of OS packages."""
    old, new = (
        {package.name: LockedVersion(version=package.version, size=package.size) for package in packages}
        for packages in (before, after)
    )
    return compare(LockKind.OS, lock_name(lock.file), old, new)


def program_moves(before: ProgramPins, after: ProgramPins) -> tuple[Move, ...]:
    """Return the moves of the binaries out of packages."""
    targets = sorted({(bases, platform.arch) for bases, _, platform in (*before, *after)})
    return tuple(
        move
        for bases, arch in targets
        for move in compare(
            LockKind.ARCHIVES,
            f"{bases}-programs-{arch}",
            *(_program_versions(pins, bases, arch) for pins in (before, after)),
        )
    )


def _program_versions(pins: ProgramPins, bases: str, arch: str) -> dict[str, LockedVersion]:
    return {
        name: LockedVersion(version=pin.version, size=pin.size)
        for (pin_bases, name, platform), pin in pins.items()
        if (pin_bases, platform.arch) == (bases, arch) and isinstance(pin, PackagePin)
    }


def current_programs(
    folder: Path, targets: Iterable[tuple[Bases, Platform]], old: ProgramPins
) -> dict[tuple[str, str, Platform], PackagePin]:
    """Return pins of the binaries out of packages for these bases and platforms, as their suites have them now."""
    pins = {}
    for bases, platform in targets:
        for name, program in bases.packaged_programs.items():
            _print_progress(f"{name} of the {bases.name} bases for {platform.value}")
            key = bases.name, name, platform
            pins[key] = _with_time(binaries.current_pin(folder, program, platform), old.get(key))
    return pins


def _with_time(current: PackagePin, old: PackagePin | ArchivePin | None) -> PackagePin:
    if isinstance(old, PackagePin) and old.locked and old.sha256 == current.sha256:
        return old
    return replace(current, locked=timestamp())


def _print_progress(subject: str) -> None:
    progress.say(f"Locking {subject}")
