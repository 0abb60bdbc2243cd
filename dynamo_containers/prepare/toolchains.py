"""Archives of the compilers that are installed on sets of OS packages, by sha256.

Only source builds need a compiler, so a missing pin stops no other build.
"""

from __future__ import annotations

from shutil import copyfile
from typing import TYPE_CHECKING

from dynamo_containers import integrity, state
from dynamo_containers.errors import LockError
from dynamo_containers.facts.pins import PINS_FILE, ArchivePin
from dynamo_containers.prepare import binaries

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

ARCHIVE = "archive.tar.gz"


def pin_for(pins: Pins, bases: Bases, name: str, platform: Platform) -> ArchivePin:
    """Return the pin of a toolchain on a platform.

    Raises:
        LockError: it has no pin, or a pin of another address than in images.toml.
    """
    pin = pins.programs.get((bases.name, name, platform))
    reason = binaries.stale_reason(pins, bases, name, platform)
    if reason or not isinstance(pin, ArchivePin):
        message = (
            f"{PINS_FILE} {reason}.\n"
            f"The compiler of the set {name} is {bases.toolchains[name].address(platform)}. Where that or a mirror of "
            f"it (docs/how-to/mirrors.md) can be reached, pin it with: invoke lock --only archives --bases {bases.name}"
        )
        raise LockError(message)
    return pin


def folder_of(folder: Path, bases: Bases, pins: Pins, name: str) -> Path:
    """Return the folder of a toolchain, with a folder per architecture; its name has digests of the pins."""
    own = (pin for key, pin in pins.programs.items() if key[:2] == (bases.name, name))
    key = "-".join(sorted(pin.sha256[:8] for pin in own)) or "unpinned"
    return folder / state.TOOLCHAINS / f"{bases.name}-{name}-{key}"


def ensure(folder: Path, bases: Bases, pins: Pins, name: str, platform: Platform) -> None:
    """Provide the archive of a toolchain for a platform.

    Raises:
        LockError: it is not pinned, or its server no longer has it.
        DownloadError: the server is unreachable, or has another file than the pinned one.
    """
    target = folder_of(folder, bases, pins, name) / platform.arch
    pin = pin_for(pins, bases, name, platform)
    if integrity.is_sealed(target):
        return
    from dynamo_containers.upstream import release_archive  # only a download needs it; a no-op starts faster without it

    archive = release_archive.fetch(folder, pin)
    integrity.provide(target, lambda partial: copyfile(archive, partial / ARCHIVE))
