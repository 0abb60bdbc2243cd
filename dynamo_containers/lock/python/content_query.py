"""Query of an index for the content of locked packages; run as a child process.

Run in the environment of the tools as `python -m dynamo_containers.lock.python.content_query QUERY --answers FILE`.
QUERY is JSON: `pins` (lock -> list of `name==version`) and `known` (sha256 of files that need not be read again). The
answer is JSON: a list of files, with what they contain unless it is known. Of a wheel only some ranges are received.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piptools.locations import CACHE_DIR

from dynamo_containers import file_reader
from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.facts.locks.contents import target_name
from dynamo_containers.lock.python.compile import find_lock, isolate, run_as_process
from dynamo_containers.lock.python.cooldown import Cooldown
from dynamo_containers.lock.python.remote_file import RemoteFile, whole
from dynamo_containers.lock.python.repository import TargetRepository
from dynamo_containers.prepare.contents import package_file
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pip._internal.index.collector import IndexContent
    from pip._internal.models.link import Link
    from pip._internal.network.session import PipSession

    from dynamo_containers.facts.locks.python_lock import LockFile

READERS = 8
"""Files that are read at the same time; each waits for the server most of the time."""


@dataclass(kw_only=True)
class LockedFile:
    """A file of a release, and the targets that download it."""

    name: str
    version: str
    link: Link
    targets: dict[str, None]


def main(argv: list[str] | None = None) -> None:
    """Answer one query file."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.lock.python.content_query", description=__doc__)
    parser.add_argument("query", type=Path, help="JSON file: the pins of each lock, and what is known")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--answers", type=Path, required=True, help="JSON file to write: the files")
    options = parser.parse_args(argv)
    isolate()
    locks = python_lock.locks(load_catalogue(options.folder))
    query = file_reader.parse_json(file_reader.read_text(options.query))
    pins = {find_lock(path, locks): names for path, names in query["pins"].items()}
    files, session = locked_files(pins, options.folder)
    known = frozenset(query["known"])
    with ThreadPoolExecutor(READERS) as pool:
        rows = list(pool.map(lambda file: _row(session, file, known), files))
    write(Document(path=options.answers, text=json.dumps(rows) + "\n"))


def locked_files(
    query: Mapping[LockFile, Collection[str]], folder: Path
) -> tuple[tuple[LockedFile, ...], PipSession | None]:
    """Return the files that the targets of locks download, and pip's session; None for no lock.

    Args:
        query: lock -> the pins whose files are needed.
        folder: the checkout.
    """
    pages: dict[str, IndexContent | None] = {}
    repositories: dict[object, TargetRepository] = {}
    files: dict[str, LockedFile] = {}
    for lock, pins in query.items():
        key = lock.target, lock.indexes
        if key not in repositories:
            # No cooldown: locked releases were old enough when they were locked.
            cooldown = Cooldown(uploaded_before="")
            repositories[key] = TargetRepository([], CACHE_DIR, lock=lock, cooldown=cooldown, pages=pages)
        for package in requirements.read(requirements.read_file(folder, lock.path), lock.path):
            link = (
                repositories[key].best_file(package, compiled=package.name in lock.compiled)
                if package.pin in pins
                else None
            )
            if link and link.hash:
                row = LockedFile(name=package.name, version=package.version, link=link, targets={})
                files.setdefault(link.hash, row).targets[target_name(lock.target)] = None
    session = next(iter(repositories.values())).session if repositories else None
    return tuple(files.values()), session


def _row(session: PipSession | None, file: LockedFile, known: Collection[str]) -> dict[str, Any]:
    """Return the row of a file: with `content`, unless it is known, or with the `fault` for which it has none."""
    link = file.link
    row: dict[str, Any] = {
        "name": file.name,
        "version": file.version,
        "file": link.filename,
        "sha256": link.hash,
        "targets": list(file.targets),
    }
    if link.hash in known or session is None:
        return row
    try:
        return {**row, "content": asdict(_read(session, link))}
    except DownloadError as error:
        return {**row, "unreachable": str(error)}
    except LockError as error:
        return {**row, "fault": str(error)}


def _read(session: PipSession, link: Link) -> package_file.PackageFile:
    url = link.url_without_fragment
    if link.is_wheel:
        return package_file.read_wheel(RemoteFile(session, url), link.filename)  # type: ignore[arg-type]
    with whole(session, url) as file:
        return package_file.read_source_archive(file, link.filename)


if __name__ == "__main__":
    run_as_process(main)
