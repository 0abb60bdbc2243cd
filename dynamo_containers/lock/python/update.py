"""Make Python locks: one pip-compile per lock, a few at a time, and only where something asks.

Locks that have a shared lock in common are made one after the other, each leaning on the pins of those before it, and
are then parted (python_lock_shared).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import UnreachableError, UsageError
from dynamo_containers.facts.locks import python_common
from dynamo_containers.facts.locks.python_lock import header, not_locked_below, shares, texts_of, why_stale
from dynamo_containers.facts.locks.python_moves import Findings, Unlike, moves, warning
from dynamo_containers.facts.locks.requirements import read, readable
from dynamo_containers.lock.python import sizes as python_sizes
from dynamo_containers.lock.python.schedule import findings_file, plan, to_upgrade, units, waves
from dynamo_containers.process import Document, Plan, execute, write
from dynamo_containers.upstream.unreachable import AS_IT_WAS, NOT_LOCKED, Unreached

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.facts.locks.python_moves import Move
    from dynamo_containers.lock.python.schedule import Wish

AT_ONCE = 2
"""Locks made at the same time: each keeps a core busy (pip's resolver), and all wait for the same index."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did."""

    moves: tuple[Move, ...] = ()
    unlike: tuple[Unlike, ...] = ()
    """Packages that should be shared and are not."""
    unreachable: tuple[Unreached, ...] = ()
    """Locks that stayed as they were since their own index did not answer."""
    sizes: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    """Path of each lock that was made -> pin -> how many bytes the index states."""
    unstated: tuple[tuple[str, str], ...] = ()
    """(pin, lock) for which the index states no size."""


def refresh(catalogue: Catalogue, wanted: Iterable[LockFile], wish: Wish, *, dry_run: bool = False) -> Outcome:
    """Make the locks that are missing or stale, or that an upgrade concerns; leave the others alone; say what moved.

    Raises:
        UsageError: a package that is to be upgraded is in no lock.
        LockError, DownloadError: a lock could not be made; it stays as it was, and so do those that stand on it.
    """
    from concurrent.futures import ThreadPoolExecutor

    wanted = tuple(wanted)
    groups = waves(wanted)
    _check_upgrades(groups, catalogue.folder, wish.upgrade)
    one = partial(_refresh, catalogue=catalogue, wish=wish, dry_run=dry_run)
    made: list[Outcome] = []
    for group in groups:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            made += pool.map(one, units(group))  # raises what a thread raised
    sizes = {path: found for each in made for path, found in each.sizes.items()}
    sized = python_sizes.Outcome() if dry_run else python_sizes.refresh(catalogue, wanted, sizes)
    return Outcome(
        sizes=sizes,
        unstated=sized.unstated,
        moves=tuple(dict.fromkeys(move for each in made for move in each.moves)),
        unlike=tuple(row for each in made for row in each.unlike),
        unreachable=(*(row for each in made for row in each.unreachable), *sized.unreachable),
    )


def _check_upgrades(groups: Iterable[Iterable[LockFile]], folder: Path, upgrade: Iterable[str]) -> None:
    every = tuple(lock for group in groups for lock in group)
    for wish in upgrade:
        if not any(to_upgrade(texts_of(lock, folder).get(lock.path, ""), (wish,)) for lock in every):
            message = f'"{wish}" is in no lock, so it cannot be upgraded.\nSee what is: ls constraints'
            raise UsageError(message)


def _refresh(unit: tuple[LockFile, ...], *, catalogue: Catalogue, wish: Wish, dry_run: bool) -> Outcome:
    """Refresh the locks that are made together: one, or all that have a shared lock in common with it."""
    folder = catalogue.folder
    before = {lock.path: whole_text(lock, folder) for lock in unit if not lock.parts}
    after, found = dict(before), {}
    if lower := next((path for lock in unit for path in not_locked_below(lock, folder)), None):
        return _unreached(unit, before, f"it stands on {lower}, which is not locked")
    stale = any(why_stale(lock, texts_of(lock, folder)) for lock in unit)
    for lock in unit:
        mine = replace(wish, upgrade=to_upgrade(before.get(lock.path, ""), wish.upgrade))
        if lock.parts or not (stale or mine.upgrade or mine.upgrade_all):
            continue
        try:
            _make(lock, catalogue, mine, after, dry_run=dry_run)
        except UnreachableError:
            addresses = ", ".join(sorted({address for _, address in lock.indexes}))
            return _unreached(unit, before, f"{addresses} cannot be reached from here")
        if not dry_run:
            after[lock.path] = whole_text(lock, folder, made=True)
            found[lock.path] = _findings(lock, folder)
    if not found:
        return Outcome()
    places = _part(unit, folder, after)
    for lock in unit:
        if lock.path in found:
            progress.say(warning(lock.path, found[lock.path]))
    moved = (
        replace(move, lock=places.get(move.name, move.lock))
        for path, known in found.items()
        for move in moves(path, readable(before[path]), read(after[path], path), known.sizes)
    )
    return Outcome(
        moves=tuple(moved),
        unlike=_unlike(unit, catalogue, after, found),
        sizes={path: known.sizes for path, known in found.items()},
    )


def _unreached(unit: Iterable[LockFile], before: Mapping[str, str], why: str) -> Outcome:
    return Outcome(
        unreachable=tuple(
            Unreached(what=lock.path, why=why, kept=AS_IT_WAS if before.get(lock.path) else NOT_LOCKED) for lock in unit
        )
    )


def whole_text(lock: LockFile, folder: Path, *, made: bool = False) -> str:
    """Return all that an image's lock pins, also what stands in the shared one; empty when there is none.

    Args:
        lock: which one.
        folder: the checkout.
        made: take what was just made and is not parted yet.
    """
    if made and lock.shared:
        return made_file(lock, folder).read_text(encoding="utf-8")
    texts = texts_of(lock, folder)
    if lock.path not in texts or not lock.shared:
        return texts.get(lock.path, "")
    return python_common.whole(texts.get(lock.shared, ""), texts[lock.path])


def made_file(lock: LockFile, folder: Path) -> Path:
    """Return where a whole lock stands before it is parted."""
    return folder / ".build/lock" / f"{Path(lock.path).stem}.whole.txt"


def _make(lock: LockFile, catalogue: Catalogue, wish: Wish, known: Mapping[str, str], *, dry_run: bool) -> None:
    folder = catalogue.folder
    documents: tuple[Document, ...] = ()
    command = plan(lock, folder, wish)
    if lock.shared:
        seed = folder / ".build/lock" / f"{Path(lock.path).stem}.seed.txt"
        others = [text for path, text in known.items() if path != lock.path]
        alike = catalogue.common_layers[lock.layer.shares].same_version
        documents = (Document(path=seed, text=python_common.leaning(known[lock.path], others, alike)),)
        command = replace(command, argv=(*command.argv, "--seed", str(seed), "--output", str(made_file(lock, folder))))
    start = time.monotonic()
    execute(Plan(documents=documents, commands=(command,)), dry_run=dry_run)
    if not dry_run:
        count = len(read(whole_text(lock, folder, made=True), lock.path))
        progress.say(f"  {lock.path}: {count} packages, {time.monotonic() - start:.0f} s")


def _findings(lock: LockFile, folder: Path) -> Findings:
    return Findings(**json.loads(findings_file(lock, folder).read_text(encoding="utf-8")))


def _part(unit: tuple[LockFile, ...], folder: Path, wholes: Mapping[str, str]) -> dict[str, str]:
    """Write the shared lock and what each image has beside it; return package -> name of the shared lock."""
    common = next((lock for lock in unit if lock.parts), None)
    if common is None:
        return {}
    body, rest = python_common.part(wholes)
    text = header(common, {}, {}) + body
    write(Document(path=folder / common.path, text=text))
    line = shares(common.path, text)
    for path, own in rest.items():
        write(Document(path=folder / path, text=python_common.saying(line, own)))
    progress.say(f"  {common.path}: {len(read(body))} packages in common")
    return dict.fromkeys((each.name for each in read(body)), Path(common.path).stem)


def _unlike(
    unit: tuple[LockFile, ...], catalogue: Catalogue, wholes: Mapping[str, str], found: Mapping[str, Findings]
) -> tuple[Unlike, ...]:
    patterns = next((catalogue.common_layers[lock.layer.name].same_version for lock in unit if lock.parts), ())
    return tuple(
        Unlike(
            name=row.name,
            found=tuple(
                (Path(path).stem, version, "; ".join(_requirements(path, row.name, found)) or f"for {via}")
                for path, version, via in row.found
            ),
        )
        for row in python_common.differences(wholes, patterns)
    )


def _requirements(path: str, name: str, found: Mapping[str, Findings]) -> Iterable[str]:
    return found[path].requirements.get(name, ()) if path in found else ()
