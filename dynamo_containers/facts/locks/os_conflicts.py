"""Conflicts between OS locks: a root image and the sets on it must agree on every package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.locks import os_lock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import Pins

REMEDY = "Renew them with: invoke lock --only os"


def only(lock: OsLock, everything: tuple[Package, ...], below: tuple[Package, ...]) -> tuple[Package, ...]:
    """Return what a lock has to hold: all packages of a root image, and of a set what the root image lacks.

    Args:
        lock: the lock that is made.
        everything: what apt would install where nothing is.
        below: what apt would install of the root image alone.

    Raises:
        LockError: the set would move a package that the root image has.
    """
    if not lock.above:
        return everything
    added = beyond(everything, below)
    there = {package.name: package.version for package in below}
    moved = [f"{each.name} {there[each.name]} -> {each.version}" for each in added if each.name in there]
    if moved:
        message = (
            f"{lock.file} would move packages that its root image ({lock.below.file}) has: {', '.join(moved)}.\n"
            f"Was the mirror being updated? {REMEDY}"
        )
        raise LockError(message)
    return added


def check_image(lock: OsLock, folder: Path, pins: Pins) -> None:
    """Refuse a lock on a registry's root image that was made on another one than the pinned.

    Raises:
        LockError: it was, or the image is not pinned.
    """
    if not lock.image:
        return
    digest, made_on = image_reference.digest(pins, lock.bases, lock.role, lock.platform), os_lock.on(lock, folder)
    if made_on != digest:
        message = (
            f"{lock.file} is stale: it was made on {lock.image} by {made_on or 'no digest'}, and that is pinned to "
            f"{digest}.\nRefresh it with: invoke lock --only os --bases {lock.bases.name}"
        )
        raise LockError(message)


def beyond(everything: tuple[Package, ...], below: tuple[Package, ...]) -> tuple[Package, ...]:
    """Return the packages that are not below in the same version and content."""
    there = set(below)
    return tuple(package for package in everything if package not in there)


def disagreements(locks: Iterable[OsLock], folder: Path) -> tuple[str, ...]:
    """Return a line for each package that two locks on the same root image pin apart.

    They are made together, so this only happens to a lock that was edited or merged by hand.
    """
    families = {lock.below.file: lock.below for lock in locks}
    return tuple(line for root in families.values() for line in _apart(root, folder))


def _apart(root: OsLock, folder: Path) -> list[str]:
    pins: dict[str, dict[str, Package]] = {}
    for lock in (root, *root.sets):
        for package in os_lock.known(lock, folder):
            pins.setdefault(package.name, {})[lock.file] = package
    return [
        f"{name} differs between OS locks of one image: {_said(where)}.\n{REMEDY}"
        for name, where in pins.items()
        if len(set(where.values())) > 1
    ]


def _said(where: dict[str, Package]) -> str:
    return ", ".join(f"{package.version} ({package.sha256[:12]}) in {file}" for file, package in where.items())
