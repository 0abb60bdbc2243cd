"""Conflicts of OS locks: with the sets on one root image, and with the Python that images.toml states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import os_lock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import Pins

REMEDY = "Update them with: invoke lock --only os"
UPSTREAM_VERSION = re.compile(r"(?:[0-9]+:)?([0-9]+\.[0-9]+\.[0-9]+)")
"""The version of Python in that of a .deb: `3.11.2-6+deb12u9`."""


def packages_to_lock(
    lock: OsLock, packages: tuple[Package, ...], root_packages: tuple[Package, ...]
) -> tuple[Package, ...]:
    """Return the packages for a lock: all packages of a root image, and of a set those that the root image lacks.

    Args:
        lock: the lock to write.
        packages: every package that apt would install.
        root_packages: the packages that apt would install for the root image alone.

    Raises:
        LockError: the set would move a package that the root image has.
    """
    if not lock.package_set:
        return packages
    new_packages = beyond(packages, root_packages)
    versions = {package.name: package.version for package in root_packages}
    moves = [
        f"{package.name} {versions[package.name]} -> {package.version}"
        for package in new_packages
        if package.name in versions
    ]
    if moves:
        message = (
            f"{lock.file} would move packages of its root image ({lock.root_lock.file}): {', '.join(moves)}.\n"
            f"Was the mirror being updated? {REMEDY}"
        )
        raise LockError(message)
    return new_packages


def check_image(lock: OsLock, folder: Path, pins: Pins) -> None:
    """Refuse a lock that depends on another digest of its registry's root image than the pinned one.

    Raises:
        LockError: the digests differ, or the image is not pinned.
    """
    if not lock.image:
        return
    pinned = image_reference.digest(pins, lock.bases, lock.role, lock.platform)
    digest = os_lock.root_digest(lock, folder)
    if digest != pinned:
        message = (
            f"{lock.file} is stale: it is based on {lock.image} with {digest or 'no digest'}, but the pin is "
            f"{pinned}.\nUpdate it with: invoke lock --only os --bases {lock.bases.name}"
        )
        raise LockError(message)


def check_python(lock: OsLock, packages: Iterable[Package]) -> None:
    """Refuse a lock of a root image whose Python is another patch release than images.toml states for it.

    Python locks are resolved for the stated one, so that no OS lock is needed to resolve them.

    Raises:
        LockError: the versions differ.
    """
    stated = lock.bases.python_of(lock.role)
    if lock.package_set or stated == lock.bases.python:
        return
    name = f"python{lock.bases.python}"
    match = next((UPSTREAM_VERSION.match(package.version) for package in packages if package.name == name), None)
    if match and match[1] != stated:
        message = (
            f"{lock.file} has Python {match[1]}, but {IMAGES_FILE} states {stated} for bases.{lock.bases.name}.\n"
            f'Write python = "{match[1]}" there, then run: invoke lock'
        )
        raise LockError(message)


def check_pythons(locks: Iterable[OsLock], folder: Path) -> None:
    """Refuse OS locks whose Python is not the stated one, before Python locks are resolved for it.

    Raises:
        LockError: the first that differs.
    """
    for lock in locks:
        check_python(lock, os_lock.read_valid_lines(lock, folder))


def beyond(packages: tuple[Package, ...], root_packages: tuple[Package, ...]) -> tuple[Package, ...]:
    """Return the packages that the root image does not have in the same version and content."""
    installed = set(root_packages)
    return tuple(package for package in packages if package not in installed)


def disagreements(locks: Iterable[OsLock], folder: Path) -> tuple[str, ...]:
    """Return a message for each package that locks on one root image pin differently.

    They are resolved together, so this only happens to a lock that was edited or merged by hand.
    """
    roots = {lock.root_lock.file: lock.root_lock for lock in locks}
    return tuple(message for root in roots.values() for message in _differences(root, folder))


def _differences(root: OsLock, folder: Path) -> list[str]:
    pins: dict[str, dict[str, Package]] = {}
    for lock in (root, *root.sets):
        for package in os_lock.read_valid_lines(lock, folder):
            pins.setdefault(package.name, {})[lock.file] = package
    return [
        f"{name} differs between OS locks of one image: {_versions(packages)}.\n{REMEDY}"
        for name, packages in pins.items()
        if len(set(packages.values())) > 1
    ]


def _versions(packages: dict[str, Package]) -> str:
    return ", ".join(f"{package.version} ({package.sha256[:12]}) in {file}" for file, package in packages.items())
