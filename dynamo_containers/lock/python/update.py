"""Update of Python locks: one pip-compile per lock, a few in parallel, and only where a lock is stale or may move.

Images that share a lock are resolved one after the other, each starting from the pins of those before it.
Then the lock is split into the shared part and the part of each image (facts/locks/python_common.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, progress, state
from dynamo_containers.errors import UnreachableError, UsageError, similar_name
from dynamo_containers.facts.locks import python_common
from dynamo_containers.facts.locks.download_sizes import lock_name
from dynamo_containers.facts.locks.python_lock import (
    header,
    read_valid_texts,
    shares_line,
    stale_reason,
    unlocked_below,
)
from dynamo_containers.facts.locks.requirements import package_name, read, read_if_valid
from dynamo_containers.lock.python import sizes as python_sizes
from dynamo_containers.lock.python.report import IndexFindings, UnsharedPackage, python_moves, warnings_of
from dynamo_containers.lock.python.schedule import compile_command, findings_file, units, upgrades_in, waves
from dynamo_containers.process import Document, Plan, execute, write
from dynamo_containers.upstream.unreachable import AS_IT_WAS, NOT_LOCKED, UnreachableInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.lock.python.schedule import UpgradeOptions

PARALLEL_COMPILES = 2
"""Locks updated in parallel: each keeps a core busy (pip's resolver), and all wait for the same index."""


@dataclass(frozen=True, kw_only=True)
class PythonUpdate:
    """Result of an update of Python locks."""

    moves: tuple[Move, ...] = ()
    unshared: tuple[UnsharedPackage, ...] = ()
    """Packages that images should share but do not."""
    warnings: tuple[str, ...] = ()
    """Yanked releases, and what else pip only warns of."""
    unreachable: tuple[UnreachableInput, ...] = ()
    """Locks that were not changed because their own index did not answer."""
    sizes: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    """Path of each updated lock -> pin -> bytes that the index states."""
    unknown_sizes: tuple[tuple[str, str], ...] = ()
    """(pin, lock) whose size the index does not state."""


def update_locks(catalogue: Catalogue, locks: Iterable[LockFile], options: UpgradeOptions) -> PythonUpdate:
    """Update the locks that are missing or stale, or that an upgrade concerns; the others do not change.

    Raises:
        UsageError: no lock pins a package whose upgrade is requested.
        LockError, DownloadError: a lock cannot be resolved; this lock and those that are based on it do not change.
    """
    from concurrent.futures import ThreadPoolExecutor

    locks = tuple(locks)
    check_upgrades(locks, catalogue.folder, options.upgrade)
    update = partial(_update_unit, catalogue=catalogue, options=options)
    updates: list[PythonUpdate] = []
    for wave in waves(locks):
        with ThreadPoolExecutor(max_workers=PARALLEL_COMPILES) as pool:
            updates += pool.map(update, units(wave))  # raises the error of a thread
    sizes = {path: pins for updated in updates for path, pins in updated.sizes.items()}
    sizes_update = python_sizes.update_sizes(catalogue, locks, sizes)
    return PythonUpdate(
        sizes=sizes,
        unknown_sizes=sizes_update.unknown,
        moves=tuple(dict.fromkeys(move for updated in updates for move in updated.moves)),
        unshared=tuple(package for updated in updates for package in updated.unshared),
        warnings=tuple(warning for updated in updates for warning in updated.warnings),
        unreachable=(*(row for updated in updates for row in updated.unreachable), *sizes_update.unreachable),
    )


def check_upgrades(locks: Iterable[LockFile], folder: Path, upgrade: Iterable[str]) -> None:
    """Refuse, before anything is written, an upgrade of a package that no lock pins.

    Raises:
        UsageError: with the package whose name is closest.
    """
    if not upgrade:
        return
    texts = (read_valid_texts(lock, folder).get(lock.path, "") for lock in locks)
    pinned = {package.name for text in texts for package in read_if_valid(text)}
    for requirement in upgrade:
        name = package_name(requirement)
        if name not in pinned:
            similar = similar_name(name, pinned)
            hint = f"Did you mean {similar}?" if similar else "The locks are in: constraints"
            message = f'No lock pins "{requirement}", so it cannot be upgraded.\n{hint}'
            raise UsageError(message)


def _update_unit(unit: tuple[LockFile, ...], *, catalogue: Catalogue, options: UpgradeOptions) -> PythonUpdate:
    """Update one lock, or all locks that share another lock."""
    folder = catalogue.folder
    before = {lock.path: full_text(lock, folder) for lock in unit if not lock.shared_by}
    after, findings = dict(before), {}
    if lower := next((path for lock in unit for path in unlocked_below(lock, folder)), None):
        return _unreachable(unit, before, f"it is based on {lower}, which is not locked")
    stale = any(stale_reason(lock, folder) for lock in unit)
    for lock in unit:
        lock_options = replace(options, upgrade=upgrades_in(before.get(lock.path, ""), options.upgrade))
        if lock.shared_by or not (stale or lock_options.upgrade or lock_options.upgrade_all):
            continue
        try:
            _compile(lock, catalogue, lock_options, after)
        except UnreachableError:
            addresses = ", ".join(sorted({address for _, address in lock.indexes}))
            return _unreachable(unit, before, f"{addresses} cannot be reached from here")
        after[lock.path] = full_text(lock, folder, unsplit=True)
        findings[lock.path] = _read_findings(lock, folder)
    if not findings:
        return PythonUpdate()
    return _split_and_report(unit, catalogue, before, after, findings)


def _split_and_report(
    unit: tuple[LockFile, ...],
    catalogue: Catalogue,
    before: Mapping[str, str],
    after: Mapping[str, str],
    findings: Mapping[str, IndexFindings],
) -> PythonUpdate:
    shared_by = _split(unit, catalogue.folder, after)
    moves = (
        replace(move, lock=shared_by.get(move.name, move.lock))
        for path, answers in findings.items()
        for move in python_moves(path, read_if_valid(before[path]), read(after[path], path), answers.sizes)
    )
    return PythonUpdate(
        moves=tuple(moves),
        unshared=_unshared(unit, catalogue, after, findings),
        warnings=tuple(warning for path, answers in findings.items() for warning in warnings_of(path, answers)),
        sizes={path: answers.sizes for path, answers in findings.items()},
    )


def _unreachable(unit: Iterable[LockFile], before: Mapping[str, str], reason: str) -> PythonUpdate:
    return PythonUpdate(
        unreachable=tuple(
            UnreachableInput(name=lock.path, reason=reason, pinned=AS_IT_WAS if before.get(lock.path) else NOT_LOCKED)
            for lock in unit
        )
    )


def full_text(lock: LockFile, folder: Path, *, unsplit: bool = False) -> str:
    """Return an image's lock together with the lock that it shares; empty when it does not exist.

    Args:
        lock: which one.
        folder: the checkout.
        unsplit: read the new lock that pip-compile left and that is not split yet.
    """
    if unsplit and lock.shared:
        return file_reader.read_text(unsplit_file(lock, folder))
    texts = read_valid_texts(lock, folder)
    if lock.path not in texts or not lock.shared:
        return texts.get(lock.path, "")
    return python_common.join(texts.get(lock.shared, ""), texts[lock.path])


def unsplit_file(lock: LockFile, folder: Path) -> Path:
    """Return the file in which pip-compile leaves the lock of an image before it is split."""
    return folder / state.LOCKING / f"{Path(lock.path).stem}.whole.txt"


def _compile(lock: LockFile, catalogue: Catalogue, options: UpgradeOptions, texts: Mapping[str, str]) -> None:
    folder = catalogue.folder
    documents: tuple[Document, ...] = ()
    command = compile_command(lock, folder, options)
    if lock.shared:
        seed = folder / state.LOCKING / f"{Path(lock.path).stem}.seed.txt"
        others = [text for path, text in texts.items() if path != lock.path]
        patterns = catalogue.common_layers[lock.layer.shares].same_version
        documents = (Document(path=seed, text=python_common.with_pins_of(texts[lock.path], others, patterns)),)
        arguments = ("--seed", str(seed), "--output", str(unsplit_file(lock, folder)))
        command = replace(command, argv=(*command.argv, *arguments))
    start = time.monotonic()
    execute(Plan(documents=documents, commands=(command,)))
    count = len(read(full_text(lock, folder, unsplit=True), lock.path))
    progress.say(f"  {lock.path}: {count} packages, {time.monotonic() - start:.0f} s")


def _read_findings(lock: LockFile, folder: Path) -> IndexFindings:
    return IndexFindings(**file_reader.parse_json(file_reader.read_text(findings_file(lock, folder))))


def _split(unit: tuple[LockFile, ...], folder: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Write the shared lock and the part of each image; return package -> name of the shared lock."""
    shared = next((lock for lock in unit if lock.shared_by), None)
    if shared is None:
        return {}
    body, parts = python_common.split(texts)
    text = header(shared, {}, {}) + body
    write(Document(path=folder / shared.path, text=text))
    line = shares_line(shared.path, text)
    for path, part in parts.items():
        write(Document(path=folder / path, text=python_common.with_shares_line(line, part)))
    progress.say(f"  {shared.path}: {len(read(body))} packages in common")
    return dict.fromkeys((package.name for package in read(body)), lock_name(shared.path))


def _unshared(
    unit: tuple[LockFile, ...],
    catalogue: Catalogue,
    texts: Mapping[str, str],
    findings: Mapping[str, IndexFindings],
) -> tuple[UnsharedPackage, ...]:
    patterns = next((catalogue.common_layers[lock.layer.name].same_version for lock in unit if lock.shared_by), ())
    return tuple(
        UnsharedPackage(
            name=difference.name,
            versions=tuple(
                (lock_name(path), version, "; ".join(_requirements(path, difference.name, findings)) or f"for {via}")
                for path, version, via in difference.versions
            ),
        )
        for difference in python_common.differences(texts, patterns)
    )


def _requirements(path: str, name: str, findings: Mapping[str, IndexFindings]) -> Iterable[str]:
    return findings[path].requirements.get(name, ()) if path in findings else ()
