"""Release archives (.tar.gz): downloaded by sha256; only the named members are unpacked."""

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

    from dynamo_containers.facts.pins import ArchivePin


def fetch(folder: Path, pin: ArchivePin) -> Path:
    """Return the path of a pinned archive; download it unless the store of the checkout has it.

    Raises:
        LockError: its server no longer has it.
        DownloadError: it could not be downloaded, or has another content than the pinned one.
    """
    try:
        return download.fetch(
            deb_origins.downloads(folder), download.Download(url=pin.url, sha256=pin.sha256, size=pin.size)
        )
    except download.GoneError as error:
        message = (
            f"{error}\nPut a copy of it at {deb_origins.downloads(folder)}/sha256/{pin.sha256}, "
            f"or set another version in {IMAGES_FILE} and pin it with: invoke lock --only archives"
        )
        raise LockError(message) from None


def store_path(folder: Path, pin: ArchivePin) -> Path:
    """Return the path that an archive has in the store of the checkout after its download."""
    return download.store_path(deb_origins.downloads(folder), download.Download(url=pin.url, sha256=pin.sha256))


def unpack(archive: Path, url: str, names: Collection[str], folder: Path) -> None:
    """Unpack only the named files of an archive into a folder.

    Raises:
        UsageError: the archive does not have one of the files, a file leads out of it, or it is not an archive.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {member.name.removeprefix("./"): member for member in tar.getmembers()}
            for name in names:
                _check(url, name, members)
                tar.extract(members[name], folder, filter="data")
    except tarfile.FilterError as error:
        message = f"{url} has a file that leads out of the archive: {error}.\nCorrect its `files` in {IMAGES_FILE}."
        raise UsageError(message) from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"{url} is not a .tar.gz archive: {error}.\nCheck its url in {IMAGES_FILE}."
        raise UsageError(message) from None


def _check(url: str, name: str, members: Collection[str]) -> None:
    if name not in members:
        message = (
            f"The archive {url} has no file {name}.\n"
            f"It has: {', '.join(sorted(members)[:20])}.\nCorrect its `files` in {IMAGES_FILE}."
        )
        raise UsageError(message)
