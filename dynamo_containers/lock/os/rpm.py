"""RPMs for a root image of a registry, resolved by the image's own dnf.

There dnf knows what is installed and, unlike any on this machine, is the one that the image's packages are made for.
It reads the repositories that images.toml names (their mirrors, where this machine has some) and nothing else, fetches
what it would install, and holds each package to the keys in the image. docs/adr/0025 has why.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dynamo_containers import process
from dynamo_containers.errors import DownloadError, FatalError, LockError, UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os import image_status
from dynamo_containers.prepare import build_secrets
from dynamo_containers.upstream.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.facts.rpm_repositories import Repositories

STEP = "os-resolved"
"""The folder of containers/ in which an image's dnf is asked."""
WISH = "wish.json"
ANSWER = "answer.json"


def resolved(folder: Path, locks: tuple[OsLock, ...], pins: Pins) -> dict[str, tuple[Package, ...]]:
    """Return what each lock on one image has to hold, by its file.

    Args:
        folder: the checkout.
        locks: those of the sets on one root image and platform.
        pins: where the image is pinned.

    Raises:
        LockError: the image is not pinned or not there, or no repository has a package that a set names.
        DownloadError: a package is not signed by the keys in the image.
        UnreachableError: there is no engine, or a registry or repository did not answer; why, in one line.
        CommandFailedError: the image could not be asked: it has no dnf, say.
    """
    lock = locks[0]
    place = folder / ".build" / STEP / lock.below.layer
    process.write(
        process.Document(path=place / WISH, text=json.dumps(wish(locks, mirrors.here().address), indent=2) + "\n")
    )
    question = image_status.Question(
        step=STEP,
        contexts={"wish": str(place)},
        secrets=tuple(each for each in build_secrets.secrets(folder, os.environ) if each.startswith("id=ca,")),
        runs=True,
        hint=f"The dnf of {lock.image} was asked, by {STEP}/resolve-rpms. Is that image one with dnf?",
    )
    with TemporaryDirectory(dir=place.parent) as scratch:
        image_status.ask(folder, lock, image_status.named(lock, pins), question, Path(scratch))
        answer = json.loads((Path(scratch) / ANSWER).read_text(encoding="utf-8"))
    return read(locks, answer)


def wish(locks: tuple[OsLock, ...], used: Callable[[str], str]) -> dict[str, Any]:
    """Return what dnf is told; `used` says where an address is looked for."""
    repositories = _of(locks[0])
    addresses = {path: used(f"{repositories.address}/{path}") for path in repositories.of(locks[0].platform)}
    return {
        "keyring": repositories.keyring,
        "repositories": addresses,
        "sets": {lock.file: list(lock.added) for lock in locks},
    }


def read(locks: tuple[OsLock, ...], answer: Mapping[str, Any]) -> dict[str, tuple[Package, ...]]:
    """Return what dnf answered: the packages of each set, by the lock's file.

    Raises:
        LockError, DownloadError, UnreachableError: it answered why there is none.
    """
    if fault := answer.get("fault"):
        raise _error(locks, fault, answer["why"])
    name = _of(locks[0]).name
    return {
        file: tuple(
            sorted(
                Package(
                    name=row["name"],
                    version=row["evr"],
                    architecture=row["architecture"],
                    archive=name,
                    path=f"{row['repository']}/{row['path']}",
                    size=row["size"],
                    sha256=row["sha256"],
                )
                for row in rows
            )
        )
        for file, rows in answer["sets"].items()
    }


def _error(locks: tuple[OsLock, ...], fault: str, why: str) -> FatalError:
    lock, repositories = locks[0], _of(locks[0])
    shown = mirrors.said(repositories.address, mirrors.here().address(repositories.address))
    match fault:
        case "unsigned":
            return DownloadError(
                f"{shown} has packages that are not signed by the keys in {lock.image} ({repositories.keyring}):\n{why}"
            )
        case "unknown":
            rows = ", ".join(f"bases.{each.bases.name}.packages.{each.above}" for each in locks)
            return LockError(
                f"{shown} has no such packages for {lock.platform.value}: {why}\n"
                f"They are named in {IMAGES_FILE}: {rows}."
            )
        case _:
            return UnreachableError(f"{shown}: {one_line(why)}")


def _of(lock: OsLock) -> Repositories:
    assert lock.repositories is not None, "a lock of .debs has none"  # noqa: S101 - for mypy
    return lock.repositories
