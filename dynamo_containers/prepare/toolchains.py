"""Compilers that are installed on a set of OS packages: release archives by sha256.

Only what compiles sources asks for one, so a pin that is missing stops no other build.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.errors import LockError
from dynamo_containers.facts.pins import PINS_FILE, ArchivePin
from dynamo_containers.prepare import binaries

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

ARCHIVE = "archive.tar.gz"


def pinned(pins: Pins, bases: Bases, name: str, platform: Platform) -> ArchivePin:
    """Return the pin of a toolchain on a platform.

    Raises:
        LockError: it has none, or one of another address than images.toml names.
    """
    pin = pins.programs.get((bases.name, name, platform))
    why = binaries.stale_reason(pins, bases, name, platform)
    if why or not isinstance(pin, ArchivePin):
        message = (
            f"{PINS_FILE} {why}.\n"
            f"The compiler of the set {name} is {bases.toolchains[name].address(platform)}. Where that or a mirror of "
            f"it (docs/how-to/mirrors.md) can be reached, pin it with: invoke lock --only archives --bases {bases.name}"
        )
        raise LockError(message)
    return pin


def folder_of(folder: Path, bases: Bases, pins: Pins, name: str) -> Path:
    """Return where the archives of a toolchain stand, one folder per architecture; other pins are another folder."""
    found = (pin for key, pin in pins.programs.items() if key[:2] == (bases.name, name))
    key = "-".join(sorted(pin.sha256[:8] for pin in found)) or "unpinned"
    return folder / state.TOOLCHAINS / f"{bases.name}-{name}-{key}"


def ensure(folder: Path, bases: Bases, pins: Pins, name: str, platform: Platform) -> None:
    """Fetch the archive of a toolchain for a platform, unless it is there.

    Raises:
        LockError: it is not pinned, or its server no longer has it.
        DownloadError: it could not be fetched, or is not the pinned one.
    """
    target = folder_of(folder, bases, pins, name) / platform.arch
    pin = pinned(pins, bases, name, platform)
    if target.is_dir():
        return
    from dynamo_containers.upstream import (  # what only a download needs would slow every no-op
        host_tools,
        release_archive,
    )

    archive = release_archive.fetch(folder, pin)
    host_tools.provide(target, lambda partial: os.link(archive, partial / ARCHIVE))
