"""RPMs for a root image of a registry, resolved by the image's own dnf.

That dnf knows the installed packages and, unlike a dnf on this machine, matches the image's packages. It reads the
repositories that images.toml names (or their mirrors) and nothing else, downloads the packages that it would install,
and verifies each with the keys in the image. See docs/adr/0025.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, process, spelling, state
from dynamo_containers.errors import DownloadError, FatalError, LockError, UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os import image_status
from dynamo_containers.prepare import build_secrets
from dynamo_containers.upstream.unreachable import one_line
from dynamo_containers.value_types import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.facts.rpm_repositories import RpmRepositories

TARGET = "os-resolved"
"""The folder of containers/ whose Dockerfile runs an image's dnf."""
QUERY_FILE = "wish.json"
ANSWER_FILE = "answer.json"


def resolve(folder: Path, locks: tuple[OsLock, ...], pins: Pins) -> dict[str, tuple[Package, ...]]:
    """Return the packages of each lock on one image, by its file.

    Args:
        folder: the checkout.
        locks: the locks of the sets on one root image and platform.
        pins: the pins, also of the image.

    Raises:
        LockError: the image is not pinned or does not exist, or no repository has a package that a set names.
        DownloadError: a package is not signed by the keys in the image.
        UnreachableError: no engine runs, or a registry or repository did not answer; the reason in one line.
        CommandFailedError: the query failed, for example because the image has no dnf.
    """
    lock = locks[0]
    query_folder = folder / state.RPM_QUERIES / lock.root_lock.layer
    text = json.dumps(dnf_query(locks, mirrors.configured().address), indent=2) + "\n"
    process.write(process.Document(path=query_folder / QUERY_FILE, text=text))
    query = image_status.ImageQuery(
        image=image_status.pinned_reference(lock, pins),
        target=TARGET,
        contexts={"wish": str(query_folder)},
        secrets=tuple(
            secret for secret in build_secrets.secrets(folder, os.environ) if spelling.attribute(secret, "id") == "ca"
        ),
        runs_binaries=True,
        hint=f"{TARGET}/resolve-rpms runs the dnf of {lock.image}. Does that image have dnf?",
    )
    with TemporaryDirectory(dir=query_folder.parent) as scratch:
        image_status.run_query(folder, lock, query, Path(scratch))
        answer = file_reader.parse_json(file_reader.read_text(Path(scratch) / ANSWER_FILE))
    return parse_answer(locks, answer)


def dnf_query(locks: tuple[OsLock, ...], mirror: Callable[[str], str]) -> dict[str, Any]:
    """Return the query for dnf; `mirror` returns the address to use for a public address."""
    repositories = _repositories(locks[0])
    addresses = {path: mirror(f"{repositories.address}/{path}") for path in repositories.paths_of(locks[0].platform)}
    return {
        "keyring": repositories.keyring,
        "repositories": addresses,
        "sets": {lock.file: list(lock.set_packages) for lock in locks},
    }


def parse_answer(locks: tuple[OsLock, ...], answer: Mapping[str, Any]) -> dict[str, tuple[Package, ...]]:
    """Return the packages of each set from the answer of dnf, by the lock's file.

    Raises:
        LockError, DownloadError, UnreachableError: the answer is a fault.
    """
    if fault := answer.get("fault"):
        raise _error(locks, fault, answer["why"])
    repositories = _repositories(locks[0])
    try:
        return {
            file: tuple(sorted(_package(repositories.name, row) for row in rows))
            for file, rows in answer["sets"].items()
        }
    except InvalidValueError as error:
        message = f"{repositories.address} has a package that cannot be locked: {error}."
        raise LockError(message) from None


def _package(archive: str, row: Mapping[str, Any]) -> Package:
    return Package(
        name=row["name"],
        version=row["evr"],
        architecture=row["architecture"],
        archive=archive,
        path=f"{row['repository']}/{row['path']}",
        size=row["size"],
        sha256=row["sha256"],
    )


def _error(locks: tuple[OsLock, ...], fault: str, reason: str) -> FatalError:
    lock, repositories = locks[0], _repositories(locks[0])
    address = mirrors.describe(repositories.address, mirrors.configured().address(repositories.address))
    match fault:
        case "unsigned":
            return DownloadError(
                f"{address} has packages that are not signed by the keys in {lock.image} "
                f"({repositories.keyring}):\n{reason}"
            )
        case "unknown":
            rows = ", ".join(f"bases.{other.bases.name}.packages.{other.package_set}" for other in locks)
            return LockError(
                f"{address} does not have these packages for {lock.platform.value}: {reason}\n"
                f"They are in {IMAGES_FILE}: {rows}."
            )
        case _:
            return UnreachableError(f"{address}: {one_line(reason)}")


def _repositories(lock: OsLock) -> RpmRepositories:
    assert lock.repositories is not None, "a lock of .debs has no repositories"  # noqa: S101 - for mypy
    return lock.repositories
