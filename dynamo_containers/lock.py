"""What does `invoke lock` do, and in which order? Each kind of pin has a module of its own; this one goes through them.

The order is that of the stages: the programs and OS packages of the root images, the digests these give, then Python.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import lock_report, oci_layout, os_lock, os_refresh, programs, python_lock, roots, run
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.pins import PINS_FILE, PinnedRoot, Pins, load_pins

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dynamo_containers.model import Catalogue
    from dynamo_containers.os_lock import OsLock
    from dynamo_containers.os_refresh import Programs
    from dynamo_containers.platforms import Platform
    from dynamo_containers.python_lock import LockFile

KINDS = ("archives", "os", "images", "python")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What moved, as a person reads it in a terminal and in a pull request."""

    terminal: str
    markdown: str


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


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which Python locks are meant, in the words of the command line; no word means all."""

    images: Collection[str] = ()
    bases: Collection[str] = ()
    platforms: Collection[str] = ()

    def kinds(self, words: Collection[str]) -> tuple[str, ...]:
        """Return which kinds of pin are meant: a part of the locks can be named for Python only.

        Raises:
            UsageError: a word is no kind of pin, or one that is always locked as a whole.
        """
        named = self.images or self.bases or self.platforms
        asked = kinds(words or (["python"] if named else []))
        if named and asked != ("python",):
            message = (
                "--image, --bases and --platform narrow the Python locks; OS packages, root images and archives are "
                "locked as a whole.\nLeave --only away or say --only python."
            )
            raise UsageError(message)
        return asked

    def python_locks(self, catalogue: Catalogue) -> tuple[LockFile, ...]:
        """Return the Python locks that are meant."""
        from dynamo_containers import python_lock_refresh

        return python_lock_refresh.asked(catalogue, self.images, self.bases, self.platforms)


EVERYTHING = Part()


def refresh(
    catalogue: Catalogue,
    words: Collection[str] = (),
    upgrade: Collection[str] = (),
    *,
    part: Part = EVERYTHING,
    upgrade_all: bool = False,
) -> Report:
    """Write the pins of the kinds that were asked for; return what moved.

    Python locks move only where their inputs changed or an upgrade is asked for; a distribution's mirror has one
    version of each package, so locking the OS means taking that one.
    """
    asked = part.kinds(words)
    wanted = part.python_locks(catalogue) if "python" in asked else ()
    old = _pins(catalogue.folder)
    new_programs = _programs(catalogue, old.programs) if "archives" in asked else old.programs
    moved_os = os_refresh.refresh(catalogue.folder, os_locks(catalogue)) if "os" in asked else ()
    moved = (*moved_os, *os_refresh.program_moves(old.programs, new_programs))
    pins = Pins(epoch=int(time.time()) if moved or not old.epoch else old.epoch, programs=new_programs, roots=old.roots)
    # Before the minutes that root images take: interrupted there, the next run goes on from this epoch.
    _write(catalogue, pins)
    if moved or {"os", "images"} & set(asked):
        _write(catalogue, replace(pins, roots=_roots(catalogue, pins.epoch)))
    system = {"os", "archives"} & set(asked)
    terminal = [lock_report.text(moved)] if system else []
    markdown = [lock_report.markdown(moved).rstrip()] if system else []
    if "python" in asked:
        from dynamo_containers import python_lock_refresh, python_lock_report

        before = python_lock_refresh.cooled(catalogue, datetime.now(UTC))
        wish = python_lock_refresh.Wish(upgrade=upgrade, upgrade_all=upgrade_all, uploaded_before=before)
        table = python_lock_report.report(python_lock_refresh.refresh(catalogue, wanted, wish))
        terminal.append(table)
        markdown.append(table)
    return Report(terminal="\n\n".join(terminal), markdown="\n\n".join(markdown))


def publish(report: Report, file: str | None) -> None:
    """Print what moved, and write it as Markdown where that is wanted."""
    print(report.terminal or "Root images were made; no lock was asked for.")
    if file:
        run.write(run.Document(path=Path(file).absolute(), text=f"# What the locks moved\n\n{report.markdown}\n"))


def _write(catalogue: Catalogue, pins: Pins) -> None:
    run.write(run.Document(path=catalogue.folder / PINS_FILE, text=render(pins)))


def check(catalogue: Catalogue, words: Collection[str] = (), *, part: Part = EVERYTHING, judge: bool = False) -> str:
    """Say that every lock fits what it is made from; offline, in milliseconds; with `judge` ask uv and the index too.

    Raises:
        CheckFailedError, CommandFailedError: uv refuses a Python lock, or could not be asked.
        LockError: some are missing or stale; the message names each and what to run.
    """
    asked = part.kinds(words)
    wanted = part.python_locks(catalogue) if "python" in asked else ()
    reasons = []
    if "python" in asked:
        found = (python_lock.stale(lock, catalogue.folder) for lock in wanted)
        reasons += [reason for reason in found if reason]
    if "os" in asked:
        for lock in os_locks(catalogue):
            reasons += _reason(partial(os_lock.read, lock, catalogue.folder))
    if {"archives", "images"} & set(asked):
        reasons += _reason(partial(_check_pins, catalogue))
    if reasons:
        raise LockError("\n".join(reasons))
    if judge:
        from dynamo_containers import python_lock_judge

        python_lock_judge.judge_all(wanted, catalogue.folder)
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
    """Copy every locked .deb into a folder; see `pool.keep`.

    Raises:
        UsageError: no folder is named.
    """
    from dynamo_containers import pool

    if not folder:
        message = "--keep-pool names no folder."
        raise UsageError(message)
    return pool.keep(catalogue, os_locks(catalogue), Path(folder).absolute())


def _pins(folder: Path) -> Pins:
    try:
        return load_pins(folder)
    except LockError:
        return Pins(epoch=0, programs={}, roots={})


def _programs(catalogue: Catalogue, old: Programs) -> Programs:
    on = {bases: platforms(catalogue, bases) for bases in catalogue.bases}
    return os_refresh.programs_now(catalogue.folder, catalogue.bases.values(), on, old)


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
