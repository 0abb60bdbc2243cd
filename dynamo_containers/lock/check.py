"""`invoke lock --check`: state of every lock; offline, in milliseconds, without writing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import (
    content_changes,
    contents,
    cuda_variant,
    download_sizes,
    interrupted,
    not_locked,
    os_conflicts,
    os_lock,
    platform_versions,
    python_lock,
    requirements,
)
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE
from dynamo_containers.lock.selection import ALL_LOCKS
from dynamo_containers.prepare import binaries, toolchains
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.not_locked import NotLocked
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.lock.selection import LockSelection
    from dynamo_containers.platforms import Platform


class LockState(StrEnum):
    """State of a lock."""

    CURRENT = "current"
    """Its inputs did not change since it was made."""
    STALE = "stale"
    """Its inputs changed, or it is invalid."""
    MISSING = "missing"
    """It does not exist, and a build needs it."""
    NEVER_MADE = "never made"
    """It does not exist, and it needs addresses that not every machine can reach."""
    NOT_LOCKED = "not locked"
    """The same, knowingly: a row `lock.not-locked.*` of images.toml has the reason."""


@dataclass(frozen=True, kw_only=True)
class LockStatus:
    """State of one lock or pin."""

    kind: LockKind
    name: str
    """Path of the lock, or its row in containers/pins.toml."""
    state: LockState
    reasons: tuple[str, ...] = ()
    """Messages for a person; none of a current lock."""
    command: str = ""
    """Command that makes it current; empty for a current lock."""
    needs: str = ""
    """Addresses that the command needs; only of a lock that does not exist for lack of them."""
    until: str = ""
    """What makes its row of images.toml obsolete; only of a lock that is knowingly missing."""


@dataclass(frozen=True, kw_only=True)
class LockCheck:
    """Result of `invoke lock --check`."""

    locks: tuple[LockStatus, ...]
    """Every selected lock."""


def check(catalogue: Catalogue, selection: LockSelection = ALL_LOCKS, *, verify: bool = False) -> Result:
    """Check that the selected locks are current; with `verify`, also verify Python locks with uv and the index.

    The exit code is 4 where a lock is stale or missing, and 10 where all others are current and some were never made
    that no row of images.toml names as knowingly missing.

    Raises:
        UsageError: an option is invalid, or a row names a lock that exists as knowingly missing.
        CheckFailedError, CommandFailedError: uv refuses a Python lock, or could not be run.
    """
    checked = statuses(catalogue, selection)
    text, exit_code = _verdict(catalogue, checked, selection)
    if exit_code != LockError.exit_code:
        _check_rows(catalogue, checked, selection)
    if verify and exit_code != LockError.exit_code:
        from dynamo_containers.lock.python import verify as python_verify

        locks = selection.python_locks(catalogue)
        existing = [lock for lock in locks if not python_lock.never_locked(lock, catalogue.folder)]
        python_verify.verify_locks(existing, catalogue.folder)
    return Result(text=text, data=LockCheck(locks=checked), exit_code=exit_code)


def preview(catalogue: Catalogue, selection: LockSelection = ALL_LOCKS) -> Result:
    """Return the locks and pins that `invoke lock` would update, with their states; nothing is queried or written."""
    locks = statuses(catalogue, selection)
    rows = (f"  {lock.name}  ({lock.state})" for lock in locks)
    text = "\n".join((f"Would query the inputs of {len(locks)} locks and pins:", *rows))
    return Result(text=text, data=LockCheck(locks=locks))


def statuses(catalogue: Catalogue, selection: LockSelection = ALL_LOCKS) -> tuple[LockStatus, ...]:
    """Return the state of every selected lock; offline."""
    checked = (status for kind in selection.kinds for status in CHECKS[kind](catalogue, selection))
    known = not_locked.by_lock(catalogue.not_locked)
    return (*_interrupted(catalogue.folder), *(_with_reason(status, known) for status in checked))


def _with_reason(status: LockStatus, known: Mapping[str, NotLocked]) -> LockStatus:
    row = known.get(status.name)
    if row is None or status.state is not LockState.NEVER_MADE:
        return status
    return replace(status, state=LockState.NOT_LOCKED, reasons=(row.reason,), until=row.until)


def _check_rows(catalogue: Catalogue, statuses: Iterable[LockStatus], selection: LockSelection) -> None:
    """Refuse rows about locks that exist; of a complete check, also those about locks that nobody needs."""
    states = {status.name: status.state for status in statuses}
    is_complete = not selection.is_partial and set(selection.kinds) == set(LockKind)
    named = not_locked.by_lock(catalogue.not_locked)
    not_locked.check(
        catalogue.not_locked,
        [name for name, state in states.items() if state is LockState.CURRENT],
        sorted(named.keys() - states.keys()) if is_complete else (),
    )


def _interrupted(folder: Path) -> Iterator[LockStatus]:
    """Yield a status where an `invoke lock` died while it replaced the files."""
    if reason := interrupted.reason(folder):
        yield LockStatus(
            kind=LockKind.PYTHON,
            name=interrupted.JOURNAL,
            state=LockState.STALE,
            reasons=(reason,),
            command=interrupted.COMMAND,
        )


def _verdict(catalogue: Catalogue, statuses: Iterable[LockStatus], selection: LockSelection) -> tuple[str, int]:
    """Return the text and the exit code."""
    by_state: dict[LockState, list[LockStatus]] = {state: [] for state in LockState}
    for status in statuses:
        by_state[status.state].append(status)
    outdated = [*by_state[LockState.STALE], *by_state[LockState.MISSING]]
    known, never_made = by_state[LockState.NOT_LOCKED], by_state[LockState.NEVER_MADE]
    if outdated:
        # One message may be about several locks.
        messages = dict.fromkeys(reason for status in outdated for reason in status.reasons)
        head = f"{_count(len(outdated), 'lock is', 'locks are')} not current:"
        return "\n".join((head, *messages)), LockError.exit_code
    kinds = ", ".join(selection.kinds)
    exist = " that exists" if known or never_made else ""
    head = f"Every lock{exist} is current ({kinds})."
    if never_made:
        number = _count(len(never_made), "lock was", "locks were")
        table = ("lock", "needs access to"), *sorted((status.name, status.needs) for status in never_made)
        width = max(len(name) for name, _ in table)
        head = "\n".join(
            (
                f"{head} {number} never made and could not be checked:",
                *(f"  {name:<{width}}  {needs}" for name, needs in table),
                "Where these addresses or mirrors of them can be reached, run: invoke lock",
            )
        )
    text = "\n".join((head, *_known_lines(catalogue, known)))
    return text, UnreachableError.exit_code if never_made else 0


def _known_lines(catalogue: Catalogue, statuses: Iterable[LockStatus]) -> Iterator[str]:
    """Yield a line for each row of images.toml about these locks."""
    names = {status.name for status in statuses}
    for row in catalogue.not_locked.values():
        if own := [name for name in row.locks if name in names]:
            more = f" and {len(own) - 1} more" if len(own) > 1 else ""
            yield f"Not locked, {row} {own[0]}{more}."


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _status(kind: LockKind, name: str, reasons: Iterable[str], *, exists: bool) -> LockStatus:
    reasons = tuple(reasons)
    if not reasons:
        return LockStatus(kind=kind, name=name, state=LockState.CURRENT)
    state = LockState.STALE if exists else LockState.MISSING
    return LockStatus(kind=kind, name=name, state=state, reasons=reasons, command=f"invoke lock --only {kind}")


def _never_made(kind: LockKind, name: str, needs: str) -> LockStatus:
    return LockStatus(
        kind=kind,
        name=name,
        state=LockState.NEVER_MADE,
        reasons=(f"{name} was never made: it needs {needs}.",),
        command=f"invoke lock --only {kind}",
        needs=needs,
    )


def _failure(check: Callable[[], object]) -> tuple[str, ...]:
    try:
        check()
    except LockError as error:
        return (str(error),)
    return ()


def _check_python(catalogue: Catalogue, selection: LockSelection) -> Iterator[LockStatus]:
    folder, locks = catalogue.folder, selection.python_locks(catalogue)
    existing = [lock for lock in locks if not python_lock.never_locked(lock, folder)]
    messages = (
        *python_lock.disagreements(existing, folder),
        *cuda_variant.faults_of(catalogue, existing, folder),
        *platform_versions.differences(existing, _texts(existing, folder)),
    )
    for lock in locks:
        if lock not in existing:
            yield _never_made(LockKind.PYTHON, lock.path, _index_addresses(lock))
            continue
        reason = python_lock.stale_reason(lock, folder)
        reasons = (*((reason,) if reason else ()), *(message for message in messages if lock.path in message))
        yield _status(LockKind.PYTHON, lock.path, reasons, exists=(folder / lock.path).is_file())
    sizes_file = folder / download_sizes.SIZES_FILE
    faults = download_sizes.faults(existing, folder)
    yield _status(LockKind.PYTHON, download_sizes.SIZES_FILE, faults, exists=sizes_file.is_file())


def _texts(locks: Iterable[LockFile], folder: Path) -> dict[str, str]:
    return requirements.readable_files(folder, (lock.path for lock in locks))


def _index_addresses(lock: LockFile) -> str:
    return ", ".join(sorted({address for _, address in lock.indexes}))


def _check_os(catalogue: Catalogue, selection: LockSelection) -> Iterator[LockStatus]:
    folder, locks = catalogue.folder, selection.os_locks(catalogue)
    messages = os_conflicts.disagreements(locks, folder)
    for lock in locks:
        if os_lock.never_locked(lock, folder):
            yield _never_made(LockKind.OS, lock.file, f"{lock.image}, {lock.origin}")
            continue
        reasons = (
            *_failure(partial(_check_os_lock, catalogue, lock)),
            *(message for message in messages if lock.file in message),
        )
        yield _status(LockKind.OS, lock.file, reasons, exists=(folder / lock.file).is_file())
    if LockKind.IMAGES not in selection.kinds:
        yield from _check_bootstrapped(catalogue, selection)


def _check_bootstrapped(catalogue: Catalogue, selection: LockSelection) -> Iterator[LockStatus]:
    """Yield the states of the root images that are bootstrapped from locks of OS packages, and pinned with them."""
    for name, platforms in _platforms(catalogue, selection).items():
        for role in catalogue.bases[name].bootstrapped_roots:
            yield _root_status(catalogue, name, role, platforms)


def _check_os_lock(catalogue: Catalogue, lock: OsLock) -> None:
    packages = os_lock.read(lock, catalogue.folder)
    os_conflicts.check_image(lock, catalogue.folder, catalogue.pins)
    os_conflicts.check_python(lock, packages)


def _check_archives(catalogue: Catalogue, selection: LockSelection) -> Iterator[LockStatus]:
    for bases, platform in selection.targets(catalogue):
        for name in bases.programs:
            yield _check_program(catalogue, bases, name, platform)
        for name in bases.toolchains:
            yield _check_toolchain(catalogue, bases, name, platform)
    if not selection.is_partial:
        for name in catalogue.sources:
            yield _check_source(catalogue, name)


def _check_program(catalogue: Catalogue, bases: Bases, name: str, platform: Platform) -> LockStatus:
    fault = binaries.stale_reason(catalogue.pins, bases, name, platform)
    reasons = (f"{PINS_FILE} {fault}.\nPin it with: invoke lock --only archives",) if fault else ()
    exists = (bases.name, name, platform) in catalogue.pins.programs
    return _status(LockKind.ARCHIVES, _program_row(bases, name, platform), reasons, exists=exists)


def _check_toolchain(catalogue: Catalogue, bases: Bases, name: str, platform: Platform) -> LockStatus:
    """Return the state of a compiler's pin; only builds from sources need it."""
    row = _program_row(bases, name, platform)
    if (bases.name, name, platform) not in catalogue.pins.programs:
        return _never_made(LockKind.ARCHIVES, row, bases.toolchains[name].address(platform))
    reasons = _failure(partial(toolchains.pin_for, catalogue.pins, bases, name, platform))
    return _status(LockKind.ARCHIVES, row, reasons, exists=True)


