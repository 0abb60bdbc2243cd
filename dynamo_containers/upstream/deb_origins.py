"""Origins of a locked package: a pool, then a snapshot service, then the mirror of the host.

They are configured in containers/images.toml (`bases.*.deb-sources`). A file is identified by its sha256, wherever it
comes from: an origin that serves other bytes stops the build, and the next origin is not tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import quote

from dynamo_containers import state
from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PackagePin
from dynamo_containers.upstream import apt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases, DebSources
    from dynamo_containers.upstream.download import Download

File: TypeAlias = Package | PackagePin
AnyFile = TypeVar("AnyFile", Package, PackagePin)
MIRROR = "{mirror}/{path}"


def downloads(folder: Path) -> Path:
    """Return the store of downloads of a checkout."""
    return folder / state.DOWNLOADS


def fetch_all(folder: Path, bases: Bases, files: tuple[AnyFile, ...], moment: str) -> tuple[AnyFile, ...]:
    """Download locked files into the store, each from the first origin that has it; return those that no origin has.

    Args:
        folder: the checkout.
        bases: the bases whose origins are used.
        files: the locked files.
        moment: when they were locked, from the lock ('' if the lock has no time).

    Raises:
        LockError: a snapshot service is configured, and the lock has no time.
        DownloadError: an origin is unreachable, or has another content.
    """
    from dynamo_containers.upstream import download

    missing = tuple(file for file in files if not download.is_stored(downloads(folder), _download(file, "")))
    if missing:
        _check_pool(bases, folder)
    for template in url_templates(bases.deb_sources, folder):
        if missing:
            _check_moment(bases, template, moment)
            queue = [_download(file, url(template, file, moment, bases.archives)) for file in missing]
            gone = {failed.sha256 for failed in download.fetch_all(downloads(folder), queue)}
            missing = tuple(file for file in missing if file.sha256 in gone)
    return missing


def store_path(folder: Path, file: File) -> Path:
    """Return the path that a file has in the store after its download."""
    from dynamo_containers.upstream import download

    return download.store_path(downloads(folder), _download(file, ""))


def _download(file: File, address: str) -> Download:
    from dynamo_containers.upstream import download

    return download.Download(url=address, sha256=file.sha256, size=file.size)


def url_templates(sources: DebSources, folder: Path) -> tuple[str, ...]:
    """Return the templates of the URLs to try, in this order."""
    pool = sources.pool.rstrip("/")
    if pool and "://" not in pool:
        pool = (folder / pool).resolve().as_uri()
    pools = (f"{pool}/{{archive}}/{{path}}", f"{pool}/sha256/{{sha256}}") if pool else ()
    snapshots = (f"{sources.snapshot.rstrip('/')}/{{path}}",) if sources.snapshot else ()
    return (*pools, *snapshots, MIRROR)


def url(template: str, file: File, moment: str, archives: Mapping[str, str] | None = None) -> str:
    """Return the URL of a file at an origin; `archives` has the archives of the bases by name."""
    # The mirror of the host is looked up only for its own template: with a complete pool a host needs no mirror.
    mirror = ((archives or {}).get(file.archive) or _host_mirror(file)) if template == MIRROR else ""
    fields = {"mirror": mirror, "archive": file.archive, "timestamp": moment, "sha256": file.sha256}
    for key, value in fields.items():
        template = template.replace(f"{{{key}}}", value)
    return template.replace("{path}", quote(file.path))


def _host_mirror(file: File) -> str:
    mirrors = apt.host_mirrors()
    if file.archive not in mirrors:
        message = (
            f"The lock has {file.path} from the archive {file.archive!r}, allowed is {' or '.join(mirrors)}.\n"
            "Update it with: invoke lock --only os --only archives"
        )
        raise LockError(message)
    return mirrors[file.archive]


def _check_pool(bases: Bases, folder: Path) -> None:
    pool = bases.deb_sources.pool
    if pool and "://" not in pool and not (folder / pool).is_dir():
        message = (
            f"bases.{bases.name}.deb-sources.pool is {pool}, but this folder does not exist.\n"
            f"Mount it, or correct {IMAGES_FILE}."
        )
        raise DownloadError(message)


def _check_moment(bases: Bases, template: str, moment: str) -> None:
    if "{timestamp}" in template and not moment:
        message = (
            f"bases.{bases.name}.deb-sources.snapshot is set, but the lock has no time.\n"
            "Add it with: invoke lock --only os --only archives"
        )
        raise LockError(message)


def describe_missing(sources: DebSources) -> str:
    """Return the beginning of the message for a file that no origin has."""
    origins = [
        name for name, value in (("the pool", sources.pool), ("the snapshot service", sources.snapshot)) if value
    ]
    return f"Neither {', '.join(origins)} nor the mirror has" if origins else "The mirror no longer has"
