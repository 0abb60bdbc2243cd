"""Locks of OS packages: .debs and RPMs of root images and of the sets on them, and drift from a lock.

A set of packages on a root image has a lock of the same kind, without the packages of the root image.
A lock is a text file. Each line is a package: name, version, architecture, archive, path in the archive, size, sha256.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, value_types
from dynamo_containers.errors import LockError, NotLockedError
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.value_types import DIGEST, MOMENT, SIZE, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from dynamo_containers.facts.apt_archive import AptArchive
    from dynamo_containers.facts.bases import Bases, RegistryRoot, Root
    from dynamo_containers.facts.rpm_repositories import RpmRepositories
    from dynamo_containers.platforms import Platform
    from dynamo_containers.value_types import TextType

COMMAND = "invoke lock --only os"
HEADER = f"# This file is made by `invoke lock` ({COMMAND}).\n"
COUNT = "# packages: "
"""Before the number of packages. It comes before all else, so that a lock is known to be cut, wherever it is cut."""
AUTHOR = file_reader.tool(COMMAND)
INPUTS = "# inputs: sha256:"
ON = "# on: "
"""Before the digest of a registry's root image, whose installed packages decide the lock."""
LOCKED = "# locked: "
"""Before the time of the last move, in the format of snapshot services."""
# The packages of mmdebstrap's variant `essential`. Debian's `required` differs between its two archives, and contains
# apt, which is useless in an image without package sources.
# mmdebstrap merges /usr itself and `usr-is-merged` records it; otherwise `usrmerge` would install all of Perl.
MINIMAL_SYSTEM = ("?essential", "usr-is-merged")


@dataclass(frozen=True, kw_only=True)
class OsLock:
    """Lock of one root image, or of a set of packages on it, for one platform."""

    bases: Bases
    role: str
    """Role of the root image."""
    platform: Platform
    package_set: str = ""
    """Name of the set of packages on the root image; '' for the root image's own lock."""

    @property
    def name(self) -> str:
        """Return the name of its set or root image; no set has the name of a root image."""
        return self.package_set or self.role

    @property
    def layer(self) -> str:
        """Return its name among all locks of OS packages."""
        return f"{self.bases.name}-{self.name}-{self.platform.arch}"

    @property
    def root_lock(self) -> OsLock:
        """Return the lock of the root image."""
        return replace(self, package_set="")

    @property
    def sets(self) -> tuple[OsLock, ...]:
        """Return the locks of all sets of packages on the root image."""
        names = (name for name, row in self.bases.packages.items() if row.root == self.role)
        return tuple(replace(self, package_set=name) for name in names)

    @property
    def root(self) -> Root | RegistryRoot:
        """Return the root image's row of images.toml."""
        return self.bases.roots[self.role]

    @property
    def image(self) -> str:
        """Return the reference of a root image in a registry; '' where it is bootstrapped."""
        root = self.bases.registry_roots.get(self.role)
        return root.reference(self.platform) if root else ""

    @property
    def repositories(self) -> RpmRepositories | None:
        """Return the repositories of a lock of RPMs; None for a lock of .debs."""
        return self.bases.repositories.get(self.role)

    @property
    def archive(self) -> AptArchive:
        """Return the archive with the packages for a registry's image; a bootstrapped image uses Debian's mirror."""
        archive = self.bases.archive
        assert archive is not None, "the parser of images.toml refuses such a row"  # noqa: S101 - for mypy
        return archive

    @property
    def architectures(self) -> tuple[str, str]:
        """Return what a package's architecture may be: the platform's, or that of packages for every platform."""
        return (self.platform.machine, "noarch") if self.repositories else (self.platform.arch, "all")

    @property
    def origin(self) -> str:
        """Return the public address of the packages for a registry's image, for the lock's platform."""
        return self.repositories.address if self.repositories else self.archive.addresses[self.platform]

    @property
    def package_sources(self) -> Bases:
        """Return the bases with only the sources that may have the lock's packages: snapshots have .debs."""
        sources = replace(self.bases.deb_sources, snapshot="") if self.repositories else self.bases.deb_sources
        return replace(self.bases, deb_sources=sources)

    @property
    def set_packages(self) -> tuple[str, ...]:
        """Return the packages that images.toml names for the set; none for a root image's own lock."""
        return self.bases.packages[self.package_set].packages if self.package_set else ()

    @property
    def rows(self) -> str:
        """Return the rows of images.toml that decide the lock."""
        root = f"bases.{self.bases.name}.roots.{self.role}"
        return f"bases.{self.bases.name}.packages.{self.package_set} or {root}" if self.package_set else root

    @property
    def file(self) -> str:
        """Return the lock's path below the checkout."""
        return f"constraints/os-{self.layer}.txt"

    @property
    def inputs(self) -> str:
        """Return the digest of the lock's inputs besides the mirror: when it changes, the lock is stale."""
        # No package's name has a colon.
        set_inputs = ("above:", *sorted(self.set_packages)) if self.package_set else ()
        system = ("image:", self.image) if self.image else MINIMAL_SYSTEM
        rows = self.repositories
        repositories = ("repositories:", rows.address, *rows.paths) if rows else ()
        packages = (*sorted(self.root.packages), *set_inputs)
        inputs = (self.root.suite, self.platform.value, *system, *repositories, *packages)
        return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def lock_of(bases: Bases, name: str, platform: Platform) -> OsLock:
    """Return the lock of a set of packages, or, by the name of its role, of the packages on a registry's root image."""
    if name in bases.extended_roots:
        return OsLock(bases=bases, role=name, platform=platform)
    return OsLock(bases=bases, role=bases.packages[name].root, platform=platform, package_set=name)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A locked package that the mirror no longer has, and its replacement ('' for none)."""

    name: str
    locked: str
    used: str


def render(lock: OsLock, packages: tuple[Package, ...], locked_at: str = "", root_digest: str = "") -> str:
    """Return the lock's text, sorted by name so that a change is a small diff.

    Args:
        lock: which one.
        packages: its packages.
        locked_at: when they last moved.
        root_digest: the digest of the registry's root image that they are installed on; '' where it is bootstrapped.
    """
    digest_line = f"{ON}{root_digest}\n" if root_digest else ""
    time_line = f"{LOCKED}{locked_at}\n" if locked_at else ""
    head = HEADER + f"{COUNT}{len(packages)}\n{INPUTS}{lock.inputs}\n"
    return head + digest_line + time_line + _package_lines(packages)


def content(lock: OsLock, packages: tuple[Package, ...]) -> str:
    """Return the lock's text without what does not decide an image, such as when the packages last moved."""
    return f"{HEADER}{INPUTS}{lock.inputs}\n{_package_lines(packages)}"


