"""Disk space of a build, computed from its locks before it starts, and the records of earlier builds.

A build that succeeded here before writes almost nothing, unless the build cache of the engine was pruned.
"""

from __future__ import annotations

import hashlib
import re
from shutil import disk_usage
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, state
from dynamo_containers.errors import CommandFailedError, NoSpaceError
from dynamo_containers.facts.locks import download_sizes
from dynamo_containers.prepare import current_locks
from dynamo_containers.value_types import SIZE, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.platforms import Platform

WHEELS_UNPACKED = 2
"""Bytes in an image for each byte of wheels: 4.14 GB of a vLLM image's wheels are 8.1 GB."""
DEBS_UNPACKED = 4
"""Bytes in an image for each byte of .debs, which are compressed harder (xz) and are text more often."""
UNPACKED_COPIES = 4
"""How often the engine stores unpacked files: cache of wheels, install step, layer, and the image's snapshot."""
PACKED_COPIES = 1
"""How often the engine stores compressed files: the layers of the image, or the downloads of .debs."""
TOTAL = re.compile(r"^Total:\s+(?P<number>[\d.]+)(?P<unit>[kMGTP]?)B$", re.MULTILINE)
"""The last line of `docker buildx du`; the units are powers of 1000."""
OS_LOCK = "constraints/os-"


def needed_bytes(
    texts: Mapping[str, str], sizes: Mapping[str, Mapping[str, int]], platforms: Iterable[Platform]
) -> int:
    """Return the bytes that a build writes at least: packages and registries' images of unknown size count nothing.

    Args:
        texts: path -> text of every lock of the images; a lock that several images share counts once.
        sizes: the result of `download_sizes.read`.
        platforms: the platforms that are built; the locks of others do not count.
    """
    ends = tuple(f"-{platform.arch}.txt" for platform in platforms)
    built = {path: text for path, text in texts.items() if path.endswith(ends)}
    debs = sum(_size_of_debs(text) for path, text in built.items() if path.startswith(OS_LOCK))
    wheels = download_sizes.total({path: text for path, text in built.items() if not path.startswith(OS_LOCK)}, sizes)
    return wheels.size * (WHEELS_UNPACKED * UNPACKED_COPIES + PACKED_COPIES) + debs * (
        DEBS_UNPACKED * UNPACKED_COPIES + PACKED_COPIES
    )


def _size_of_debs(text: str) -> int:
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return sum(int(columns[5]) for columns in lines)  # the text of os_lock.content


def record_path(folder: Path, inputs: Iterable[str]) -> Path:
    """Return the path of the record of a build with these inputs; it exists once the build succeeded."""
    return folder / state.BUILT / hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def write_record(file: Path, bytes_needed: int = 0) -> None:
    """Record that a build succeeded, and the bytes that it writes without a cache; see `record_path`."""
    process.write(process.Document(path=file, text=f"{bytes_needed}\n"))


def read_record(file: Path) -> int | None:
    """Return the bytes that a build writes without a cache; None if no such build succeeded here."""
    text = (file_reader.cached_text(file) or "").strip()
    try:
        return SIZE.parse_text(text)
    except InvalidValueError:
        return None  # there is no record, or a damaged one


def cache_bytes(text: str) -> int:
    """Return the bytes in a build cache from the output of `docker buildx du`; 0 where it has no total."""
    total = TOTAL.search(text)
    return int(float(total["number"]) * 1000 ** " kMGTP".index(total["unit"] or " ")) if total else 0


def remaining_bytes(total: int, new: int, in_cache: int) -> int:
    """Return the bytes that a build writes, given the size of the build cache.

    Args:
        total: the bytes that it writes without a cache.
        new: the bytes that it writes if the cache has everything that was built here.
        in_cache: the bytes in the cache. With less than one unpacked copy of the earlier builds, it was pruned.
    """
    return (
        new
        if in_cache >= (total - new) * WHEELS_UNPACKED // (WHEELS_UNPACKED * UNPACKED_COPIES + PACKED_COPIES)
        else total
    )


def images_folder(folder: Path) -> Path:
    """Return the folder of images: of the private engine, or the checkout for another engine.

    Only the administrator of another engine knows where its images are; most often they are on the same disk.
    """
    data = folder / state.ENGINE_DATA
    return data if data.is_dir() else folder


def has_space(folder: Path, bytes_needed: int) -> bool:
    """Return whether the disk of a folder has so many free bytes."""
    return disk_usage(folder).free >= bytes_needed


def check(folder: Path, bytes_needed: int) -> None:
    """Refuse a build that does not fit on the disk of a folder.

    Raises:
        NoSpaceError: the message has the needed and the free bytes, and commands that free some.
    """
    free = disk_usage(folder).free
    if free < bytes_needed:
        message = (
            f"There is not enough disk space: by its locks this build writes about {bytes_needed / 1e9:.1f} GB below "
            f"{folder}, and {free / 1e9:.1f} GB is free.\n"
            "Free some, for example with: docker system prune (your own engine), or invoke engine.down --purge (ours)"
        )
        raise NoSpaceError(message)


def check_request(request: Request, texts: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> None:
    """Refuse a request that does not fit on the disk. Earlier builds that are still in the cache need no space.

    The engine is queried for the size of its cache only if that decides.

    Raises:
        NoSpaceError: the message has the needed and the free bytes.
        LockError: the sizes of packages are missing.
    """
    folder = request.catalogue.folder
    images, recorded = images_folder(folder), read_record(_request_record(request, digests))
    # After an earlier build no lock and no size is read: a no-op must be fast.
    total, new = _bytes_of_request(request, texts) if recorded is None else (recorded, 0)
    if new == total or has_space(images, total):
        check(images, total)
    else:
        check(images, remaining_bytes(total, new, _cache_size(folder)))


def _bytes_of_request(request: Request, texts: Mapping[str, Mapping[str, str]]) -> tuple[int, int]:
    """Return the bytes that a request writes without a cache, and the bytes of the locks that no build here had."""
    folder, platforms = request.catalogue.folder, request.platforms
    locks, sizes = {path: text for image in texts.values() for path, text in image.items()}, download_sizes.read(folder)
    new = {path: text for path, text in locks.items() if not record_path(folder, (path, text)).is_file()}
    return needed_bytes(locks, sizes, platforms), needed_bytes(new, sizes, platforms)


def _cache_size(folder: Path) -> int:
    """Query the engine for the bytes in its build cache; 0 if it does not answer."""
    from dynamo_containers import engine  # most builds do not need it, and start faster without it

    docker = engine.docker(folder)
    try:
        return cache_bytes(process.capture(process.Command(argv=(*docker.buildx, "du"), env=docker.environment)))
    except CommandFailedError:
        return 0


def record_request(request: Request, inputs: BuildInputs) -> None:
    """Record that a request was built: neither it nor the locks that others share with it need disk space again."""
    file, ends = (
        _request_record(request, inputs.locks),
        tuple(f"-{platform.arch}.txt" for platform in request.platforms),
    )
    if read_record(file) is not None:
        return
    texts = current_locks.check(request)
    total, _ = _bytes_of_request(request, texts)
    for lock in {lock for image in texts.values() for lock in image.items() if lock[0].endswith(ends)}:
        write_record(record_path(request.catalogue.folder, lock))
    write_record(file, total)


def _request_record(request: Request, digests: Mapping[str, str]) -> Path:
    platforms = (platform.value for platform in request.platforms)
    inputs = (request.stage.value, *platforms, *(f"{name} {digest}" for name, digest in sorted(digests.items())))
    return record_path(request.catalogue.folder, inputs)
