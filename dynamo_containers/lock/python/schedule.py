"""Order of the Python locks to update, and the command for each; pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.errors import unknown_name
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks.python_lock import ANY_HOST, COMMON_CONSTRAINTS, locks
from dynamo_containers.facts.locks.requirements import COMMAND, package_name, read_if_valid
from dynamo_containers.platforms import Platform, parse_platforms
from dynamo_containers.process import Command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile


@dataclass(frozen=True, kw_only=True)
class UpgradeOptions:
    """Options that decide which locked releases may move."""

    upgrade: Collection[str] = ()
    """Packages that move to their newest release that fits, as `name` or `name==version`."""
    upgrade_all: bool = False
    uploaded_before: datetime
    """Later releases are not taken, unless they are locked already."""


def cooldown_limit(catalogue: Catalogue, now: datetime) -> datetime:
    """Return the time before which a release must have been uploaded."""
    return now - timedelta(days=catalogue.cooldown_days)


def compile_command(lock: LockFile, folder: Path, options: UpgradeOptions) -> Command:
    """Return the command that updates one lock; pins that still fit stay, unless an upgrade of them is requested."""
    return Command(
        argv=(
            *(sys.executable, "-m", "dynamo_containers.lock.python.compile", "--folder", str(folder), lock.path),
            *(argument for name in options.upgrade for argument in ("--upgrade", name)),
            *(("--upgrade-all",) if options.upgrade_all else ()),
            *("--uploaded-before", options.uploaded_before.isoformat(timespec="seconds")),
            *("--findings", str(findings_file(lock, folder))),
        ),
        env={"PYTHONPATH": str(ROOT)},  # `python -m` looks in the current folder, which may be any
        reports_error_kind=True,
        quiet=True,
        title=f"locking {lock.path}",
        hint=(
            f"{lock.path} was not changed. Edit {lock.layer.requirements} or {COMMON_CONSTRAINTS}, then run: {COMMAND}"
        ),
    )


def findings_file(lock: LockFile, folder: Path) -> Path:
    """Return the file in which the child process leaves the answers of the index about a lock's packages."""
    return folder / state.LOCKING / f"{Path(lock.path).stem}.findings.json"


def select(
    catalogue: Catalogue, images: Collection[str] = (), bases: Collection[str] = (), platforms: Collection[str] = ()
) -> tuple[LockFile, ...]:
    """Return the locks that the options of the command line select; no option selects all.

    Raises:
        UsageError: an image, a set of bases or a platform is unknown.
    """
    for option, names, choices in (("image", images, catalogue.images), ("bases", bases, catalogue.bases)):
        for name in names:
            if name not in choices:
                raise unknown_name(option, name, choices)
    parsed = parse_platforms(platforms) if platforms else ()
    return select_locks(locks(catalogue), images=images, bases=bases, platforms=parsed)


def select_locks(
    locks: Collection[LockFile],
    *,
    images: Collection[str] = (),
    bases: Collection[str] = (),
    platforms: Collection[Platform] = (),
) -> tuple[LockFile, ...]:
    """Return the selected locks, each after the locks below it; an empty option selects all."""
    selected: dict[LockFile, None] = {}
    for lock in locks:
        for_any_host = lock.target == ANY_HOST
        if (
            (not images or lock.layer.image in images)
            and (not bases or for_any_host or lock.target.bases in bases)
            and (not platforms or for_any_host or lock.target.platform in platforms)
        ):
            selected |= dict.fromkeys((*lock.lower, lock))
    # A shared lock follows from the locks of all images that share it.
    shared = {lock.shared for lock in selected} | {lock.path for lock in selected if lock.shared_by}
    return tuple(lock for lock in locks if lock in selected or ({lock.path, lock.shared} - {""}) & shared)


def waves(locks: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks in groups: a lock needs only locks of earlier groups, so a group can be updated in parallel."""
    depths = {lock: _depth(lock) for lock in locks}
    return tuple(tuple(lock for lock in depths if depths[lock] == depth) for depth in sorted(set(depths.values())))


def _depth(lock: LockFile) -> int:
    return 1 + max((_depth(lower) for lower in lock.lower), default=0)


def units(wave: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks of a wave in units: one lock, or all locks that share another lock."""
    shared: dict[str, list[LockFile]] = {}
    for lock in wave:
        shared.setdefault(lock.shared or lock.path, []).append(lock)
    return tuple(tuple(unit) for unit in shared.values())


def upgrades_in(text: str, upgrade: Iterable[str]) -> tuple[str, ...]:
    """Return the requested upgrades (`name` or `name==version`) whose package a lock pins."""
    pinned = {package.name for package in read_if_valid(text)}
    return tuple(requirement for requirement in upgrade if package_name(requirement) in pinned)
