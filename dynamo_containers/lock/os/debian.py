"""Locks of Debian's packages and binaries: what the mirror has now, and what moved.

What did not move keeps the time when it was locked, so that an unchanged lock is an unchanged file.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from dynamo_containers import progress
from dynamo_containers.facts.locks import moves as lock_moves
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.pins import Pin
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.prepare import apt_resolve, programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import ReleasePin
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.apt import Apt

    Programs: TypeAlias = Mapping[tuple[str, str, Platform], Pin | ReleasePin]


def refresh(folder: Path, locks: Iterable[OsLock]) -> tuple[Move, ...]:
    """Write the locks of the OS packages, root images before the sets of packages on them; return what moved.

    Raises:
        LockError: a set would move a package of its root image; nothing is written then.
    """
    wanted = tuple(locks)
    found = _resolved(folder, wanted)
    after = {lock.file: os_conflicts.only(lock, found[lock.file], found[lock.below.file]) for lock in wanted}
    moved: tuple[Move, ...] = ()
    for lock in wanted:
        before, stated = os_lock.known(lock, folder), os_lock.moment_of(lock, folder)
        same = stated and before == after[lock.file]
        write_lock(lock, folder, after[lock.file], stated if same else moment())
        moved += os_moves(lock, before, after[lock.file])
    return moved


def _resolved(folder: Path, locks: Iterable[OsLock]) -> dict[str, tuple[Package, ...]]:
    """Return all packages of each lock by its file, from one reading of each suite's lists: so that they fit."""
    lists: dict[tuple[str, Platform], Apt] = {}
    found = {}
    for lock in locks:
        _say(lock.file)
        suite, platform = key = lock.root.suite, lock.platform
        if key not in lists:
            lists[key] = apt_resolve.updated(folder, suite, platform)
        found[lock.file] = apt_resolve.resolved(lock, lists[key])
    return found


def moment() -> str:
    """Return the present as snapshot services write a time."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time()))


def os_moves(lock: OsLock, before: tuple[Package, ...], after: tuple[Package, ...]) -> tuple[Move, ...]:
    """Return what moved in a lock of OS packages."""
    old, new = ({each.name: (each.version, each.size) for each in packages} for packages in (before, after))
    return lock_moves.moves("os", lock.layer, old, new)


def program_moves(before: Programs, after: Programs) -> tuple[Move, ...]:
    """Return which programs out of packages moved."""
    layers = sorted({(bases, platform.arch) for bases, _, platform in (*before, *after)})
    return tuple(
        move
        for bases, arch in layers
        for move in lock_moves.moves(
            "archive", f"{bases}-programs-{arch}", *(_program_sizes(pins, bases, arch) for pins in (before, after))
        )
    )


def _program_sizes(pins: Programs, bases: str, arch: str) -> dict[str, tuple[str, int]]:
    return {
        name: (pin.version, pin.size)
        for (of, name, on), pin in pins.items()
        if (of, on.arch) == (bases, arch) and isinstance(pin, Pin)
    }


def programs_now(
    folder: Path, targets: Iterable[tuple[Bases, Platform]], old: Programs
) -> dict[tuple[str, str, Platform], Pin]:
    """Return the pins of the programs out of packages for these bases and platforms, as their suites have them now."""
    found = {}
    for bases, platform in targets:
        for name, program in bases.packaged.items():
            _say(f"{name} of the {bases.name} bases for {platform.value}")
            key = bases.name, name, platform
            found[key] = _dated(programs.current(folder, program, platform), old.get(key))
    return found


def _dated(now: Pin, known: Pin | ReleasePin | None) -> Pin:
    if isinstance(known, Pin) and known.locked and known.sha256 == now.sha256:
        return known
    return replace(now, locked=moment())


def _say(words: str) -> None:
    progress.say(f"Locking {words}")
