"""Packages of a Debian suite for a root image, or for a set of packages on one."""

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


def current(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Ask the mirror for the suite's current packages, dependencies included.

    For a set above a root image these are all that are not in the root image's lock in the same version: newer ones of
    the root image's own may be among them.
    """
    everything = resolved(lock, updated(folder, lock.root.suite, lock.platform))
    return os_conflicts.beyond(everything, os_lock.read(lock.root_lock, folder)) if lock.package_set else everything


def resolved(lock: OsLock, private: apt.Apt) -> tuple[Package, ...]:
    """Return all that a root image consists of, the set above it included, as an updated apt has it."""
    return apt.resolve(private, (*os_lock.MINIMAL_SYSTEM, *lock.root.packages, *lock.set_packages))


def updated(folder: Path, suite: str, platform: Platform) -> apt.Apt:
    """Return a private apt for a suite with fresh lists."""
    private = apt.Apt(
        folder=folder / state.APT / f"{suite}-{platform.arch}",
        suite=suite,
        architecture=platform.arch,
        mirrors=apt.host_mirrors(),
    )
    apt.update(private)
    return private
