"""Locks of OS packages: .debs and RPMs of root images and of the sets on them, and drift from a lock.

A set of packages on top of a root image has a lock of the same kind, without what the root image has already.
A lock is a text file, one package a line: name, version, architecture, archive, path in the archive, size, sha256.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.os_package import Package

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.apt_archive import Archive
    from dynamo_containers.facts.bases import Bases, RegistryRoot, Root
    from dynamo_containers.facts.rpm_repositories import Repositories
    from dynamo_containers.platforms import Platform

HEADER = "# This file is made by `invoke lock` (invoke lock --only os).\n"
INPUTS = "# inputs: sha256:"
ON = "# on: "
"""Followed by the digest of a registry's root image, what of it is installed decides the lock."""
LOCKED = "# locked: "
"""Followed by when the packages last moved, as snapshot services write a time."""
# What mmdebstrap's variant `essential` installs. Not what Debian calls `required`: its two archives disagree on that,
# and it would bring apt, which an image without package sources has no use for.
# mmdebstrap merges /usr itself, and `usr-is-merged` says so; otherwise `usrmerge` would bring the whole of Perl.
MINIMAL_SYSTEM = ("?essential", "usr-is-merged")


@dataclass(frozen=True, kw_only=True)
class OsLock:
    """The lock of one root image, or of a set of packages above one, on one platform."""

    bases: Bases
    role: str
    """The root image's."""
    platform: Platform
    above: str = ""
    """The set of packages above the root image, which the lock is of; '' for the root image's own lock."""

    @property
    def name(self) -> str:
        """Return what the lock is of: no set of packages is called like a root image."""
        return self.above or self.role

    @property
    def layer(self) -> str:
        """Return what the lock is of, among all of its kind."""
        return f"{self.bases.name}-{self.name}-{self.platform.arch}"

    @property
    def below(self) -> OsLock:
        """Return the lock of the root image."""
        return replace(self, above="")

    @property
    def sets(self) -> tuple[OsLock, ...]:
        """Return the locks of all sets of packages above the root image."""
        on = (name for name, row in self.bases.packages.items() if row.root == self.role)
        return tuple(replace(self, above=name) for name in on)

    @property
    def root(self) -> Root | RegistryRoot:
        """Return the row of images.toml that the root image is made from, or that says what is installed on it."""
        return self.bases.roots[self.role]

    @property
    def image(self) -> str:
        """Return the readable reference of the root image where a registry has it; '' where it is bootstrapped."""
        root = self.bases.pulled.get(self.role)
        return root.reference(self.platform) if root else ""

    @property
    def repositories(self) -> Repositories | None:
        """Return where the RPMs come from that the lock is of; None where it is of .debs."""
        return self.bases.repositories.get(self.role)

    @property
    def archive(self) -> Archive:
        """Return the archive whose packages go on a registry's image; a bootstrapped one has Debian's mirror."""
        archive = self.bases.archive
        assert archive is not None, "the reader of images.toml refuses such a row"  # noqa: S101 - for mypy
        return archive

    @property
    def origin(self) -> str:
        """Return the public address of what goes on a registry's image, for the lock's platform."""
        return self.repositories.address if self.repositories else self.archive.addresses[self.platform]

    @property
    def asked(self) -> Bases:
        """Return the bases with those of their sources that may have the lock's packages: snapshots are of .debs."""
        own = replace(self.bases.deb_sources, snapshot="") if self.repositories else self.bases.deb_sources
        return replace(self.bases, deb_sources=own)

    @property
    def added(self) -> tuple[str, ...]:
        """Return the packages that are named for the set above the root image."""
        return self.bases.packages[self.above].packages if self.above else ()

    @property
    def rows(self) -> str:
        """Return the rows of images.toml that the lock is made from."""
        root = f"bases.{self.bases.name}.roots.{self.role}"
        return f"bases.{self.bases.name}.packages.{self.above} or {root}" if self.above else root

    @property
    def file(self) -> str:
        """Return the lock's path below the checkout."""
        return f"constraints/os-{self.layer}.txt"

    @property
    def inputs(self) -> str:
        """Return the digest of what decides the lock besides the mirror: when it changes, the lock is stale."""
        above = ("above:", *sorted(self.added)) if self.above else ()  # no package's name has a colon
        below = ("image:", self.image) if self.image else MINIMAL_SYSTEM
        rows = self.repositories
        read = ("repositories:", rows.address, *rows.paths) if rows else ()
        words = (self.root.suite, self.platform.value, *below, *read, *sorted(self.root.packages), *above)
        return hashlib.sha256("\n".join(words).encode()).hexdigest()


