"""What does `invoke lock` do, and in which order? Each kind of pin has a module of its own; this one goes through them.

The order is that of the stages: the programs and OS packages of the root images, the digests these give, then Python.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dynamo_containers import os_lock, programs, python_lock, roots, run
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.model import PINS_FILE, Catalogue, PinnedRoot, Pins, load_pins

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from dynamo_containers.model import Platform
    from dynamo_containers.os_lock import OsLock

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
    new_programs, new_roots = old.programs, old.roots
    if "archives" in asked:
        new_programs = _programs(catalogue)
    if "os" in asked:
        for lock in os_locks(catalogue):
            _say(lock.file)
            os_lock.write(lock, catalogue.folder, os_lock.current(lock, catalogue.folder))
    epoch = old.epoch
    if {"archives", "os"} & set(asked) and _moved(catalogue, old, new_programs):
        epoch = int(time.time())
    if {"os", "images"} & set(asked):
        new_roots = _roots(catalogue, epoch)
    pins = Pins(epoch=epoch, programs=new_programs, roots=new_roots)
    run.write(run.Document(path=catalogue.folder / PINS_FILE, text=render(pins)))
    if "python" in asked:
        python_lock.refresh(catalogue, python_lock.locks(catalogue), upgrade=upgrade, upgrade_all=upgrade_all)


def _say(words: str) -> None:
    print(f"Locking {words}", file=sys.stderr, flush=True)


def _pins(folder: Path) -> Pins:
    try:
        return load_pins(folder)
    except LockError:
        return Pins(epoch=0, programs={}, roots={})


def _programs(catalogue: Catalogue) -> dict[tuple[str, str, Platform], programs.Pin]:
    found = {}
    for bases in catalogue.bases.values():
        for name, program in bases.programs.items():
            _say(f"{name} of the {bases.name} bases")
            for platform in platforms(catalogue, bases.name):
                found[bases.name, name, platform] = programs.current(catalogue.folder, program, platform)
    return found


def _moved(catalogue: Catalogue, old: Pins, new_programs: Mapping[tuple[str, str, Platform], programs.Pin]) -> bool:
    """Say whether any package moved; the epoch stays otherwise, and with it every digest."""
    changed = run.capture(
        run.Command(argv=("git", "-C", str(catalogue.folder), "status", "--porcelain", "constraints"))
    )
    return old.epoch == 0 or dict(old.programs) != dict(new_programs) or "constraints/os-" in changed


def _roots(catalogue: Catalogue, epoch: int) -> dict[tuple[str, str], PinnedRoot]:
    made: dict[tuple[str, str], dict[Platform, roots.RootImage]] = {}
    for lock in os_locks(catalogue):
        images = made.setdefault((lock.bases.name, lock.role), {})
        images[lock.platform] = roots.ensure(catalogue.folder, lock, epoch)
    return {
        key: PinnedRoot(
            index=roots.write_index(catalogue.folder, images),
            platforms={platform: root.digest for platform, root in images.items()},
        )
        for key, images in made.items()
    }


def render(pins: Pins) -> str:
    """Return the text of pins.toml."""
    tables = "".join(
        f'[roots.{bases}.{role}]\nindex = "{root.index}"\n'
        + "".join(f'"{platform.value}" = "{digest}"\n' for platform, digest in root.platforms.items())
        + "\n"
        for (bases, role), root in sorted(pins.roots.items())
    )
    head = "# WRITTEN BY `invoke lock`: the external inputs by content. Do not edit.\n\n"
    epoch = "# SOURCE_DATE_EPOCH of every image: when the locks last moved.\n" + f"epoch = {pins.epoch}\n\n"
    return (head + epoch + tables + programs.render(pins.programs)).rstrip() + "\n"
