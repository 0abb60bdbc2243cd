"""Binaries that are not Python packages (NATS, etcd): fetched by sha256, one tree per architecture.

The result is a folder with one tree of files per architecture, which a Dockerfile copies over a root image. So the
Dockerfile is the same for binaries from .debs and from release archives.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from shutil import copy2, rmtree
from typing import TYPE_CHECKING

from dynamo_containers import integrity, process, state
from dynamo_containers.errors import DownloadError, LockError, UsageError
from dynamo_containers.facts.bases import DebSources, Program, Release
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import PINS_FILE, ArchivePin, PackagePin
from dynamo_containers.prepare import apt_resolve, drift, package_file
from dynamo_containers.upstream import apt, deb_origins

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

MODE = 0o755


def pins_for(pins: Pins, bases: Bases, platform: Platform) -> dict[str, PackagePin | ArchivePin]:
    """Return the pin of every binary of the bases on a platform.

    Raises:
        LockError: a binary has no pin, or a pin of another kind or version than in images.toml.
    """
    for name in bases.programs:
        if reason := stale_reason(pins, bases, name, platform):
            message = f"{PINS_FILE} {reason}.\nPin it with: invoke lock --only archives"
            raise LockError(message)
    return {name: pins.programs[bases.name, name, platform] for name in bases.programs}


def stale_reason(pins: Pins, bases: Bases, name: str, platform: Platform) -> str:
    """Return why the pin of a binary cannot be used, as a sentence about pins.toml; '' for a current pin."""
    row = f"programs.{bases.name}.{name} for {platform.value}"
    program = bases.toolchains.get(name) or bases.programs[name]
    pin = pins.programs.get((bases.name, name, platform))
    if pin is None or isinstance(pin, ArchivePin) is not isinstance(program, Release):
        return f"has no {row}"
    if isinstance(pin, ArchivePin) and isinstance(program, Release) and pin.url != program.address(platform):
        return f"is stale: {row} is for {pin.url}, but {IMAGES_FILE} has {program.address(platform)}"
    return ""


def folder_of(folder: Path, bases: Bases, pins: Pins) -> Path:
    """Return the folder of the trees, one per architecture; its name has a digest of the pins."""
    rows = [f"{key} {program.files}" for key, program in bases.programs.items()]
    own = ((key, pin) for key, pin in pins.programs.items() if key[0] == bases.name and key[1] in bases.programs)
    rows += [f"{key} {pin.sha256}" for key, pin in own]
    key = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return folder / state.BINARIES / f"{bases.name}-{key[:16]}"


def is_ready(folder: Path, bases: Bases, pins: Pins, platform: Platform) -> bool:
    """Return whether the tree of a platform exists, as it was made."""
    tree = folder_of(folder, bases, pins) / platform.arch
    return integrity.is_sealed(tree, _drift_record(tree))


def _drift_record(tree: Path) -> Path:
    """Return the record of the drift of a tree; it is beside the tree, which is copied into images as it is."""
    return tree.with_name(f"{tree.name}.drift")


def ensure(folder: Path, bases: Bases, pins: Pins, platform: Platform) -> tuple[os_lock.Drift, ...]:
    """Provide the tree of a platform, and return its drift.

    Raises:
        LockError: a pin is missing, or (strict bases) no origin has a pinned version.
        DownloadError: a package could not be fetched or is not the pinned one.
    """
    tree = folder_of(folder, bases, pins) / platform.arch
    record = _drift_record(tree)
    if is_ready(folder, bases, pins, platform):
        return drift.read(record)
    locked = pins_for(pins, bases, platform)
    used = {name: _available(folder, bases, name, platform, pin) for name, pin in locked.items()}
    drifted = [
        os_lock.Drift(name=program.package, locked=locked[name].version, used=used[name].version)
        for name, program in bases.packaged_programs.items()
        if locked[name].sha256 != used[name].sha256
    ]

    def fill(partial: Path) -> None:
        for name, pin in used.items():
            package = partial.with_name("package")
            _unpack(folder, pin, bases.programs[name], platform, package)
            _lay_out(bases.programs[name], pin, platform, package, partial)
        # Written before the tree appears: a reader of the tree must see its drift.
        process.write(drift.document(record, drifted))

    integrity.provide(tree, fill, record)
    return tuple(drifted)


def _available(
    folder: Path, bases: Bases, name: str, platform: Platform, pin: PackagePin | ArchivePin
) -> PackagePin | ArchivePin:
    """Fetch the pinned file. If no origin has it and the bases are not strict, fetch the suite's current package."""
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
    newer = current_pin(folder, bases.packaged_programs[name], platform)
    mirror = replace(bases, deb_sources=DebSources())  # only the mirror has the current version
    if deb_origins.fetch_all(folder, mirror, (newer,), ""):
        message = f"The mirror lists but does not have: {newer.path}.\nIt is probably being updated: try again."
        raise DownloadError(message)
    return newer


def current_pin(folder: Path, program: Program, platform: Platform) -> PackagePin:
    """Return a pin of the current version of a package in its suite."""
    packages = apt.resolve(apt_resolve.updated_apt(folder, program.suite, platform), (program.package,))
    package = next(package for package in packages if package.name == program.package)
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
        file = package_file.find(package, source)
        if file is None:
            origin = f"package {program.package}" if isinstance(program, Program) else "release archive"
            message = (
                f"The {origin} {pin.version} has no file {source}.\n"
                f"Look with `dpkg-deb --contents` or `tar --list` and edit the files of the binary in {IMAGES_FILE}."
            )
            raise UsageError(message)
        destination.parent.mkdir(parents=True, exist_ok=True)
        copy2(file, destination)
        destination.chmod(MODE)
    rmtree(package)
