"""Disk space of a build, computed from its locks before it starts, and the record of earlier builds.

What was built here before needs next to nothing, as long as the engine keeps it: its owner may have pruned it.
"""

from __future__ import annotations

import hashlib
import re
from shutil import disk_usage
from typing import TYPE_CHECKING

from dynamo_containers import process, state
from dynamo_containers.errors import CommandFailedError, NoSpaceError
from dynamo_containers.facts.locks import download_sizes
from dynamo_containers.prepare import current_locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.platforms import Platform

WHEELS_UNPACKED = 2
"""Bytes in an image for each byte of wheels: 4.14 GB of a vLLM image's wheels are 8.1 GB."""
DEBS_UNPACKED = 4
"""Bytes in an image for each byte of .debs, which are compressed harder (xz) and are text more often."""
COPIES = 4
"""How often the engine has what is unpacked: cache of wheels, install step, layer, and the image's snapshot."""
PACKED = 1
"""And how often what is compressed: the layers of the image; for .debs that is what was downloaded."""
TOTAL = re.compile(r"^Total:\s+(?P<number>[\d.]+)(?P<unit>[kMGTP]?)B$", re.MULTILINE)
"""How `docker buildx du` ends; the units are powers of 1000."""
OS_LOCK = "constraints/os-"


def needed(texts: Mapping[str, str], sizes: Mapping[str, Mapping[str, int]], platforms: Iterable[Platform]) -> int:
    """Return the bytes that a build writes; no less where no size is known of a package or of a registry's image.

    Args:
        texts: path -> text of every lock that goes into the images; one that several of them have counts once.
        sizes: as `download_sizes.read` gives them.
        platforms: what is built; the locks of others do not count.
    """
    ends = tuple(f"-{platform.arch}.txt" for platform in platforms)
    built = {path: text for path, text in texts.items() if path.endswith(ends)}
    debs = sum(_size_of_debs(text) for path, text in built.items() if path.startswith(OS_LOCK))
    wheels = download_sizes.total({path: text for path, text in built.items() if not path.startswith(OS_LOCK)}, sizes)
    return wheels.size * (WHEELS_UNPACKED * COPIES + PACKED) + debs * (DEBS_UNPACKED * COPIES + PACKED)


def _size_of_debs(text: str) -> int:
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return sum(int(words[5]) for words in lines)  # see os_lock.HEADER


def record(folder: Path, words: Iterable[str]) -> Path:
    """Return the file that is there when a build was done before; `words` are what decides it."""
    return folder / state.BUILT / hashlib.sha256("\n".join(words).encode()).hexdigest()


def remember(file: Path, bytes_needed: int = 0) -> None:
    """Remember that a build succeeded, and what it writes where nothing of it is there; see `record`."""
    process.write(process.Document(path=file, text=f"{bytes_needed}\n"))


def remembered(file: Path) -> int | None:
    """Return the bytes that a build would write where nothing of it is there, None if it was not done here."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return int(text) if text else None


def cached(text: str) -> int:
    """Return the bytes in a build cache, as `docker buildx du` ends; 0 where it says nothing of the kind."""
    found = TOTAL.search(text)
    return int(float(found["number"]) * 1000 ** " kMGTP".index(found["unit"] or " ")) if found else 0


def left(whole: int, new: int, in_cache: int) -> int:
    """Return the bytes that a build writes, by what the engine keeps of what was built before.

    Args:
        whole: what it writes where nothing of it is there.
        new: what it writes where everything that was built here is there.
        in_cache: what the engine's build cache holds: at least one copy of what is there unpacked, or it was pruned.
    """
    return new if in_cache >= (whole - new) * WHEELS_UNPACKED // (WHEELS_UNPACKED * COPIES + PACKED) else whole


def place(folder: Path) -> Path:
    """Return the folder whose disk counts: the private engine's, or the checkout's where the engine is not ours.

    Where another engine keeps its images only its administrator knows; most often it is the same disk.
    """
    data = folder / state.ENGINE_DATA
    return data if data.is_dir() else folder


def fits(where: Path, bytes_needed: int) -> bool:
    """Say whether the disk holds as much."""
    return disk_usage(where).free >= bytes_needed


def check(where: Path, bytes_needed: int) -> None:
    """Refuse a build that the disk cannot hold.

    Raises:
        NoSpaceError: with what is needed, what is there, and what frees some.
    """
    free = disk_usage(where).free
    if free < bytes_needed:
        message = (
            f"There is not enough disk space: by its locks this build writes about {bytes_needed / 1e9:.1f} GB below "
            f"{where}, and {free / 1e9:.1f} GB is free.\n"
            "Free some, for example with: docker system prune (your own engine), or invoke engine.down --purge (ours)"
        )
        raise NoSpaceError(message)


def check_request(request: Request, texts: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> None:
    """Refuse a build that the disk cannot hold; what was built here before counts nothing if the engine still has it.

    The engine is asked only where that decides: its owner may have pruned it since.

    Raises:
        NoSpaceError: with what is needed and what is there.
        LockError: the sizes of packages are missing.
    """
    folder = request.catalogue.folder
    where, known = place(folder), remembered(_record_of(request, digests))
    # Of what was built no lock and no size is read: a no-op must cost nothing.
    whole, rest = _needed_by(request, texts) if known is None else (known, 0)
    if rest == whole or fits(where, whole):
        check(where, whole)
    else:
        check(where, left(whole, rest, _cache_size(folder)))


def _needed_by(request: Request, texts: Mapping[str, Mapping[str, str]]) -> tuple[int, int]:
    """Return the bytes that a request writes, and those of what no build here had."""
    folder, platforms = request.catalogue.folder, request.platforms
    every, sizes = {path: text for each in texts.values() for path, text in each.items()}, download_sizes.read(folder)
    new = {path: text for path, text in every.items() if not record(folder, (path, text)).is_file()}
    return needed(every, sizes, platforms), needed(new, sizes, platforms)


def _cache_size(folder: Path) -> int:
    """Ask the engine how much its build cache holds; of one that does not answer nothing is believed."""
    from dynamo_containers import engine  # where nothing is asked, nothing is imported

    docker = engine.docker(folder)
    try:
        return cached(process.capture(process.Command(argv=(*docker.buildx, "du"), env=docker.environment)))
    except CommandFailedError:
        return 0


def remember_request(request: Request, facts: BuildInputs) -> None:
    """Remember that a request was built, so that neither it nor what it shares is asked for disk space again."""
    file, ends = _record_of(request, facts.locks), tuple(f"-{platform.arch}.txt" for platform in request.platforms)
    if remembered(file) is not None:
        return
    texts = current_locks.check(request)
    whole, _ = _needed_by(request, texts)
    for lock in {each for image in texts.values() for each in image.items() if each[0].endswith(ends)}:
        remember(record(request.catalogue.folder, lock))
    remember(file, whole)


def _record_of(request: Request, digests: Mapping[str, str]) -> Path:
    platforms = (platform.value for platform in request.platforms)
    words = (request.stage.value, *platforms, *(f"{name} {digest}" for name, digest in sorted(digests.items())))
    return record(request.catalogue.folder, words)
