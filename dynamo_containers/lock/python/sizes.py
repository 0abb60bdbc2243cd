"""Update of constraints/sizes.toml: known sizes are kept, and the index is queried for the others.

Sizes that pip-compile just read take precedence over those in the file. A package that moves between a shared lock and
the locks that share it keeps its size: it is the same file.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, progress, state
from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks.download_sizes import REMEDY, SIZES_FILE, Sizes, load, lock_name, render
from dynamo_containers.facts.locks.python_lock import locks
from dynamo_containers.facts.locks.requirements import read_if_valid
from dynamo_containers.process import Command, Document, Plan, execute, write
from dynamo_containers.upstream.unreachable import UnreachableInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile

PinSizes = dict[str, int | None]
"""`name==version` -> bytes; None where the index does not state the size."""


@dataclass(frozen=True, kw_only=True)
class SizesUpdate:
    """Sizes that are still unknown after an update."""

    unknown: tuple[tuple[str, str], ...] = ()
    """(pin, lock) whose size the index does not state."""
    unreachable: tuple[UnreachableInput, ...] = ()
    """Locks whose own index did not answer."""


def update_sizes(
    catalogue: Catalogue, selected: Iterable[LockFile], findings: Mapping[str, Mapping[str, int | None]]
) -> SizesUpdate:
    """Write the sizes of the selected locks and drop those of locks that no longer exist; the others do not change.

    Args:
        catalogue: the data files.
        selected: the locks.
        findings: path of each lock that was just updated -> the sizes that the index stated.

    Raises:
        DownloadError: the index did not answer; the file does not change.
    """
    folder = catalogue.folder
    old = _load_old(folder)
    pins = {
        lock: tuple(package.pin for package in read_if_valid(file_reader.cached_text(folder / lock.path) or ""))
        for lock in selected
        if (folder / lock.path).is_file()
    }
    sizes = {lock: _known_sizes(lock, lock_pins, findings, old) for lock, lock_pins in pins.items()}
    missing = {lock: [pin for pin in lock_pins if pin not in sizes[lock]] for lock, lock_pins in pins.items()}
    unreachable = _query(catalogue, {lock: lock_pins for lock, lock_pins in missing.items() if lock_pins}, sizes)
    lock_names = (lock_name(lock.path) for lock in locks(catalogue))
    new = merge(old, {lock_name(lock.path): pin_sizes for lock, pin_sizes in sizes.items()}, lock_names)
    write(Document(path=folder / SIZES_FILE, text=render(new)))
    unknown = (
        (pin, lock_name(lock.path))
        for lock, pin_sizes in sizes.items()
        for pin, size in pin_sizes.items()
        if size is None
    )
    return SizesUpdate(unknown=tuple(unknown), unreachable=unreachable)


def _load_old(folder: Path) -> Sizes:
    """Return the content of the file; nothing when it is missing or invalid, because it is written again."""
    try:
        return load(folder)
    except LockError:
        return Sizes()


def _known_sizes(
    lock: LockFile, pins: Iterable[str], findings: Mapping[str, Mapping[str, int | None]], old: Sizes
) -> PinSizes:
    """Return the sizes of a lock's pins that are known without a query."""
    sizes: PinSizes = {}
    for path in (*lock.shared_by, lock.shared, lock.path):  # the lock's own sizes come last and take precedence
        sizes |= dict.fromkeys(old.unstated.get(lock_name(path), ()))
        sizes |= old.stated.get(lock_name(path), {})
    for path in (*lock.shared_by, lock.path):
        sizes |= findings.get(path, {})
    return {pin: sizes[pin] for pin in pins if pin in sizes}


def merge(old: Sizes, new: Mapping[str, Mapping[str, int | None]], lock_names: Iterable[str]) -> Sizes:
    """Return the sizes of all locks that exist: the new sizes of some, and the old sizes of the others."""
    others = set(lock_names) - set(new)
    stated = {name: {pin: size for pin, size in rows.items() if size is not None} for name, rows in new.items()}
    unstated = {name: tuple(pin for pin, size in rows.items() if size is None) for name, rows in new.items()}
    return Sizes(
        stated={name: rows for name, rows in old.stated.items() if name in others} | stated,
        unstated={name: pins for name, pins in old.unstated.items() if name in others} | unstated,
    )


def _query(
    catalogue: Catalogue, missing: Mapping[LockFile, list[str]], sizes: Mapping[LockFile, PinSizes]
) -> tuple[UnreachableInput, ...]:
    """Add the sizes that the index states to `sizes`; locks with the same indexes share one query."""
    unreachable: list[UnreachableInput] = []
    for indexes in sorted({lock.indexes for lock in missing}):
        group = {lock: pins for lock, pins in missing.items() if lock.indexes == indexes}
        try:
            answers = _run_query(catalogue.folder, group)
        except UnreachableError:
            addresses = ", ".join(sorted({address for _, address in indexes}))
            reason = f"{addresses} cannot be reached from here"
            unreachable += [
                UnreachableInput(name=f"sizes of {lock.path}", reason=reason, pinned="left out") for lock in group
            ]
        else:
            for lock in group:
                sizes[lock].update(answers[lock.path])
    return tuple(unreachable)


def _run_query(folder: Path, query: Mapping[LockFile, list[str]]) -> dict[str, PinSizes]:
    start = time.monotonic()
    query_file = folder / state.LOCKING / "sizes.query.json"
    answers_file = folder / state.LOCKING / "sizes.answers.json"
    execute(query_plan(folder, query, query_file, answers_file))
    count = sum(len(pins) for pins in query.values())
    progress.say(f"  {SIZES_FILE}: {count} sizes queried, {time.monotonic() - start:.0f} s")
    answers: dict[str, PinSizes] = file_reader.parse_json(file_reader.read_text(answers_file))
    return answers


def query_plan(folder: Path, query: Mapping[LockFile, list[str]], query_file: Path, answers_file: Path) -> Plan:
    """Return the plan that queries the index for the sizes of pins and leaves them in a file."""
    text = json.dumps({lock.path: pins for lock, pins in query.items()}, indent=2) + "\n"
    arguments = ("--folder", str(folder), str(query_file), "--answers", str(answers_file))
    command = Command(
        argv=(sys.executable, "-m", "dynamo_containers.lock.python.size_query", *arguments),
        env={"PYTHONPATH": str(ROOT)},  # as in schedule.compile_command
        reports_error_kind=True,
        quiet=True,
        title=f"querying sizes for {SIZES_FILE}",
        hint=f"{SIZES_FILE} was not changed. {REMEDY}",
    )
    return Plan(documents=(Document(path=query_file, text=text),), commands=(command,))
