"""How is a Python lock made or renewed? One pip-compile per lock, a few at a time, and only where something asks."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.python_lock import ANY_HOST, EVERYWHERE, texts_of, why_stale
from dynamo_containers.python_pins import COMMAND, read
from dynamo_containers.run import Command, Plan, execute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.model import Catalogue, Platform
    from dynamo_containers.python_lock import LockFile

AT_ONCE = 2
"""Locks made at the same time: each keeps a core busy (pip's resolver), and all wait for the same index."""


def plan(lock: LockFile, folder: Path, upgrade: Iterable[str] = (), *, upgrade_all: bool = False) -> Command:
    """Return the command that makes or renews one lock; pins that still fit are kept unless an upgrade is asked for."""
    return Command(
        argv=(
            *(sys.executable, "-m", "dynamo_containers.pip_compile_target", "--folder", str(folder), lock.path),
            *(word for name in upgrade for word in ("--upgrade", name)),
            *(("--upgrade-all",) if upgrade_all else ()),
        ),
        env={"PYTHONPATH": str(folder)},  # `python -m` looks in the current folder, which may be any
        quiet=True,
        hint=f"{lock.path} is as it was. Edit {lock.layer.requirements} or {EVERYWHERE}, then run: {COMMAND}",
    )


def chosen(
    every: Iterable[LockFile],
    *,
    layers: Collection[str] = (),
    bases: Collection[str] = (),
    platforms: Collection[Platform] = (),
) -> tuple[LockFile, ...]:
    """Return the locks that were asked for, each after the locks below it; nothing named means all of that kind."""
    wanted: dict[LockFile, None] = {}
    for lock in every:
        for_all = lock.target == ANY_HOST
        if (
            (not layers or lock.layer.name in layers)
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
    try:
        pinned = {package.name for package in read(texts.get(lock.path, ""), lock.path)}
    except LockError:
        return ()  # it is made anew anyway
    return tuple(wish for wish in upgrade if _name(wish) in pinned)


def _name(wish: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;\[]", wish, maxsplit=1)[0]).lower()


def refresh(
    catalogue: Catalogue,
    wanted: Iterable[LockFile],
    *,
    upgrade: Collection[str] = (),
    upgrade_all: bool = False,
    dry_run: bool = False,
) -> None:
    """Make the locks that are missing or stale, or that an upgrade concerns; leave the others alone.

    Raises:
        UsageError: a package that is to be upgraded is in no lock.
        CommandFailedError: a lock could not be made; it stays as it was, and so do those that stand on it.
    """
    from concurrent.futures import ThreadPoolExecutor

    groups = waves(wanted)
    _check_upgrades(groups, catalogue.folder, upgrade)
    for group in groups:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            made = pool.map(
                lambda lock: _refresh(lock, catalogue.folder, upgrade, upgrade_all=upgrade_all, dry_run=dry_run), group
            )
            tuple(made)  # raises what a thread raised


def _check_upgrades(groups: Iterable[Iterable[LockFile]], folder: Path, upgrade: Iterable[str]) -> None:
    every = tuple(lock for group in groups for lock in group)
    for wish in upgrade:
        if not any(to_upgrade(lock, texts_of(lock, folder), (wish,)) for lock in every):
            message = f'"{wish}" is in no lock, so it cannot be upgraded.\nSee what is: ls constraints'
            raise UsageError(message)


def _refresh(lock: LockFile, folder: Path, upgrade: Collection[str], *, upgrade_all: bool, dry_run: bool) -> None:
    texts = texts_of(lock, folder)
    names = to_upgrade(lock, texts, upgrade)
    reason = why_stale(lock, texts)
    if not (reason or names or upgrade_all):
        return
    start = time.monotonic()
    execute(Plan(commands=(plan(lock, folder, names, upgrade_all=upgrade_all),)), dry_run=dry_run)
    if not dry_run:
        packages = len(read((folder / lock.path).read_text(encoding="utf-8"), lock.path))
        print(f"  {lock.path}: {packages} packages, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