def _program_row(bases: Bases, name: str, platform: Platform) -> str:
    return f"programs.{bases.name}.{name} for {platform.value}"


def _check_source(catalogue: Catalogue, name: str) -> LockStatus:
    """Return the state of a git source's pin; only builds from sources need it."""
    source, pin = catalogue.sources[name], catalogue.pins.sources.get(name)
    if pin is None:
        return _never_made(LockKind.ARCHIVES, f"sources.{name}", f"{source.git} {source.ref}")
    message = (
        f"{PINS_FILE} is stale: sources.{name} is for {pin.ref}, but {IMAGES_FILE} has {source.ref}.\n"
        "Pin it with: invoke lock --only archives"
    )
    reasons = (message,) if pin.ref != source.ref else ()
    return _status(LockKind.ARCHIVES, f"sources.{name}", reasons, exists=True)


def _platforms(catalogue: Catalogue, selection: LockSelection) -> dict[str, list[Platform]]:
    """Return the selected bases, each with its platforms."""
    platforms: dict[str, list[Platform]] = {}
    for bases, platform in selection.targets(catalogue):
        platforms.setdefault(bases.name, []).append(platform)
    return platforms


def _check_images(catalogue: Catalogue, selection: LockSelection) -> Iterator[LockStatus]:
    pins = catalogue.pins
    for name, platforms in _platforms(catalogue, selection).items():
        for role in catalogue.bases[name].roots:
            yield _root_status(catalogue, name, role, platforms)
    for image in selection.engine_images(catalogue):
        row = f"roots.{ENGINE_IMAGES}.{image.name}"
        if (ENGINE_IMAGES, image.name) not in pins.roots:
            yield _never_made(LockKind.IMAGES, row, image_reference.engine_root(image).image)
        else:
            reasons = dict.fromkeys(_failure(partial(image_reference.engine_pin, pins, image)))
            yield _status(LockKind.IMAGES, row, reasons, exists=True)


