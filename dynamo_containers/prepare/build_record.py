"""Was a request built here before, and if not, does the disk hold it? By records below .build/built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.locks import download_sizes
from dynamo_containers.prepare import current_locks, disk_space

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.plan.bake import Facts, Request


def check(request: Request, texts: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> None:
    """Refuse a build that the disk cannot hold; what was built here before counts nothing if the engine still has it.

    The engine is asked only where that decides: its owner may have pruned it since.

    Raises:
        NoSpaceError: with what is needed and what is there.
        LockError: the sizes of packages are missing.
    """
    folder = request.catalogue.folder
    place, known = disk_space.place(folder), disk_space.remembered(_record(request, digests))
    # Of what was built no lock and no size is read: a no-op must cost nothing.
    whole, rest = _needed(request, texts) if known is None else (known, 0)
    if rest == whole or disk_space.fits(place, whole):
        disk_space.check(place, whole)
    else:
        disk_space.check(place, disk_space.left(whole, rest, _cached(folder)))


def _needed(request: Request, texts: Mapping[str, Mapping[str, str]]) -> tuple[int, int]:
    """Return the bytes that a request writes, and those of what no build here had."""
    folder, platforms = request.catalogue.folder, request.platforms
    every, sizes = {path: text for each in texts.values() for path, text in each.items()}, download_sizes.read(folder)
    new = {path: text for path, text in every.items() if not disk_space.record(folder, (path, text)).is_file()}
    return disk_space.needed(every, sizes, platforms), disk_space.needed(new, sizes, platforms)


def _cached(folder: Path) -> int:
    """Ask the engine how much its build cache holds; of one that does not answer nothing is believed."""
    from dynamo_containers import engine  # where nothing is asked, nothing is imported

    environment = engine.environment(folder)
    try:
        return disk_space.cached(
            process.capture(process.Command(argv=(*engine.buildx(environment), "du"), env=environment))
        )
    except CommandFailedError:
        return 0


def remember(request: Request, facts: Facts) -> None:
    """Remember that a request was built, so that neither it nor what it shares is asked for disk space again."""
    file, ends = _record(request, facts.locks), tuple(f"-{platform.arch}.txt" for platform in request.platforms)
    if disk_space.remembered(file) is not None:
        return
    texts = current_locks.check(request)
    whole, _ = _needed(request, texts)
    for lock in {each for image in texts.values() for each in image.items() if each[0].endswith(ends)}:
        disk_space.remember(disk_space.record(request.catalogue.folder, lock))
    disk_space.remember(file, whole)


def _record(request: Request, digests: Mapping[str, str]) -> Path:
    platforms = (platform.value for platform in request.platforms)
    words = (request.stage.value, *platforms, *(f"{name} {digest}" for name, digest in sorted(digests.items())))
    return disk_space.record(request.catalogue.folder, words)
