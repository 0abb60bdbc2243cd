"""`invoke lock --check`: whether every lock fits its inputs; offline, in milliseconds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import cuda_variant, download_sizes, os_conflicts, os_lock, python_lock
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE
from dynamo_containers.lock.selection import EVERYTHING, Part, kinds
from dynamo_containers.prepare import programs, toolchains
from dynamo_containers.upstream import unreachable
from dynamo_containers.upstream.unreachable import NOT_LOCKED, Unreached

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.platforms import Platform


def check(catalogue: Catalogue, words: Collection[str] = (), *, part: Part = EVERYTHING, judge: bool = False) -> str:
    """Say that every lock fits what it is made from; with `judge` ask uv and the index too.

    Raises:
        CheckFailedError, CommandFailedError: uv refuses a Python lock, or could not be asked.
        LockError: some are missing or stale; the message names each and what to run.
        UnreachableError: all else is right, but some were never locked.
    """
    asked = kinds(words)
    wanted = part.python_locks(catalogue) if "python" in asked else ()
    # Of a root image that is wrong for several platforms one line is enough.
    reasons = dict.fromkeys(reason for kind in asked for reason in _reasons(catalogue, kind, part, wanted))
    if reasons:
        raise LockError("\n".join(reasons))
    missing = [lock for lock in wanted if python_lock.not_locked(lock, catalogue.folder)]
    if judge:
        from dynamo_containers.lock.python import verify as python_verify

        python_verify.judge_all([lock for lock in wanted if lock not in missing], catalogue.folder)
    fits = f"Every lock fits what it is made from ({', '.join(asked)})."
    unlocked = [_unlocked(lock) for lock in missing]
    if "archives" in asked and not part.named:
        unlocked += _unlocked_sources(catalogue)
    if "archives" in asked:
        unlocked += _unlocked_toolchains(catalogue, part)
    if "os" in asked:
        unlocked += [_never(lock.file, f"{lock.image}, {lock.origin}") for lock in _never_made(catalogue, part)]
    if "images" in asked:
        unlocked += _unlocked_engines(catalogue, part)
    if unlocked:
        remedy = "Where these can be reached, run: invoke lock"
        message = f"{fits}\nThese were never locked:\n{unreachable.table(unlocked)}\n{remedy}"
        raise UnreachableError(message)
    return fits


def _never_made(catalogue: Catalogue, part: Part) -> list[OsLock]:
    return [lock for lock in part.os_locks(catalogue) if os_lock.never_made(lock, catalogue.folder)]


def _unlocked(lock: LockFile) -> Unreached:
    addresses = ", ".join(sorted({address for _, address in lock.indexes}))
    return _never(lock.path, addresses)


def _unlocked_sources(catalogue: Catalogue) -> list[Unreached]:
    """Return a row for each source that is not pinned: no image is built from one yet, so nothing is stale."""
    return [
        _never(f"sources.{name}", f"{source.git} {source.ref}")
        for name, source in catalogue.sources.items()
        if name not in catalogue.pins.sources
    ]


def _unlocked_toolchains(catalogue: Catalogue, part: Part) -> list[Unreached]:
    """Return a row for each compiler that is not pinned: only a build from sources asks for one."""
    return [
        _never(f"programs.{bases.name}.{name} for {platform.value}", row.address(platform))
        for bases, platform in part.targets(catalogue)
        for name, row in bases.toolchains.items()
        if (bases.name, name, platform) not in catalogue.pins.programs
    ]


def _unlocked_engines(catalogue: Catalogue, part: Part) -> list[Unreached]:
    """Return a row for each published image of an engine that is not pinned; a build of it says so too."""
    return [
        _never(f"roots.{ENGINE_IMAGES}.{image.name}", image_reference.engine_root(image).image)
        for image in part.engine_images(catalogue)
        if (ENGINE_IMAGES, image.name) not in catalogue.pins.roots
    ]


def _never(what: str, asked: str) -> Unreached:
    return Unreached(what=what, asked=asked, why="never asked, or never reached", kept=NOT_LOCKED)


def _reasons(catalogue: Catalogue, kind: str, part: Part, wanted: Collection[LockFile]) -> Iterator[str]:
    match kind:
        case "python":
            locked = [lock for lock in wanted if not python_lock.not_locked(lock, catalogue.folder)]
            found = (python_lock.stale(lock, catalogue.folder) for lock in locked)
            yield from (reason for reason in found if reason)
            yield from python_lock.disagreements(locked, catalogue.folder)
            yield from cuda_variant.faults_of(catalogue, locked, catalogue.folder)
            yield from download_sizes.faults(locked, catalogue.folder)
        case "os":
            for lock in part.os_locks(catalogue):
                if not os_lock.never_made(lock, catalogue.folder):
                    yield from _reason(partial(_check_os, catalogue, lock))
            yield from os_conflicts.disagreements(part.os_locks(catalogue), catalogue.folder)
        case "archives":
            for bases, platform in part.targets(catalogue):
                yield from _reason(partial(_check_programs, catalogue, bases, platform))
            if not part.named:
                yield from _reason(partial(_check_sources, catalogue))
        case _:
            yield from _root_reasons(catalogue, part)


def _root_reasons(catalogue: Catalogue, part: Part) -> Iterator[str]:
    for bases, platform in part.targets(catalogue):
        for role in bases.roots:
            yield from _reason(partial(_check_root, catalogue, bases, role, platform))
    for image in part.engine_images(catalogue):
        if (ENGINE_IMAGES, image.name) in catalogue.pins.roots:
            yield from _reason(partial(image_reference.pinned_engine, catalogue.pins, image))


def _reason(question: Callable[[], object]) -> list[str]:
    try:
        question()
    except LockError as error:
        return [str(error)]
    return []


def _check_os(catalogue: Catalogue, lock: OsLock) -> None:
    os_lock.read(lock, catalogue.folder)
    os_conflicts.check_image(lock, catalogue.folder, catalogue.pins)


def _check_programs(catalogue: Catalogue, bases: Bases, platform: Platform) -> None:
    programs.pinned(catalogue.pins, bases, platform)
    for name in bases.toolchains:
        if (bases.name, name, platform) in catalogue.pins.programs:
            toolchains.pinned(catalogue.pins, bases, name, platform)


def _check_root(catalogue: Catalogue, bases: Bases, role: str, platform: Platform) -> None:
    if role in bases.pulled:
        image_reference.source(catalogue.pins, bases, role, platform)
    else:
        catalogue.pins.root(bases.name, role, platform)


def _check_sources(catalogue: Catalogue) -> None:
    for name, source in catalogue.sources.items():
        pin = catalogue.pins.sources.get(name)
        if pin and pin.ref != source.ref:
            message = (
                f"{PINS_FILE} is stale: it has sources.{name} of {pin.ref}, and {IMAGES_FILE} names {source.ref}.\n"
                "Pin it with: invoke lock --only archives"
            )
            raise LockError(message)