def lock_of(bases: Bases, name: str, platform: Platform) -> OsLock:
    """Return the lock of a set of packages, or of what is installed on a registry's root image by the role's name."""
    if name in bases.extended:
        return OsLock(bases=bases, role=name, platform=platform)
    return OsLock(bases=bases, role=bases.packages[name].root, platform=platform, above=name)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A locked package that the mirror no longer has, and what took its place ('' for nothing)."""

    name: str
    locked: str
    used: str


def render(lock: OsLock, packages: tuple[Package, ...], moment: str = "", on: str = "") -> str:
    """Return the lock's text, sorted by name so that a change is a small diff.

    Args:
        lock: what it is of.
        packages: what it holds.
        moment: when they last moved.
        on: the digest of the registry's root image that they are installed on; '' where it is bootstrapped.
    """
    lines = (
        f"{each.name} {each.version} {each.architecture} {each.archive} {each.path} {each.size} sha256:{each.sha256}\n"
        for each in sorted(packages)
    )
    stated = (f"{ON}{on}\n" if on else "") + (f"{LOCKED}{moment}\n" if moment else "")
    return HEADER + f"{INPUTS}{lock.inputs}\n" + stated + "".join(lines)


def read(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Return the locked packages.

    Raises:
        LockError: the lock is missing, was made from another row of images.toml, or has a line nobody wrote.
    """
    path = folder / lock.file
    if not path.is_file():
        raise _missing(lock)
    return parse(lock, path.read_text(encoding="utf-8"))


def known(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Return what the lock lists, stale or not, as far as it can be read: what a new one is compared with."""
    path = folder / lock.file
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        with suppress(LockError):
            found.append(_package(lock, line))
    return tuple(found)


def parse(lock: OsLock, text: str) -> tuple[Package, ...]:
    """Read a lock's text; see `read`."""
    lines = text.splitlines()
    if f"{INPUTS}{lock.inputs}" not in lines:
        what = f"{lock.file} is stale: containers/images.toml has changed {lock.rows} since it was made"
        raise _refresh_needed(what)
    return tuple(_package(lock, line) for line in lines if not line.startswith("#"))


def _package(lock: OsLock, line: str) -> Package:
    words = line.split()
    if len(words) != 7 or not words[6].startswith("sha256:") or not words[5].isdigit():  # noqa: PLR2004 - see HEADER
        what = f"{lock.file} has a line that is no package: {line!r}"
        raise _refresh_needed(what)
    name, version, architecture, archive, path, size, digest = words
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        archive=archive,
        path=path,
        size=int(size),
        sha256=digest.removeprefix("sha256:"),
    )


def never_made(lock: OsLock, folder: Path) -> bool:
    """Say whether a lock is missing that takes a registry and an archive which this machine may not reach."""
    return bool(lock.image) and not (folder / lock.file).is_file()


def _missing(lock: OsLock) -> LockError:
    if not lock.image:
        return _refresh_needed(f"{lock.file} is missing")
    message = (
        f"{lock.file} was never made: which packages are installed on {lock.image} ({lock.rows} in images.toml).\n"
        f"It takes the registry of that image and {lock.origin}, or mirrors of both "
        "(docs/how-to/mirrors.md).\n"
        f"Where they can be reached, run: invoke lock --only os --bases {lock.bases.name}"
    )
    return LockError(message)


def _refresh_needed(what: str) -> LockError:
    return LockError(f"{what}.\nRefresh it with: invoke lock --only os")


def drifts(locked: tuple[Package, ...], used: tuple[Package, ...]) -> tuple[Drift, ...]:
    """Return the packages in which what is used differs from what is locked."""
    before = {package.name: package.version for package in locked}
    after = {package.name: package.version for package in used}
    return tuple(
        Drift(name=name, locked=before.get(name, ""), used=after.get(name, ""))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def drift_table(what: str, rows: tuple[Drift, ...]) -> str:
    """Return the table that tells a person what drifted."""
    width = max(len(row.name) for row in rows)
    lines = [f"  {row.name:<{width}}  {row.locked or '(none)'} -> {row.used or '(none)'}" for row in rows]
    head = f"DRIFTED: {what} are not what their locks say; the mirror dropped a version, or a tool is another one."
    return "\n".join([head, *lines, "The image is labelled ai.dynamo.drift. Lock the current versions: invoke lock"])


def moment_of(lock: OsLock, folder: Path) -> str:
    """Return when the lock says that its packages last moved, or '' when it does not say."""
    return _stated(lock, folder, LOCKED)


def on(lock: OsLock, folder: Path) -> str:
    """Return the digest of the registry's root image that the lock was made on, or '' when it does not say."""
    return _stated(lock, folder, ON)


def _stated(lock: OsLock, folder: Path, what: str) -> str:
    path = folder / lock.file
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.removeprefix(what) for line in lines if line.startswith(what)), "")
