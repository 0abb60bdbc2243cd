"""Which bytes are the external inputs? The nouns of containers/pins.toml, which `invoke lock` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import Table, any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PINS_FILE = "containers/pins.toml"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A package file by content: its path below its archive's root, its version and its sha256."""

    version: str
    archive: str
    path: str
    size: int
    sha256: str
    locked: str = ""
    """When it was locked, as snapshot services write a time: 20261123T120000Z."""


@dataclass(frozen=True, kw_only=True)
class PinnedRoot:
    """A root image by content."""

    index: str
    """The digest of the OCI index over all platforms."""
    platforms: Mapping[Platform, str]
    """The digest of each platform's manifest."""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What `invoke lock` found: the external inputs by content."""

    epoch: int
    """Seconds since 1970 (SOURCE_DATE_EPOCH): when the locks last moved. The newest time in any image."""
    programs: Mapping[tuple[str, str, Platform], Pin]
    """(bases, program, platform) -> its package file."""
    roots: Mapping[tuple[str, str], PinnedRoot]
    """(bases, role) -> what bootstrapping its locks gives."""

    def root(self, bases: str, role: str, platform: Platform) -> str:
        """Return the digest that a root image must have.

        Raises:
            LockError: it is not pinned.
        """
        found = self.roots.get((bases, role))
        if found is None or platform not in found.platforms:
            message = f"{PINS_FILE} has no roots.{bases}.{role} for {platform.value}.\nPin it with: invoke lock"
            raise LockError(message)
        return found.platforms[platform]


def load_pins(folder: Path) -> Pins:
    """Read pins.toml below `folder`.

    Raises:
        LockError: there is no such file.
        UsageError: a key is unknown, missing or of the wrong type.
    """
    if not (folder / PINS_FILE).is_file():
        message = f"{PINS_FILE} is missing: nothing is pinned yet.\nMake it with: invoke lock"
        raise LockError(message)
    table = Table.read(folder, PINS_FILE)
    pins = Pins(
        epoch=table.integer("epoch"),
        programs={
            (bases, name, _platform_key(platform, row)): _pin(row)
            for bases, programs in table.tables("programs", optional=True).items()
            for name, platforms in programs.all_tables().items()
            for platform, row in platforms.all_tables().items()
        },
        roots={
            (bases, role): _pinned_root(row)
            for bases, roles in table.tables("roots", optional=True).items()
            for role, row in roles.all_tables().items()
        },
    )
    table.refuse_the_rest()
    return pins


def _pinned_root(row: Table) -> PinnedRoot:
    index = row.string("index")
    platforms = {_platform_key(key, row): row.string(key) for key in row.keys_left()}
    return PinnedRoot(index=index, platforms=platforms)


def _platform_key(name: str, row: Table) -> Platform:
    allowed = [platform.value for platform in Platform]
    if name not in allowed:
        raise wrong(row.file, row.path, f'"{name}"', any_of(allowed))
    return Platform(name)


def _pin(row: Table) -> Pin:
    pin = Pin(
        version=row.string("version"),
        archive=row.string("archive"),
        path=row.string("path"),
        size=row.integer("size"),
        sha256=row.string("sha256"),
        locked=row.string("locked", optional=True),
    )
    row.refuse_the_rest()
    return pin
