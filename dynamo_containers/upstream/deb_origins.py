"""Origins of a locked package: a kept pool, then a snapshot service, then the host's mirror.

They are configured in containers/images.toml (`bases.*.deb-sources`). A file is identified by its sha256, wherever it
comes from: an origin that serves other bytes stops the build, and the next origin is not tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import quote

from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import Pin
from dynamo_containers.upstream import apt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases, DebSources
    from dynamo_containers.upstream.download import Download

File: TypeAlias = Package | Pin
AnyFile = TypeVar("AnyFile", Package, Pin)
MIRROR = "{mirror}/{path}"


def downloads(folder: Path) -> Path:
    """Return the checkout's store of downloaded files."""
    return folder / ".build" / "downloads"


def fetch_all(folder: Path, bases: Bases, files: tuple[AnyFile, ...], moment: str) -> tuple[AnyFile, ...]:
    """Fetch locked files into the store, each from the first source that has it; return those that none has.

    Args:
        folder: the checkout.
        bases: whose sources are asked.
        files: the locked files.
        moment: when they were locked, as the lock says it ('' when it does not).

    Raises:
        LockError: a snapshot service is to be asked for a lock that states no time.
        DownloadError: a source cannot be reached, or has another content.
    """
    from dynamo_containers.upstream import download

    left = tuple(file for file in files if not stored(folder, file).exists())
    if left:
        _check_pool(bases, folder)
    for place in places(bases.deb_sources, folder):
        if left:
            _check_moment(bases, place, moment)
            wanted = [_download(file, url(place, file, moment, bases.archives)) for file in left]
            gone = download.fetch_all(downloads(folder), wanted)
            left = tuple(file for file in left if file.sha256 in {each.sha256 for each in gone})
    return left


def stored(folder: Path, file: File) -> Path:
    """Return where a file stands in the store once it is there."""
    from dynamo_containers.upstream import download

    return download.stored(downloads(folder), _download(file, ""))


def _download(file: File, address: str) -> Download:
    from dynamo_containers.upstream import download

    return download.Download(url=address, sha256=file.sha256, size=file.size)


def places(sources: DebSources, folder: Path) -> tuple[str, ...]:
    """Return the templates of addresses to try, in their order."""
    pool = sources.pool.rstrip("/")
    if pool and "://" not in pool:
        pool = (folder / pool).resolve().as_uri()
    pools = (f"{pool}/{{archive}}/{{path}}", f"{pool}/sha256/{{sha256}}") if pool else ()
    snapshots = (f"{sources.snapshot.rstrip('/')}/{{path}}",) if sources.snapshot else ()
    return (*pools, *snapshots, MIRROR)


def url(place: str, file: File, moment: str, archives: Mapping[str, str] | None = None) -> str:
    """Return the address of a file at a place; `archives` are those of the bases, by name."""
    known = archives or {}
    # Which mirror the host has is asked only when it is needed: with a whole pool it may have none.
    mirror = (known.get(file.archive) or apt.host_mirrors()[file.archive]) if place == MIRROR else ""
    words = {"mirror": mirror, "archive": file.archive, "timestamp": moment, "sha256": file.sha256}
    for key, value in words.items():
        place = place.replace(f"{{{key}}}", value)
    return place.replace("{path}", quote(file.path))


def _check_pool(bases: Bases, folder: Path) -> None:
    pool = bases.deb_sources.pool
    if pool and "://" not in pool and not (folder / pool).is_dir():
        message = (
            f"bases.{bases.name}.deb-sources.pool is {pool}, and there is no such folder.\n"
            f"Mount it, or correct {IMAGES_FILE}."
        )
        raise DownloadError(message)


def _check_moment(bases: Bases, place: str, moment: str) -> None:
    if "{timestamp}" in place and not moment:
        message = (
            f"bases.{bases.name}.deb-sources.snapshot is set, but the lock does not say when it was made.\n"
            "State it with: invoke lock --only os --only archives"
        )
        raise LockError(message)


def who_lacks(sources: DebSources) -> str:
    """Return the beginning of the sentence that nobody has a file."""
    asked = [name for name, value in (("the pool", sources.pool), ("the snapshot service", sources.snapshot)) if value]
    return f"Neither {', '.join(asked)} nor the mirror has" if asked else "The mirror no longer has"
