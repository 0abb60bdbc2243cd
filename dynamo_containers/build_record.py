"""Was a request built here before, and if not, does the disk hold it? By records below .build/built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import disk_space, python_sizes, request_locks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.build import Facts, Request


def check(request: Request, texts: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> None:
    """Refuse a build that the disk cannot hold, unless it was done before; locks in another build count nothing.

    Raises:
        NoSpaceError: with what is needed and what is there.
        LockError: the sizes of packages are missing.
    """
    folder = request.catalogue.folder
    if not _record(request, digests).is_file():  # else nothing is read: a no-op must cost nothing
        every = {path: text for each in texts.values() for path, text in each.items()}
        every = {path: text for path, text in every.items() if not disk_space.record(folder, (path, text)).is_file()}
        sizes = python_sizes.read(folder)
        disk_space.check(disk_space.place(folder), disk_space.needed(every, sizes, request.platforms))


def remember(request: Request, facts: Facts) -> None:
    """Remember that a request was built, so that neither it nor what it shares is asked for disk space again."""
    file, ends = _record(request, facts.locks), tuple(f"-{platform.arch}.txt" for platform in request.platforms)
    if file.is_file():
        return
    every = (each for texts in request_locks.check(request).values() for each in texts.items())
    for lock in {each for each in every if each[0].endswith(ends)}:
        disk_space.remember(disk_space.record(request.catalogue.folder, lock))
    disk_space.remember(file)


def _record(request: Request, digests: Mapping[str, str]) -> Path:
    platforms = (platform.value for platform in request.platforms)
    words = (request.stage.value, *platforms, *(f"{name} {digest}" for name, digest in sorted(digests.items())))
    return disk_space.record(request.catalogue.folder, words)
