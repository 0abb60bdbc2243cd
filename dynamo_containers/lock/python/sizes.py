"""Write constraints/sizes.toml: what is known is kept, and the index is asked for the rest alone.

What the making of a lock found goes before what the file says. A package that moves between a shared lock and those
that share it keeps its size: it is the same file.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts.locks.download_sizes import REMEDY, SIZES_FILE, Sizes, load, render, stem
from dynamo_containers.facts.locks.python_lock import locks
from dynamo_containers.facts.locks.requirements import readable
from dynamo_containers.process import Command, Document, Plan, execute, write
from dynamo_containers.upstream.unreachable import Unreached

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile

Known = dict[str, int | None]
"""`name==version` -> bytes; None where the index states no size."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What there is to say."""

    unstated: tuple[tuple[str, str], ...] = ()
    """(pin, lock) for which the index states no size."""
    unreachable: tuple[Unreached, ...] = ()
    """Locks whose own index did not answer."""


def refresh(catalogue: Catalogue, wanted: Iterable[LockFile], made: Mapping[str, Mapping[str, int | None]]) -> Outcome:
    """State the sizes of some locks, and drop those of locks that no longer exist; the others' stay as they are.

    Args:
        catalogue: what exists.
        wanted: which locks.
        made: path of each lock that was just made -> what the index said of its pins.

    Raises:
        DownloadError: the index did not answer; the file is as it was.
    """
    folder = catalogue.folder
    old = _old(folder)
    pins = {
        lock: tuple(each.pin for each in readable((folder / lock.path).read_text(encoding="utf-8")))
        for lock in wanted
        if (folder / lock.path).is_file()
    }
    found = {lock: _known(lock, each, made, old) for lock, each in pins.items()}
    questions = {lock: [pin for pin in each if pin not in found[lock]] for lock, each in pins.items()}
    unreachable = _ask(catalogue, {lock: each for lock, each in questions.items() if each}, found)
    new = merged(old, {stem(lock.path): rows for lock, rows in found.items()}, map(_stem, locks(catalogue)))
    write(Document(path=folder / SIZES_FILE, text=render(new)))
    unstated = ((pin, stem(lock.path)) for lock, rows in found.items() for pin, size in rows.items() if size is None)
    return Outcome(unstated=tuple(unstated), unreachable=unreachable)


def _stem(lock: LockFile) -> str:
    return stem(lock.path)


def _old(folder: Path) -> Sizes:
    """Return what the file says: nothing, where it is missing or half of a merge, for it is made anew then."""
    try:
        return load(folder)
    except LockError:
        return Sizes()


def _known(
    lock: LockFile, pins: Iterable[str], made: Mapping[str, Mapping[str, int | None]], old: Sizes
) -> dict[str, int | None]:
    """Return the sizes of a lock's pins, as far as nobody need be asked."""
    known: Known = {}
    for path in (*lock.parts, lock.shared, lock.path):  # the lock's own word goes last, and so before the others'
        known |= dict.fromkeys(old.unstated.get(stem(path), ()))
        known |= old.stated.get(stem(path), {})
    for path in (*lock.parts, lock.path):
        known |= made.get(path, {})
    return {pin: known[pin] for pin in pins if pin in known}


def merged(old: Sizes, found: Mapping[str, Mapping[str, int | None]], every: Iterable[str]) -> Sizes:
    """Return the sizes of all locks that exist: what was found for some, and what the file has of the others."""
    others = set(every) - set(found)
    stated = {name: {pin: size for pin, size in rows.items() if size is not None} for name, rows in found.items()}
    unstated = {name: tuple(pin for pin, size in rows.items() if size is None) for name, rows in found.items()}
    return Sizes(
        stated={name: rows for name, rows in old.stated.items() if name in others} | stated,
        unstated={name: pins for name, pins in old.unstated.items() if name in others} | unstated,
    )


def _ask(
    catalogue: Catalogue, questions: Mapping[LockFile, list[str]], found: Mapping[LockFile, Known]
) -> tuple[Unreached, ...]:
    """Add to `found` what the index says; one process asks for all locks that have the same indexes."""
    unreachable: list[Unreached] = []
    for indexes in sorted({lock.indexes for lock in questions}):
        group = {lock: pins for lock, pins in questions.items() if lock.indexes == indexes}
        try:
            answers = _answers(catalogue.folder, group)
        except UnreachableError:
            addresses = ", ".join(sorted({address for _, address in indexes}))
            why = f"{addresses} cannot be reached from here"
            unreachable += [Unreached(what=f"sizes of {lock.path}", why=why, kept="left out") for lock in group]
        else:
            for lock in group:
                found[lock].update(answers[lock.path])
    return tuple(unreachable)


def _answers(folder: Path, questions: Mapping[LockFile, list[str]]) -> dict[str, Known]:
    start = time.monotonic()
    asked = folder / ".build/lock/sizes.questions.json"
    answers = folder / ".build/lock/sizes.answers.json"
    execute(plan(folder, questions, asked, answers))
    count = sum(len(pins) for pins in questions.values())
    progress.say(f"  {SIZES_FILE}: {count} asked for, {time.monotonic() - start:.0f} s")
    found: dict[str, Known] = json.loads(answers.read_text(encoding="utf-8"))
    return found


def plan(folder: Path, questions: Mapping[LockFile, list[str]], asked: Path, answers: Path) -> Plan:
    """Return the plan that asks the index for the sizes of pins and leaves them in a file."""
    text = json.dumps({lock.path: pins for lock, pins in questions.items()}, indent=2) + "\n"
    words = ("--folder", str(folder), str(asked), "--answers", str(answers))
    command = Command(
        argv=(sys.executable, "-m", "dynamo_containers.lock.python.size_query", *words),
        env={"PYTHONPATH": str(folder)},  # as for python_lock_refresh.plan
        reports_error_kind=True,
        quiet=True,
        title=SIZES_FILE,
        hint=f"The locks are made; {SIZES_FILE} is as it was. {REMEDY}",
    )
    return Plan(documents=(Document(path=asked, text=text),), commands=(command,))
