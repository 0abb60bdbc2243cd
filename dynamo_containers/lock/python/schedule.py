"""Order and commands of the Python locks to make; pure, update.py runs them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import unknown_name
from dynamo_containers.facts.locks.python_lock import ANY_HOST, EVERYWHERE, locks
from dynamo_containers.facts.locks.requirements import COMMAND, name_of, readable
from dynamo_containers.platforms import Platform, parse_platforms
from dynamo_containers.process import Command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What may move."""

    upgrade: Collection[str] = ()
    """Packages that move to their newest release that fits, as `name` or `name==version`."""
    upgrade_all: bool = False
    uploaded_before: datetime
    """Releases that came later are not taken, unless they are locked already."""


def cooled(catalogue: Catalogue, now: datetime) -> datetime:
    """Return the time before which a release must have come."""
    return now - timedelta(days=catalogue.cooldown_days)


def plan(lock: LockFile, folder: Path, wish: Wish) -> Command:
    """Return the command that makes or renews one lock; pins that still fit are kept unless an upgrade is asked for."""
    return Command(
        argv=(
            *(sys.executable, "-m", "dynamo_containers.lock.python.compile", "--folder", str(folder), lock.path),
            *(word for name in wish.upgrade for word in ("--upgrade", name)),
            *(("--upgrade-all",) if wish.upgrade_all else ()),
            *("--uploaded-before", wish.uploaded_before.isoformat(timespec="seconds")),
            *("--findings", str(findings_file(lock, folder))),
        ),
        env={"PYTHONPATH": str(folder)},  # `python -m` looks in the current folder, which may be any
        reports_error_kind=True,
        quiet=True,
        title=lock.path,
        hint=f"{lock.path} is as it was. Edit {lock.layer.requirements} or {EVERYWHERE}, then run: {COMMAND}",
    )


def findings_file(lock: LockFile, folder: Path) -> Path:
    """Return where the making of a lock leaves what the index says about its packages."""
    return folder / ".build/lock" / f"{Path(lock.path).stem}.findings.json"


def asked(
    catalogue: Catalogue, images: Collection[str] = (), bases: Collection[str] = (), platforms: Collection[str] = ()
) -> tuple[LockFile, ...]:
    """Return the locks that the words of a command line mean; no word means all.

    Raises:
        UsageError: a word names no image, no bases or no platform.
    """
    for what, words, valid in (("image", images, catalogue.images), ("bases", bases, catalogue.bases)):
        for word in words:
            if word not in valid:
                raise unknown_name(what, word, valid)
    on = parse_platforms(platforms) if platforms else ()
    return chosen(locks(catalogue), images=images, bases=bases, platforms=on)


def chosen(
    every: Collection[LockFile],
    *,
    images: Collection[str] = (),
    bases: Collection[str] = (),
    platforms: Collection[Platform] = (),
) -> tuple[LockFile, ...]:
    """Return the locks that were asked for, each after the locks below it; nothing named means all of that kind."""
    wanted: dict[LockFile, None] = {}
    for lock in every:
        for_all = lock.target == ANY_HOST
        if (
            (not images or lock.layer.image in images)
            and (not bases or for_all or lock.target.bases in bases)
            and (not platforms or for_all or lock.target.platform in platforms)
        ):
            wanted |= dict.fromkeys((*lock.below, lock))
    # What is in common can only be said of all of them.
    common = {lock.shared for lock in wanted} | {lock.path for lock in wanted if lock.parts}
    return tuple(lock for lock in every if lock in wanted or ({lock.path, lock.shared} - {""}) & common)


def waves(every: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks in groups: one needs only locks of earlier groups, so those of a group can be made together."""
    depths = {lock: _depth(lock) for lock in every}
    return tuple(tuple(lock for lock in depths if depths[lock] == depth) for depth in sorted(set(depths.values())))


def _depth(lock: LockFile) -> int:
    return 1 + max((_depth(lower) for lower in lock.below), default=0)


def units(group: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks of a wave as they are made: alone, or those with a shared lock in common together."""
    together: dict[str, list[LockFile]] = {}
    for lock in group:
        together.setdefault(lock.shared or lock.path, []).append(lock)
    return tuple(tuple(unit) for unit in together.values())


def to_upgrade(text: str, upgrade: Iterable[str]) -> tuple[str, ...]:
    """Return which of the wanted upgrades (`name` or `name==version`) concern a lock."""
    pinned = {package.name for package in readable(text)}
    return tuple(wish for wish in upgrade if name_of(wish) in pinned)
