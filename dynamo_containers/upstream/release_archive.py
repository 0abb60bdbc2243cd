"""Release archives (.tar.gz): fetched by sha256; only the named members are unpacked."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.upstream import deb_origins, download

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from dynamo_containers.facts.pins import ReleasePin


def fetched(folder: Path, pin: ReleasePin) -> Path:
    """Return the pinned archive, after fetching it unless the checkout's store has it.

    Raises:
        LockError: its server no longer has it.
        DownloadError: it could not be fetched, or is not the pinned one.
    """
    try:
        return download.fetch(
            deb_origins.downloads(folder), download.Download(url=pin.url, sha256=pin.sha256, size=pin.size)
        )
    except download.GoneError as error:
        message = (
            f"{error}\nPut a copy of it at {deb_origins.downloads(folder)}/sha256/{pin.sha256}, "
            f"or state another version in {IMAGES_FILE} and pin it with: invoke lock --only archives"
        )
        raise LockError(message) from None


def stored(folder: Path, pin: ReleasePin) -> Path:
    """Return where the archive stands in the checkout's store once it is there."""
    return download.stored(deb_origins.downloads(folder), download.Download(url=pin.url, sha256=pin.sha256))


def unpack(archive: Path, url: str, names: Collection[str], folder: Path) -> None:
    """Unpack the named files, and nothing else, into a folder.

    Raises:
        UsageError: it has no such file, or is no archive at all.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {member.name.removeprefix("./"): member for member in tar.getmembers()}
            for name in names:
                _check(url, name, members)
                tar.extract(members[name], folder, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"{url} is no archive: {error}.\nIs that the right address? It stands in {IMAGES_FILE}."
        raise UsageError(message) from None


def _check(url: str, name: str, members: Collection[str]) -> None:
    if name not in members:
        message = (
            f"The archive {url} has no file {name}.\n"
            f"It has: {', '.join(sorted(members)[:20])}.\nEdit what is taken of it in {IMAGES_FILE}."
        )
        raise UsageError(message)
