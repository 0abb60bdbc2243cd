"""Where do the programs that are no Python package come from (NATS, etcd)? Fetched by sha256, laid out by architecture.

The result is a folder with one tree of files per architecture, ready to be copied over a root image, so that the
Dockerfile is the same whether they came out of a .deb or a release archive.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from shutil import copy2, rmtree
from typing import TYPE_CHECKING

from dynamo_containers import apt, os_lock, run, sources
from dynamo_containers.errors import DownloadError, LockError, UsageError
from dynamo_containers.model import Sources
from dynamo_containers.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.model import Bases, Program
    from dynamo_containers.pins import Pins
    from dynamo_containers.platforms import Platform

MODE = 0o755


def pinned(pins: Pins, bases: Bases, platform: Platform) -> dict[str, Pin]:
    """Return the pin of every program of the bases on a platform.

    Raises:
        LockError: one has none.
    """
    for name in bases.programs:
        if (bases.name, name, platform) not in pins.programs:
            message = (
                f"containers/pins.toml has no programs.{bases.name}.{name} for {platform.value}.\n"
                "Pin it with: invoke lock --only archives"
            )
            raise LockError(message)
    return {name: pins.programs[bases.name, name, platform] for name in bases.programs}


def folder_of(folder: Path, bases: Bases, pins: Pins) -> Path:
    """Return where the trees of a set of pins stand, one folder per architecture."""
    rows = [f"{key} {program.files}" for key, program in bases.programs.items()]
    rows += [f"{key} {pin.sha256}" for key, pin in pins.programs.items() if key[0] == bases.name]
    key = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return folder / ".build" / "programs" / f"{bases.name}-{key[:16]}"


def ensure(folder: Path, bases: Bases, pins: Pins, platform: Platform) -> tuple[os_lock.Drift, ...]:
    """Make the tree of a platform, unless it is there; return what drifted.

    Raises:
        LockError: a pin is missing, or (strict bases) the mirror dropped a pinned version.
        DownloadError: a package could not be fetched or is not the pinned one.
    """
    tree = folder_of(folder, bases, pins) / platform.arch
    record = tree.with_name(f"{platform.arch}.drift")
    if tree.is_dir():
        return _read_drift(record)
    locked = pinned(pins, bases, platform)
    used = {name: _available(folder, bases, name, platform, pin) for name, pin in locked.items()}
    drifted = [
        os_lock.Drift(name=bases.programs[name].package, locked=locked[name].version, used=used[name].version)
        for name in locked
        if locked[name].sha256 != used[name].sha256
    ]
    from tempfile import TemporaryDirectory

    tree.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=tree.parent) as scratch:
        for name, pin in used.items():
            _lay_out(folder, pin, bases.programs[name], Path(scratch) / "package", Path(scratch) / "tree")
        # Before the tree appears: whoever finds it must learn of its drift.
        run.write(run.Document(path=record, text="".join(f"{row.name} {row.locked} {row.used}\n" for row in drifted)))
        (Path(scratch) / "tree").rename(tree)
    return tuple(drifted)


def _read_drift(record: Path) -> tuple[os_lock.Drift, ...]:
    rows = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    return tuple(os_lock.Drift(name=name, locked=locked, used=used) for name, locked, used in map(str.split, rows))


def _available(folder: Path, bases: Bases, name: str, platform: Platform, pin: Pin) -> Pin:
    """Fetch the pinned package, or the suite's current one where the mirror dropped it and the bases allow it."""
    if not sources.fetch_all(folder, bases, (pin,), pin.locked):
        return pin
    if bases.strict:
        message = (
            f"{sources.who_lacks(bases.sources)} {pin.path}.\n"
            f"The {bases.name} bases are strict. Pin the current version: invoke lock --only archives"
        )
        raise LockError(message)
    found = current(folder, bases.programs[name], platform)
    mirror = replace(bases, sources=Sources())  # what the suite has now is nowhere else yet
    if sources.fetch_all(folder, mirror, (found,), ""):
        message = f"The mirror lists but does not have: {found.path}.\nIt is probably being updated: try again."
        raise DownloadError(message)
    return found


def current(folder: Path, program: Program, platform: Platform) -> Pin:
    """Return the pin of the program's package as the suite has it now."""
    packages = apt.resolve(os_lock.suite_apt(folder, program.suite, platform), (program.package,))
    package = next(each for each in packages if each.name == program.package)
    return Pin(
        version=package.version,
        archive=package.archive,
        path=package.path,
        size=package.size,
        sha256=package.sha256,
    )


def _lay_out(folder: Path, pin: Pin, program: Program, package: Path, tree: Path) -> None:
    archive = sources.stored(folder, pin)
    run.call(run.Command(argv=("dpkg-deb", "--extract", str(archive), str(package)), quiet=True))
    for source, target in program.files.items():
        destination = tree / target.lstrip("/")
        if not (package / source).is_file():
            message = (
                f"The package {program.package} {pin.version} has no file {source}.\n"
                "Look with `dpkg-deb --contents` and edit the program's files in containers/images.toml."
            )
            raise UsageError(message)
        destination.parent.mkdir(parents=True, exist_ok=True)
        copy2(package / source, destination)
        destination.chmod(MODE)
    rmtree(package)


def render(rows: Mapping[tuple[str, str, Platform], Pin]) -> str:
    """Return the tables of pins.toml for the programs."""
    return "".join(
        f'[programs.{bases}.{name}."{platform.value}"]\n'
        f'version = "{pin.version}"\narchive = "{pin.archive}"\npath = "{pin.path}"\n'
        f'size = {pin.size}\nsha256 = "{pin.sha256}"\n' + (f'locked = "{pin.locked}"\n' if pin.locked else "") + "\n"
        for (bases, name, platform), pin in sorted(rows.items(), key=lambda item: (item[0][:2], item[0][2].value))
    )
