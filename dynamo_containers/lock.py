"""What does `invoke lock` do, and in which order? Each kind of pin has a module of its own; this one goes through them.

The order is that of the stages: the programs and OS packages of the root images, the digests these give, then Python.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import lock_report, oci_layout, os_lock, programs, python_lock, roots, run
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.model import PINS_FILE, Catalogue, Pin, PinnedRoot, Pins, load_pins

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dynamo_containers.apt import Package
    from dynamo_containers.lock_report import Move
    from dynamo_containers.model import Platform
    from dynamo_containers.os_lock import OsLock

    Programs = Mapping[tuple[str, str, Platform], Pin]

KINDS = ("archives", "os", "images", "python")


def kinds(words: Collection[str]) -> tuple[str, ...]:
    """Return which kinds of pin are meant; no word means all.

    Raises:
        UsageError: a word is no kind of pin.
    """
    for word in words:
        if word not in KINDS:
            message = f'There is no kind of pin called "{word}". There is: {", ".join(KINDS)}.'
            raise UsageError(message)
    return tuple(kind for kind in KINDS if not words or kind in words)


def os_locks(catalogue: Catalogue) -> tuple[OsLock, ...]:
    """Return every lock of OS packages that must exist."""
    return tuple(
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.roots
        for platform in platforms(catalogue, bases.name)
    )


def platforms(catalogue: Catalogue, bases: str) -> tuple[Platform, ...]:
    """Return the platforms that some image is made for on these bases."""
    wanted = {platform for image in catalogue.images.values() if bases in image.bases for platform in image.platforms}
    return tuple(sorted(wanted, key=lambda platform: platform.value))


def refresh(
    catalogue: Catalogue, words: Collection[str] = (), upgrade: Collection[str] = (), *, upgrade_all: bool = False
) -> None:
    """Write the pins of the kinds that were asked for.

    Python locks move only where their inputs changed or an upgrade is asked for; a distribution's mirror has one
    version of each package, so locking the OS means taking that one.
    """
    asked = kinds(words)
    old = _pins(catalogue.folder)
    new_programs = _programs(catalogue, old.programs) if "archives" in asked else old.programs
    moved = (*(_refresh_os(catalogue) if "os" in asked else ()), *program_moves(old.programs, new_programs))
    pins = Pins(epoch=int(time.time()) if moved or not old.epoch else old.epoch, programs=new_programs, roots=old.roots)
    # Before the minutes that root images take: interrupted there, the next run goes on from this epoch.
    _write(catalogue, pins)
    if moved or {"os", "images"} & set(asked):
        _write(catalogue, replace(pins, roots=_roots(catalogue, pins.epoch)))
    if {"os", "archives"} & set(asked):
        print(lock_report.text(moved))
    if "python" in asked:
        python_lock.refresh(catalogue, python_lock.locks(catalogue), upgrade=upgrade, upgrade_all=upgrade_all)


def _write(catalogue: Catalogue, pins: Pins) -> None:
    run.write(run.Document(path=catalogue.folder / PINS_FILE, text=render(pins)))


def _refresh_os(catalogue: Catalogue) -> tuple[Move, ...]:
    """Write the locks of the OS packages; return what moved."""
    moved: tuple[Move, ...] = ()
    for lock in os_locks(catalogue):
        _say(lock.file)
        before, stated = os_lock.known(lock, catalogue.folder), os_lock.moment_of(lock, catalogue.folder)
        after = os_lock.current(lock, catalogue.folder)
        os_lock.write(lock, catalogue.folder, after, stated if stated and before == after else moment())
        moved += os_moves(lock, before, after)
    return moved


def moment() -> str:
    """Return the present as snapshot services write a time."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time()))


def os_moves(lock: OsLock, before: tuple[Package, ...], after: tuple[Package, ...]) -> tuple[Move, ...]:
    """Return what moved in a lock of OS packages."""
    old, new = ({each.name: (each.version, each.size) for each in packages} for packages in (before, after))
    return lock_report.moves("os", f"{lock.bases.name}-{lock.role}-{lock.platform.arch}", old, new)


