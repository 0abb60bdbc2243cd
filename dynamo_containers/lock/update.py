"""`invoke lock`: update every kind of lock, in order.

Registries, release archives and git repositories come first. The rest follows the stages: binaries and OS packages of
root images, their digests, then Python packages. All of it happens in a copy of the locks (lock/staging.py); the
checkout gets every change at the end, or none where a kind fails.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import FatalError, LockError, UnreachableError, UsageError
from dynamo_containers.facts.locks import content_changes, os_conflicts, os_lock
from dynamo_containers.facts.locks import moves as lock_moves
from dynamo_containers.facts.locks.content_changes import ContentChange  # noqa: TC001 - msgspec reads the types
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import Move  # noqa: TC001 - msgspec reads the types
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE, ImagePin, Pins, load_pins, render
from dynamo_containers.lock import remote_pins, staging
from dynamo_containers.lock.os import debian, on_image
from dynamo_containers.lock.python.report import UnsharedPackage, unknown_sizes_table, unshared_table, warnings_list
from dynamo_containers.lock.selection import ALL_LOCKS, locked_platforms, os_locks, root_locks
from dynamo_containers.prepare import oci_layout, root_images
from dynamo_containers.result import Result
from dynamo_containers.upstream import unreachable
from dynamo_containers.upstream.unreachable import UnreachableInput  # noqa: TC001 - msgspec reads the types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.lock.python.update import PythonUpdate
    from dynamo_containers.lock.selection import LockSelection
    from dynamo_containers.platforms import Platform

NOTHING_WRITTEN = "Nothing was written: this command changed no lock and no pin."


@dataclass(frozen=True, kw_only=True)
class RequestedUpgrades:
    """Which locked versions may move although they still fit."""

    upgrade: Collection[str]
    """Python packages, as `name` or `name==version`."""
    upgrade_all: bool
    """Every Python package, and every tag of images and sources."""


@dataclass(frozen=True, kw_only=True)
class LockUpdate:
    """Result of `invoke lock`."""

    kinds: tuple[LockKind, ...]
    """Kinds of locks that were selected."""
    moves: tuple[Move, ...]
    """Packages that moved."""
    notes: tuple[str, ...]
    """New pins of root images, archives and git sources, and tags that moved since they were pinned."""
    unshared: tuple[UnsharedPackage, ...]
    """Packages that images should share but do not."""
    unknown_sizes: tuple[tuple[str, str], ...]
    """(pin, lock) whose download size the index does not state."""
    warnings: tuple[str, ...]
    """Locked releases that were yanked, extras that do not exist, and what else the resolver warned of."""
    unreachable: tuple[UnreachableInput, ...]
    """Inputs that could not be queried; their pins did not change."""
    files: tuple[str, ...]
    """Files of the checkout that were added, changed or removed."""
    contents: tuple[ContentChange, ...] = ()
    """What is new in the files of packages that moved."""
    refused: tuple[str, ...] = ()
    """Packages with suspicious content that no row of `lock.accepted-content` accepts."""


def update(
    catalogue: Catalogue,
    selection: LockSelection = ALL_LOCKS,
    upgrade: Collection[str] = (),
    *,
    upgrade_all: bool = False,
    report: str | None = None,
) -> Result:
    """Update the selected locks; with `report`, also write the changes into that file, as Markdown.

    Python locks, root images of registries and git sources move only where their inputs changed or an upgrade is
    requested. The mirror of a distribution has one version of each package, so its locks always move to that version.
    The exit code is 10 where something was unreachable; everything else is updated then. Otherwise all changes are
    written at the end, or none.

    Raises:
        UsageError: an option is invalid.
        LockError, DownloadError, CommandFailedError: a lock cannot be updated; no lock changes.
        BusyError: a lock was changed by something else in the meantime; no lock changes.
    """
    with staging.staged_locks(catalogue.folder) as staged, _nothing_written():
        changes = _update(
            catalogue, staged.folder, selection, RequestedUpgrades(upgrade=upgrade, upgrade_all=upgrade_all)
        )
        changes = replace(changes, files=staged.commit())
    if LockKind.CONTENTS in selection.kinds:
        changes = _update_contents(catalogue, changes)
    if report:
        text = f"# Changes of the locks\n\n{changes_text(changes)}\n"
        process.write(process.Document(path=Path(report).absolute(), text=text))
    return update_result(changes)


def _update_contents(catalogue: Catalogue, changes: LockUpdate) -> LockUpdate:
    """Read the files that the locks of the checkout name by now; a fact about a sha256 is never half of a change."""
    from dynamo_containers.lock import contents

    # The catalogue keeps the pins that it has read: a copy of it reads them again.
    update = contents.update(replace(catalogue))
    return replace(
        changes,
        unreachable=(*changes.unreachable, *update.unreachable),
        files=tuple(sorted({*changes.files, *update.files})),
        contents=update.changes,
        refused=update.refused,
    )


@contextmanager
def _nothing_written() -> Iterator[None]:
    """Add to the message of a failure that no lock changed; a wrong option or data file starts nothing."""
    try:
        yield
    except UsageError:
        raise
    except FatalError as error:
        error.args = (f"{error}\n{NOTHING_WRITTEN}",)
        raise


def update_result(changes: LockUpdate) -> Result:
    """Return the changes as a result; its exit code is 4 for suspicious content, 10 for something unreachable."""
    text = changes_text(changes)
    if changes.refused:
        sections = [text, *([unreachable.message(changes.unreachable)] if changes.unreachable else [])]
        return Result(
            text="\n\n".join([*sections, content_changes.refusal(changes.refused)]),
            data=changes,
            exit_code=LockError.exit_code,
        )
    if not changes.unreachable:
        return Result(text=text, data=changes)
    text = f"{text}\n\n{unreachable.message(changes.unreachable)}"
    return Result(text=text, data=changes, exit_code=UnreachableError.exit_code)


def _update(catalogue: Catalogue, staged: Path, selection: LockSelection, upgrades: RequestedUpgrades) -> LockUpdate:
    """Update the selected locks in the staged folder."""
    python_locks = selection.python_locks(catalogue)  # a wrong option is refused before anything is asked
    if upgrades.upgrade:
        from dynamo_containers.lock.python import update as python_update

        python_update.check_upgrades(python_locks, staged, upgrades.upgrade)
    _check_other_roots(catalogue, selection)
    remote = remote_pins.update(catalogue, selection, _pins(catalogue.folder), upgrade_all=upgrades.upgrade_all)
    moves = _update_roots(catalogue, staged, selection, remote.pins)
    # On root images as they are pinned by now; nothing is bootstrapped from these locks.
    moves_on_images, unreachable_images = on_image.update_locks(
        catalogue.folder, _locks_on_images(catalogue, selection), _pins(staged), staged=staged
    )
    changes = LockUpdate(
        kinds=tuple(selection.kinds),
        moves=(*moves, *moves_on_images),
        notes=remote.notes,
        unshared=(),
        unknown_sizes=(),
        warnings=(),
        unreachable=(*remote.unreachable, *unreachable_images),
        files=(),
    )
    if not python_locks:
        return changes
    python = _update_python(replace(catalogue, folder=staged), python_locks, upgrades)
    return replace(
        changes,
        moves=(*changes.moves, *python.moves),
        unshared=python.unshared,
        unknown_sizes=python.unknown_sizes,
        warnings=python.warnings,
        unreachable=(*changes.unreachable, *python.unreachable),
    )


def _update_python(catalogue: Catalogue, locks: Collection[LockFile], upgrades: RequestedUpgrades) -> PythonUpdate:
    from dynamo_containers.lock.python import schedule
    from dynamo_containers.lock.python import update as python_update

    bases = {lock.target.bases for lock in locks}
    os_conflicts.check_pythons((lock for lock in os_locks(catalogue) if lock.bases.name in bases), catalogue.folder)
    limit = schedule.cooldown_limit(catalogue, datetime.now(UTC))
    options = schedule.UpgradeOptions(upgrade=upgrades.upgrade, upgrade_all=upgrades.upgrade_all, uploaded_before=limit)
    return python_update.update_locks(catalogue, locks, options)


def changes_text(changes: LockUpdate) -> str:
    """Return the changes as Markdown that is readable at a terminal."""
    sections = ["\n".join(f"- {note}" for note in changes.notes)] if changes.notes else []
    if not sections or set(changes.kinds) != {LockKind.IMAGES}:  # of root images, the notes are all there is to report
        sections.append(lock_moves.report(changes.moves))
    tables = (
        content_changes.changes_table(changes.contents),
        unshared_table(changes.unshared),
        unknown_sizes_table(changes.unknown_sizes),
    )
    sections += filter(None, (*tables, warnings_list(changes.warnings)))
    return "\n\n".join(sections)


def _check_other_roots(catalogue: Catalogue, selection: LockSelection) -> None:
    """Refuse, before anything is written, an update that could not be completed.

    When a package moves, the epoch moves too, and every root image is rebuilt: also those that are not selected.
    """
    selected = _locks_of_roots(catalogue, selection)
    has_packaged = any(bases.packaged_programs for bases, _ in selection.targets(catalogue))
    if selected or (LockKind.ARCHIVES in selection.kinds and has_packaged):
        for lock in root_locks(catalogue):
            if lock not in selected:
                os_lock.read(lock, catalogue.folder)


def _locks_of_roots(catalogue: Catalogue, selection: LockSelection) -> tuple[OsLock, ...]:
    """Return the selected locks that root images are bootstrapped from, and of the sets on those."""
    return tuple(lock for lock in selection.os_locks(catalogue) if not lock.image)


def _locks_on_images(catalogue: Catalogue, selection: LockSelection) -> tuple[OsLock, ...]:
    """Return the selected locks on root images of registries."""
    return tuple(lock for lock in selection.os_locks(catalogue) if lock.image)


def _update_roots(catalogue: Catalogue, staged: Path, selection: LockSelection, old: Pins) -> tuple[Move, ...]:
    """Lock the packages that the mirror has now, bootstrap the root images that depend on them, and write the pins."""
    kinds, folder = selection.kinds, catalogue.folder
    targets = selection.targets(catalogue)
    current = debian.current_programs(folder, targets, old.programs) if LockKind.ARCHIVES in kinds else {}
    program_pins = {**old.programs, **current}
    moves = (
        *debian.update_locks(folder, _locks_of_roots(catalogue, selection), staged=staged),
        *debian.program_moves(old.programs, program_pins),
    )
    pins = _without_removed_rows(catalogue, kinds, replace(old, programs=program_pins))
    locks: tuple[OsLock, ...] = ()
    if moves or not old.epoch:
        # A root image of another epoch has other bytes.
        registry_roots = {key: root for key, root in pins.roots.items() if root.image}
        pins = replace(pins, epoch=int(time.time()), roots=registry_roots)
    if moves:
        locks = root_locks(catalogue)
    elif {LockKind.OS, LockKind.IMAGES} & set(kinds):
        selected_bases = {bases.name for bases, _ in targets}
        locks = tuple(lock for lock in root_locks(catalogue) if lock.bases.name in selected_bases)
    if locks:
        pins = replace(pins, roots={**pins.roots, **_bootstrap(catalogue, staged, locks, pins.epoch)})
    process.write(process.Document(path=staged / PINS_FILE, text=render(pins)))
    return moves


def _without_removed_rows(catalogue: Catalogue, kinds: Collection[LockKind], pins: Pins) -> Pins:
    """Return the pins without those of rows that images.toml no longer has, for the selected kinds."""
    if LockKind.ARCHIVES in kinds:
        rows = {
            (bases.name, name, platform)
            for bases in catalogue.bases.values()
            for platform in locked_platforms(catalogue, bases.name)
            for name in (*bases.programs, *bases.toolchains)
        }
        pins = replace(
            pins,
            programs={key: pin for key, pin in pins.programs.items() if key in rows},
            sources={name: pin for name, pin in pins.sources.items() if name in catalogue.sources},
        )
    if LockKind.IMAGES in kinds:
        roles = {(bases.name, role) for bases in catalogue.bases.values() for role in bases.roots}
        # Kept while the row names it: a switch to wheels and back is no reason to query the registry again.
        roles |= {(ENGINE_IMAGES, image.name) for image in catalogue.images.values() if image.engine_image}
        pins = replace(pins, roots={key: root for key, root in pins.roots.items() if key in roles})
    return pins


def keep_pool(catalogue: Catalogue, folder: str) -> Result:
    """Copy every locked .deb into a folder; see `deb_pool.copy_packages`.

    Raises:
        UsageError: the folder is empty text.
    """
    from dynamo_containers.lock import deb_pool

    if not folder:
        message = "--keep-pool needs a folder."
        raise UsageError(message)
    locks = [lock for lock in os_locks(catalogue) if not os_lock.never_locked(lock, catalogue.folder)]
    return deb_pool.copy_packages(catalogue, locks, Path(folder).absolute())


def _pins(folder: Path) -> Pins:
    # A damaged file is an error: without its pins, everything would move.
    exists = os.path.lexists(folder / PINS_FILE)
    return load_pins(folder) if exists else Pins(epoch=0, programs={}, roots={})


def _bootstrap(
    catalogue: Catalogue, staged: Path, locks: Iterable[OsLock], epoch: int
) -> dict[tuple[str, str], ImagePin]:
    locked = [(lock, os_lock.read(lock, staged)) for lock in locks]
    roots: dict[tuple[str, str], dict[Platform, oci_layout.RootImage]] = {}
    for lock, root in root_images.ensure_all(catalogue.folder, locked, epoch):
        roots.setdefault((lock.bases.name, lock.role), {})[lock.platform] = root
    return {
        key: ImagePin(
            index=oci_layout.write_index(catalogue.folder, images),
            platforms={platform: root.digest for platform, root in images.items()},
        )
        for key, images in roots.items()
    }
