"""Binaries that are not Python packages (NATS, etcd): fetched by sha256, one tree per architecture.

The result is a folder with one tree of files per architecture, ready to be copied over a root image, so that the
Dockerfile is the same whether they came out of a .deb or a release archive.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from shutil import copy2, rmtree
from typing import TYPE_CHECKING

from dynamo_containers import process, state
from dynamo_containers.errors import DownloadError, LockError, UsageError
from dynamo_containers.facts.bases import DebSources, Program, Release
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import PINS_FILE, ArchivePin, PackagePin
from dynamo_containers.prepare import apt_resolve, drift
from dynamo_containers.upstream import apt, deb_origins

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

MODE = 0o755


def pinned(pins: Pins, bases: Bases, platform: Platform) -> dict[str, PackagePin | ArchivePin]:
    """Return the pin of every program of the bases on a platform.

    Raises:
        LockError: one has none, or is of another kind or version than images.toml names.
    """
    for name in bases.programs:
        if why := stale_reason(pins, bases, name, platform):
            message = f"{PINS_FILE} {why}.\nPin it with: invoke lock --only archives"
            raise LockError(message)
    return {name: pins.programs[bases.name, name, platform] for name in bases.programs}


def stale_reason(pins: Pins, bases: Bases, name: str, platform: Platform) -> str:
    """Say why the pin of a program cannot be used, as what pins.toml does; '' when it fits."""
    where = f"programs.{bases.name}.{name} for {platform.value}"
    program = bases.toolchains.get(name) or bases.programs[name]
    pin = pins.programs.get((bases.name, name, platform))
    if pin is None or isinstance(pin, ArchivePin) is not isinstance(program, Release):
        return f"has no {where}"
    if isinstance(pin, ArchivePin) and isinstance(program, Release) and pin.url != program.address(platform):
        return f"is stale: {where} is for {pin.url}, but {IMAGES_FILE} has {program.address(platform)}"
    return ""


def folder_of(folder: Path, bases: Bases, pins: Pins) -> Path:
    """Return where the trees of a set of pins stand, one folder per architecture."""
    rows = [f"{key} {program.files}" for key, program in bases.programs.items()]
    own = ((key, pin) for key, pin in pins.programs.items() if key[0] == bases.name and key[1] in bases.programs)
    rows += [f"{key} {pin.sha256}" for key, pin in own]
    key = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return folder / state.BINARIES / f"{bases.name}-{key[:16]}"


def ensure(folder: Path, bases: Bases, pins: Pins, platform: Platform) -> tuple[os_lock.Drift, ...]:
    """Make the tree of a platform, unless it is there; return what drifted.

    Raises:
        LockError: a pin is missing, or (strict bases) the mirror dropped a pinned version.
        DownloadError: a package could not be fetched or is not the pinned one.
    """
    tree = folder_of(folder, bases, pins) / platform.arch
    record = tree.with_name(f"{platform.arch}.drift")
    if tree.is_dir():
        return drift.read(record)
    locked = pinned(pins, bases, platform)
    used = {name: _available(folder, bases, name, platform, pin) for name, pin in locked.items()}
    drifted = [
        os_lock.Drift(name=program.package, locked=locked[name].version, used=used[name].version)
        for name, program in bases.packaged_programs.items()
        if locked[name].sha256 != used[name].sha256
    ]
    from tempfile import TemporaryDirectory

    tree.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=tree.parent) as scratch:
        for name, pin in used.items():
            _unpack(folder, pin, bases.programs[name], platform, Path(scratch) / "package")
            _lay_out(bases.programs[name], pin, platform, Path(scratch) / "package", Path(scratch) / "tree")
        # Before the tree appears: whoever finds it must learn of its drift.
        process.write(drift.document(record, drifted))
        (Path(scratch) / "tree").rename(tree)
    return tuple(drifted)


def _available(
    folder: Path, bases: Bases, name: str, platform: Platform, pin: PackagePin | ArchivePin
) -> PackagePin | ArchivePin:
    """Fetch what is pinned, or the suite's current package where the mirror dropped it and the bases allow it."""
    if isinstance(pin, ArchivePin):
        from dynamo_containers.upstream import release_archive

        release_archive.fetch(folder, pin)
        return pin
    if not deb_origins.fetch_all(folder, bases, (pin,), pin.locked):
        return pin
    if bases.strict:
        message = (
            f"{deb_origins.describe_missing(bases.deb_sources)} {pin.path}.\n"
            f"The {bases.name} bases are strict. Pin the current version: invoke lock --only archives"
        )
        raise LockError(message)
    found = current(folder, bases.packaged_programs[name], platform)
    mirror = replace(bases, deb_sources=DebSources())  # what the suite has now is nowhere else yet
    if deb_origins.fetch_all(folder, mirror, (found,), ""):
        message = f"The mirror lists but does not have: {found.path}.\nIt is probably being updated: try again."
        raise DownloadError(message)
    return found


def current(folder: Path, program: Program, platform: Platform) -> PackagePin:
    """Return the pin of the program's package as the suite has it now."""
    packages = apt.resolve(apt_resolve.updated(folder, program.suite, platform), (program.package,))
    package = next(each for each in packages if each.name == program.package)
    return PackagePin(
        version=package.version,
        archive=package.archive,
        path=package.path,
        size=package.size,
        sha256=package.sha256,
    )


def _unpack(
    folder: Path, pin: PackagePin | ArchivePin, program: Program | Release, platform: Platform, package: Path
) -> None:
    if isinstance(program, Release) and isinstance(pin, ArchivePin):
        from dynamo_containers.upstream import release_archive

        release_archive.unpack(release_archive.store_path(folder, pin), pin.url, program.members(platform), package)
    elif isinstance(pin, PackagePin):
        archive = deb_origins.store_path(folder, pin)
        process.run(process.Command(argv=("dpkg-deb", "--extract", str(archive), str(package)), quiet=True))


def _lay_out(
    program: Program | Release, pin: PackagePin | ArchivePin, platform: Platform, package: Path, tree: Path
) -> None:
    for source, target in program.members(platform).items():
        destination = tree / target.lstrip("/")
        if not (package / source).is_file():
            what = f"package {program.package}" if isinstance(program, Program) else "release archive"
            message = (
                f"The {what} {pin.version} has no file {source}.\n"
                f"Look with `dpkg-deb --contents` or `tar --list` and edit the program's files in {IMAGES_FILE}."
            )
            raise UsageError(message)
        destination.parent.mkdir(parents=True, exist_ok=True)
        copy2(package / source, destination)
        destination.chmod(MODE)
    rmtree(package)