def program_moves(before: Programs, after: Programs) -> tuple[Move, ...]:
    """Return which programs moved."""
    layers = sorted({(bases, platform.arch) for bases, _, platform in (*before, *after)})
    return tuple(
        move
        for bases, arch in layers
        for move in lock_report.moves(
            "archive", f"{bases}-programs-{arch}", *(_program_sizes(pins, bases, arch) for pins in (before, after))
        )
    )


def _program_sizes(pins: Programs, bases: str, arch: str) -> dict[str, tuple[str, int]]:
    return {name: (pin.version, pin.size) for (of, name, on), pin in pins.items() if (of, on.arch) == (bases, arch)}


def check(catalogue: Catalogue, words: Collection[str] = ()) -> str:
    """Say that every lock fits what it is made from; offline, in milliseconds.

    Raises:
        LockError: some are missing or stale; the message names each and what to run.
    """
    asked = kinds(words)
    reasons = []
    if "python" in asked:
        found = (python_lock.stale(lock, catalogue.folder) for lock in python_lock.locks(catalogue))
        reasons += [reason for reason in found if reason]
    if "os" in asked:
        for lock in os_locks(catalogue):
            reasons += _reason(partial(os_lock.read, lock, catalogue.folder))
    if {"archives", "images"} & set(asked):
        reasons += _reason(partial(_check_pins, catalogue))
    if reasons:
        raise LockError("\n".join(reasons))
    return f"Every lock fits what it is made from ({', '.join(asked)})."


def _reason(question: Callable[[], object]) -> list[str]:
    try:
        question()
    except LockError as error:
        return [str(error)]
    return []


def _check_pins(catalogue: Catalogue) -> None:
    for bases in catalogue.bases.values():
        for platform in platforms(catalogue, bases.name):
            programs.pinned(catalogue.pins, bases, platform)
            for role in bases.roots:
                catalogue.pins.root(bases.name, role, platform)


def keep_pool(catalogue: Catalogue, folder: str) -> str:
    """Copy every locked .deb into a folder; see `pool.keep`."""
    from dynamo_containers import pool

    return pool.keep(catalogue, os_locks(catalogue), Path(folder).absolute())


def _say(words: str) -> None:
    print(f"Locking {words}", file=sys.stderr, flush=True)


def _pins(folder: Path) -> Pins:
    try:
        return load_pins(folder)
    except LockError:
        return Pins(epoch=0, programs={}, roots={})


def _programs(catalogue: Catalogue, old: Programs) -> dict[tuple[str, str, Platform], Pin]:
    found = {}
    for bases in catalogue.bases.values():
        for name, program in bases.programs.items():
            _say(f"{name} of the {bases.name} bases")
            for platform in platforms(catalogue, bases.name):
                now = programs.current(catalogue.folder, program, platform)
                known = old.get((bases.name, name, platform))
                same = known and known.locked and known.sha256 == now.sha256
                found[bases.name, name, platform] = known if known and same else replace(now, locked=moment())
    return found


def _roots(catalogue: Catalogue, epoch: int) -> dict[tuple[str, str], PinnedRoot]:
    made: dict[tuple[str, str], dict[Platform, oci_layout.RootImage]] = {}
    for lock, root in roots.ensure_all(catalogue.folder, os_locks(catalogue), epoch):
        made.setdefault((lock.bases.name, lock.role), {})[lock.platform] = root
    return {
        key: PinnedRoot(
            index=oci_layout.write_index(catalogue.folder, images),
            platforms={platform: root.digest for platform, root in images.items()},
        )
        for key, images in made.items()
    }


def render(pins: Pins) -> str:
    """Return the text of pins.toml."""
    tables = "".join(
        f'[roots.{bases}.{role}]\nindex = "{root.index}"\n'
        + "".join(
            f'"{platform.value}" = "{digest}"\n'
            for platform, digest in sorted(root.platforms.items(), key=lambda item: item[0].value)
        )
        + "\n"
        for (bases, role), root in sorted(pins.roots.items())
    )
    head = "# WRITTEN BY `invoke lock`: the external inputs by content. Do not edit.\n\n"
    epoch = "# SOURCE_DATE_EPOCH of every image: when its root images last moved.\n" + f"epoch = {pins.epoch}\n\n"
    return (head + epoch + tables + programs.render(pins.programs)).rstrip() + "\n"