def _root_status(catalogue: Catalogue, name: str, role: str, platforms: Iterable[Platform]) -> LockStatus:
    bases = catalogue.bases[name]
    failures = (_failure(partial(_check_root, catalogue, bases, role, platform)) for platform in platforms)
    reasons = dict.fromkeys(reason for failure in failures for reason in failure)
    return _status(LockKind.IMAGES, f"roots.{name}.{role}", reasons, exists=(name, role) in catalogue.pins.roots)


def _check_contents(catalogue: Catalogue, _: LockSelection) -> Iterator[LockStatus]:
    """Yield the state of the contents of all locked files: they follow from all locks."""
    folder = catalogue.folder
    if not (folder / contents.CONTENTS_FILE).is_file():
        yield _never_made(LockKind.CONTENTS, contents.CONTENTS_FILE, "the index of Python packages")
        return
    locks = {lock.path: lock for lock in python_lock.locked_for_images(catalogue)}
    pins: dict[str, set[str]] = {}
    for path, text in requirements.readable_files(folder, locks).items():
        names = {package.pin for package in requirements.read_if_valid(text)}
        pins.setdefault(contents.target_name(locks[path].target), set()).update(names)
    try:
        reasons = contents.faults(folder, pins)
        read = contents.read(folder)
        refused = content_changes.not_accepted(read.files if read else (), catalogue.accepted_content)
        reasons = (*reasons, *filter(None, [content_changes.refusal(refused)]))
    except LockError as error:
        reasons = (str(error),)
    yield _status(LockKind.CONTENTS, contents.CONTENTS_FILE, reasons, exists=True)


def _check_root(catalogue: Catalogue, bases: Bases, role: str, platform: Platform) -> None:
    if role in bases.registry_roots:
        image_reference.root_context(catalogue.pins, bases, role, platform)
    else:
        catalogue.pins.root(bases.name, role, platform)


CHECKS: dict[LockKind, Callable[[Catalogue, LockSelection], Iterator[LockStatus]]] = {
    LockKind.ARCHIVES: _check_archives,
    LockKind.OS: _check_os,
    LockKind.IMAGES: _check_images,
    LockKind.PYTHON: _check_python,
    LockKind.CONTENTS: _check_contents,
}
"""Kind -> the check of its locks."""