def _package_lines(packages: tuple[Package, ...]) -> str:
    return "".join(
        f"{package.name} {package.version} {package.architecture} {package.archive} {package.path} {package.size} "
        f"sha256:{package.sha256}\n"
        for package in sorted(packages)
    )


def read(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Return the locked packages.

    Raises:
        LockError: the lock is missing, its row of images.toml changed, or a line is not valid.
    """
    text = file_reader.read_text_if_there(folder / lock.file, lock.file, AUTHOR)
    if text is None:
        raise _missing(lock)
    return parse(lock, text)


def read_valid_lines(lock: OsLock, folder: Path) -> tuple[Package, ...]:
    """Return the packages of all valid lines of a lock, even a stale one; a new lock is compared with them."""
    packages, architectures = [], lock.architectures
    for number, line in enumerate(_lines(lock, folder), start=1):
        with suppress(LockError):
            packages.append(_package(lock, architectures, number, line))
    return tuple(packages)


def _lines(lock: OsLock, folder: Path) -> list[str]:
    return (file_reader.cached_text(folder / lock.file) or "").splitlines()


def parse(lock: OsLock, text: str) -> tuple[Package, ...]:
    """Parse a lock's text; see `read`."""
    lines = text.splitlines()
    if f"{INPUTS}{lock.inputs}" not in lines:
        fault = f"{lock.file} is stale: {lock.rows} of containers/images.toml changed since it was written"
        raise _update_needed(fault)
    rows, architectures = enumerate(lines, start=1), lock.architectures
    packages = tuple(_package(lock, architectures, number, line) for number, line in rows if not line.startswith("#"))
    _check_complete(lock, lines, packages)
    return packages


def _check_complete(lock: OsLock, lines: list[str], packages: tuple[Package, ...]) -> None:
    names = {package.name for package in packages}
    if len(names) < len(packages):
        repeated = [name for name, count in Counter(package.name for package in packages).items() if count > 1]
        fault = f"{lock.file} locks {', '.join(repeated)} more than once"
        raise _update_needed(fault)
    count = next((line.removeprefix(COUNT) for line in lines if line.startswith(COUNT)), "")
    if count != str(len(packages)):
        stated = f"states {value_types.shown(count)}" if count else f"has no line `{COUNT.strip()}`"
        fault = f"{lock.file} was cut or edited: it has {len(packages)} packages, and {stated}"
        raise _update_needed(fault)


def _package(lock: OsLock, architectures: Collection[str], number: int, line: str) -> Package:
    columns = line.split(" ")
    if len(columns) != 7 or not columns[6].startswith("sha256:"):  # noqa: PLR2004 - see HEADER
        fault = f"{lock.file}: line {number} is not a package: {value_types.shown(line)}"
        raise _update_needed(fault)
    name, version, architecture, archive, path, size, digest = columns
    try:
        package = Package(
            name=name,
            version=version,
            architecture=architecture,
            archive=archive,
            path=path,
            size=SIZE.parse_text(size),
            sha256=digest.removeprefix("sha256:"),
        )
    except InvalidValueError as error:
        fault = f"{lock.file}: line {number}: {error}"
        raise _update_needed(fault) from None
    if architecture not in architectures:
        allowed = " or ".join(architectures)
        fault = f"{lock.file}: line {number}: architecture: found {architecture!r}, allowed is {allowed}"
        raise _update_needed(fault)
    return package


def never_locked(lock: OsLock, folder: Path) -> bool:
    """Return whether a missing lock needs a registry and an archive that this machine may not reach."""
    return bool(lock.image) and not os.path.lexists(folder / lock.file)


def _missing(lock: OsLock) -> LockError:
    if not lock.image:
        return _update_needed(f"{lock.file} is missing")
    message = (
        f"{lock.file} does not exist. It pins the packages on {lock.image} ({lock.rows} in images.toml).\n"
        f"Create it with: {COMMAND} --bases {lock.bases.name}\n"
        f"This needs access to the registry of that image and to {lock.origin}, or to mirrors of both "
        "(docs/how-to/mirrors.md)."
    )
    return NotLockedError(message, (lock.file,))


def _update_needed(fault: str) -> LockError:
    return LockError(f"{fault}.\nUpdate it with: {COMMAND}")


def drifts(locked: tuple[Package, ...], used: tuple[Package, ...]) -> tuple[Drift, ...]:
    """Return the packages that differ between the lock and the used packages."""
    before = {package.name: package.version for package in locked}
    after = {package.name: package.version for package in used}
    return tuple(
        Drift(name=name, locked=before.get(name, ""), used=after.get(name, ""))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def drift_table(subject: str, rows: tuple[Drift, ...]) -> str:
    """Return the table of drifted packages for a person."""
    width = max(len(row.name) for row in rows)
    lines = [f"  {row.name:<{width}}  {row.locked or '(none)'} -> {row.used or '(none)'}" for row in rows]
    head = f"DRIFTED: {subject} differ from their locks: the mirror dropped a version, or a tool changed."
    return "\n".join([head, *lines, "The image is labelled ai.dynamo.drift. Lock the current versions: invoke lock"])


def locked_at(lock: OsLock, folder: Path) -> str:
    """Return when the lock's packages last moved, '' when the lock does not state it.

    Raises:
        LockError: the lock states something else.
    """
    return _header_value(lock, folder, LOCKED, MOMENT)


def root_digest(lock: OsLock, folder: Path) -> str:
    """Return the digest of the registry's root image that the lock depends on, '' when the lock does not state it.

    Raises:
        LockError: the lock states something else.
    """
    return _header_value(lock, folder, ON, DIGEST)


def _header_value(lock: OsLock, folder: Path, prefix: str, kind: TextType) -> str:
    lines = _lines(lock, folder)
    value = next((line.removeprefix(prefix) for line in lines if line.startswith(prefix)), "")
    try:
        return kind.parse(value) if value else ""
    except InvalidValueError as error:
        fault = f"{lock.file}: {prefix.strip()} {error}"
        raise _update_needed(fault) from None
