"""How is a Python lock made or renewed? One pip-compile per lock, a few at a time, and only where something asks."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError
from dynamo_containers.model import platforms as parse_platforms
from dynamo_containers.model import unknown
from dynamo_containers.python_lock import ANY_HOST, EVERYWHERE, locks, texts_of, why_stale
from dynamo_containers.python_lock_report import Findings, moves, warning
from dynamo_containers.python_pins import COMMAND, name_of, read, readable
from dynamo_containers.run import Command, Plan, execute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from dynamo_containers.model import Catalogue
    from dynamo_containers.platforms import Platform
    from dynamo_containers.python_lock import LockFile
    from dynamo_containers.python_lock_report import Move

AT_ONCE = 2
"""Locks made at the same time: each keeps a core busy (pip's resolver), and all wait for the same index."""


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
            *(sys.executable, "-m", "dynamo_containers.pip_compile_target", "--folder", str(folder), lock.path),
            *(word for name in wish.upgrade for word in ("--upgrade", name)),
            *(("--upgrade-all",) if wish.upgrade_all else ()),
            *("--uploaded-before", wish.uploaded_before.isoformat(timespec="seconds")),
            *("--findings", str(findings_file(lock, folder))),
        ),
        env={"PYTHONPATH": str(folder)},  # `python -m` looks in the current folder, which may be any
        ours=True,
        quiet=True,
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
                raise unknown(what, word, valid)
    on = parse_platforms(platforms) if platforms else ()
    return chosen(locks(catalogue), images=images, bases=bases, platforms=on)


def chosen(
    every: Iterable[LockFile],
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
    return tuple(wanted)


def waves(every: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks in groups: one needs only locks of earlier groups, so those of a group can be made together."""
    depths = {lock: _depth(lock) for lock in every}
    return tuple(tuple(lock for lock in depths if depths[lock] == depth) for depth in sorted(set(depths.values())))


def _depth(lock: LockFile) -> int:
    return 1 + max((_depth(lower) for lower in lock.below), default=0)


def to_upgrade(lock: LockFile, texts: Mapping[str, str], upgrade: Iterable[str]) -> tuple[str, ...]:
    """Return which of the wanted upgrades (`name` or `name==version`) concern this lock."""
    pinned = {package.name for package in readable(texts.get(lock.path, ""))}
    return tuple(wish for wish in upgrade if name_of(wish) in pinned)


def refresh(catalogue: Catalogue, wanted: Iterable[LockFile], wish: Wish, *, dry_run: bool = False) -> tuple[Move, ...]:
    """Make the locks that are missing or stale, or that an upgrade concerns; leave the others alone; say what moved.

    Raises:
        UsageError: a package that is to be upgraded is in no lock.
        LockError, DownloadError: a lock could not be made; it stays as it was, and so do those that stand on it.
    """
    from concurrent.futures import ThreadPoolExecutor

    groups = waves(wanted)
    _check_upgrades(groups, catalogue.folder, wish.upgrade)
    one = partial(_refresh, folder=catalogue.folder, wish=wish, dry_run=dry_run)
    moved: list[Move] = []
    for group in groups:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            moved += (move for made in pool.map(one, group) for move in made)  # raises what a thread raised
    return tuple(moved)


def _check_upgrades(groups: Iterable[Iterable[LockFile]], folder: Path, upgrade: Iterable[str]) -> None:
    every = tuple(lock for group in groups for lock in group)
    for wish in upgrade:
        if not any(to_upgrade(lock, texts_of(lock, folder), (wish,)) for lock in every):
            message = f'"{wish}" is in no lock, so it cannot be upgraded.\nSee what is: ls constraints'
            raise UsageError(message)


def _refresh(lock: LockFile, *, folder: Path, wish: Wish, dry_run: bool) -> tuple[Move, ...]:
    texts = texts_of(lock, folder)
    mine = replace(wish, upgrade=to_upgrade(lock, texts, wish.upgrade))
    if not (why_stale(lock, texts) or mine.upgrade or mine.upgrade_all):
        return ()
    start = time.monotonic()
    execute(Plan(commands=(plan(lock, folder, mine),)), dry_run=dry_run)
    if dry_run:
        return ()
    after = read((folder / lock.path).read_text(encoding="utf-8"), lock.path)
    print(f"  {lock.path}: {len(after)} packages, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    found = Findings(**json.loads(findings_file(lock, folder).read_text(encoding="utf-8")))
    print(warning(lock.path, found), end="", file=sys.stderr, flush=True)
    return moves(lock.path, readable(texts.get(lock.path, "")), after, found.sizes)
