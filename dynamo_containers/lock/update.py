"""`invoke lock`: refresh every kind of pin, in order.

First those who may say that something does not exist (registries, release pages, repositories), so that nothing is half
done then. The rest is in the order of the stages: the programs and OS packages of the root images, the digests these
give, then Python. lock_check is `invoke lock --check`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import LockError, UnreachableError, UsageError
from dynamo_containers.facts.locks import moves as lock_moves
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE, PinnedRoot, Pins, load_pins, render
from dynamo_containers.lock import remote_pins
from dynamo_containers.lock.os import debian as os_debian
from dynamo_containers.lock.os import on_image as os_on_image
from dynamo_containers.lock.selection import EVERYTHING, Part, kinds, os_locks, platforms, root_locks
from dynamo_containers.prepare import oci_layout, root_images
from dynamo_containers.upstream import unreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.unreachable import Unreached


@dataclass(frozen=True, kw_only=True)
class Report:
    """What moved, as a person reads it in a terminal and in a pull request, and who could not be asked."""

    terminal: str
    markdown: str
    unreachable: tuple[Unreached, ...] = ()


def refresh(
    catalogue: Catalogue,
    words: Collection[str] = (),
    upgrade: Collection[str] = (),
    *,
    part: Part = EVERYTHING,
    upgrade_all: bool = False,
) -> Report:
    """Write the pins of the kinds that were asked for; return what moved.

    Python locks, root images of registries and sources move only where their inputs changed or an upgrade is asked for;
    a distribution's mirror has one version of each package, so locking the OS means taking that one.
    """
    asked = kinds(words)
    wanted = part.python_locks(catalogue) if "python" in asked else ()
    _check_the_rest(catalogue, asked, part)
    learnt = remote_pins.refresh(catalogue, asked, part, _pins(catalogue.folder), upgrade_all=upgrade_all)
    missing = list(learnt.unreachable)
    moved = _refresh_system(catalogue, asked, part, learnt.pins)
    if "os" in asked:
        # On root images as they are pinned by now; nothing is bootstrapped from these locks.
        above, unasked = os_on_image.refresh(catalogue.folder, _on_images(catalogue, part), _pins(catalogue.folder))
        moved, missing = (*moved, *above), [*missing, *unasked]
    terminal = ["\n".join(learnt.said)] if learnt.said else []
    markdown = ["".join(f"- {line}\n" for line in learnt.said).rstrip()] if learnt.said else []
    if {"os", "archives"} & set(asked):
        terminal.append(lock_moves.text(moved))
        markdown.append(lock_moves.markdown(moved).rstrip())
    if "python" in asked:
        from dynamo_containers.facts.locks import python_moves
        from dynamo_containers.lock.python import schedule as python_schedule
        from dynamo_containers.lock.python import update as python_update

        before = python_schedule.cooled(catalogue, datetime.now(UTC))
        wish = python_schedule.Wish(upgrade=upgrade, upgrade_all=upgrade_all, uploaded_before=before)
        outcome = python_update.refresh(catalogue, wanted, wish)
        tables = (
            python_moves.report(outcome.moves),
            python_moves.unlike(outcome.unlike),
            python_moves.unstated(outcome.unstated),
        )
        terminal += filter(None, tables)
        markdown += filter(None, tables)
        missing += outcome.unreachable
    return Report(terminal="\n\n".join(terminal), markdown="\n\n".join(markdown), unreachable=tuple(missing))


def publish(report: Report, file: str | None) -> None:
    """Print what moved, and write it as Markdown where that is wanted.

    Raises:
        UnreachableError: with a table of those who could not be asked.
    """
    print(report.terminal or "Root images were looked at; nothing else was asked for.", flush=True)
    if file:
        process.write(
            process.Document(path=Path(file).absolute(), text=f"# What the locks moved\n\n{report.markdown}\n")
        )
    if report.unreachable:
        raise UnreachableError(unreachable.message(report.unreachable))


def _check_the_rest(catalogue: Catalogue, asked: Collection[str], part: Part) -> None:
    """Refuse, before anything is written, what could not be finished.

    When a package moves, so does the epoch, and all root images are made anew: those that are meant, and the rest.
    """
    meant = _of_roots(catalogue, part) if "os" in asked else ()
    if meant or ("archives" in asked and any(bases.packaged for bases, _ in part.targets(catalogue))):
        for lock in root_locks(catalogue):
            if lock not in meant:
                os_lock.read(lock, catalogue.folder)


def _of_roots(catalogue: Catalogue, part: Part) -> tuple[OsLock, ...]:
    """Return what is meant of the locks that root images are bootstrapped from, and of the sets on those."""
    return tuple(lock for lock in part.os_locks(catalogue) if not lock.image)


def _on_images(catalogue: Catalogue, part: Part) -> tuple[OsLock, ...]:
    """Return what is meant of the locks on root images of registries."""
    return tuple(lock for lock in part.os_locks(catalogue) if lock.image)


def _refresh_system(catalogue: Catalogue, asked: Collection[str], part: Part, old: Pins) -> tuple[Move, ...]:
    """Take what the mirror has of what is meant, make the root images that depend on it, and write the pins."""
    targets = part.targets(catalogue)
    now = os_debian.programs_now(catalogue.folder, targets, old.programs) if "archives" in asked else {}
    moved_os = os_debian.refresh(catalogue.folder, _of_roots(catalogue, part)) if "os" in asked else ()
    moved = (*moved_os, *os_debian.program_moves(old.programs, {**old.programs, **now}))
    pins = _named(catalogue, asked, replace(old, programs={**old.programs, **now}))
    wanted: tuple[OsLock, ...] = ()
    if moved or not old.epoch:
        # A root image of another epoch has other bytes: until the new ones are made, none is pinned.
        pulled = {key: root for key, root in pins.roots.items() if root.image}
        pins = replace(pins, epoch=int(time.time()), roots=pulled)
    if moved:
        wanted = root_locks(catalogue)
    elif {"os", "images"} & set(asked):
        bases = {bases.name for bases, _ in targets}
        wanted = tuple(lock for lock in root_locks(catalogue) if lock.bases.name in bases)
    # Before the minutes that root images take: interrupted there, the next run goes on from this epoch.
    _write(catalogue, pins)
    if wanted:
        _write(catalogue, replace(pins, roots={**pins.roots, **_roots(catalogue, wanted, pins.epoch)}))
    return moved


def _named(catalogue: Catalogue, asked: Collection[str], pins: Pins) -> Pins:
    """Return the pins without those of what images.toml no longer names, for the kinds that are asked for."""
    bases = catalogue.bases
    if "archives" in asked:
        targets = [(each, platform) for each in bases.values() for platform in platforms(catalogue, each.name)]
        rows = {
            (each.name, name, platform) for each, platform in targets for name in (*each.programs, *each.toolchains)
        }
        pins = replace(
            pins,
            programs={key: pin for key, pin in pins.programs.items() if key in rows},
            sources={name: pin for name, pin in pins.sources.items() if name in catalogue.sources},
        )
    if "images" in asked:
        roles = {(each.name, role) for each in bases.values() for role in each.roots}
        # Kept for as long as the row names it: back to the other way and again is no reason to ask the registry.
        roles |= {(ENGINE_IMAGES, image.name) for image in catalogue.images.values() if image.engine_image}
        pins = replace(pins, roots={key: root for key, root in pins.roots.items() if key in roles})
    return pins


def _write(catalogue: Catalogue, pins: Pins) -> None:
    process.write(process.Document(path=catalogue.folder / PINS_FILE, text=render(pins)))


def keep_pool(catalogue: Catalogue, folder: str) -> str:
    """Copy every locked .deb into a folder; see `deb_pool.keep`.

    Raises:
        UsageError: no folder is named.
    """
    from dynamo_containers.lock import deb_pool

    if not folder:
        message = "--keep-pool names no folder."
        raise UsageError(message)
    made = [lock for lock in os_locks(catalogue) if not os_lock.never_made(lock, catalogue.folder)]
    return deb_pool.keep(catalogue, made, Path(folder).absolute())


def _pins(folder: Path) -> Pins:
    try:
        return load_pins(folder)
    except LockError:
        return Pins(epoch=0, programs={}, roots={})


def _roots(catalogue: Catalogue, locks: Iterable[OsLock], epoch: int) -> dict[tuple[str, str], PinnedRoot]:
    made: dict[tuple[str, str], dict[Platform, oci_layout.RootImage]] = {}
    for lock, root in root_images.ensure_all(catalogue.folder, locks, epoch):
        made.setdefault((lock.bases.name, lock.role), {})[lock.platform] = root
    return {
        key: PinnedRoot(
            index=oci_layout.write_index(catalogue.folder, images),
            platforms={platform: root.digest for platform, root in images.items()},
        )
        for key, images in made.items()
    }
