"""Current packages of a Debian suite, for a root image or a set of OS packages on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.upstream import apt

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.platforms import Platform


def current_packages(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Ask the mirror for the current packages of a suite, dependencies included.

    For a set of OS packages the result omits what the lock of the root image has in the same version. It may contain
    newer versions of packages in the root image.
    """
    packages = resolve(lock, updated_apt(folder, lock.root.suite, lock.platform))
    return os_conflicts.beyond(packages, os_lock.read(lock.root_lock, folder)) if lock.package_set else packages


def resolve(lock: OsLock, private: apt.Apt) -> tuple[Package, ...]:
    """Return every package of a root image and of the set on it, as an updated apt resolves them."""
    return apt.resolve(private, (*os_lock.MINIMAL_SYSTEM, *lock.root.packages, *lock.set_packages))


def updated_apt(folder: Path, suite: str, platform: Platform) -> apt.Apt:
    """Return a private apt for a suite with fresh lists."""
    private = apt.Apt(
        folder=folder / state.APT / f"{suite}-{platform.arch}",
        suite=suite,
        architecture=platform.arch,
        mirrors=apt.host_mirrors(),
    )
    apt.update(private)
    return private
