"""Pins: digests, URLs with sha256 and commits of containers/pins.toml, with its reader and writer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.file_reader import Author
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import Table, any_of
from dynamo_containers.value_types import (
    ARCHIVE_PATH,
    COMMIT,
    DIGEST,
    EPOCH,
    GIT_REF,
    HTTP_URL,
    IMAGE_REFERENCE,
    MOMENT,
    ROW_NAME,
    SHA256,
    SIZE,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PINS_FILE = "containers/pins.toml"
AUTHOR = Author(
    error=LockError,
    remedy=(
        "`invoke lock` writes this file. Restore it with: git checkout {file}\n"
        "Or delete it, and pin the current version of every input with: invoke lock"
    ),
)
"""`invoke lock` continues from the pins in the file, so it does not replace a file that it cannot read."""
ENGINE_IMAGES = "engine-image"
"""Takes the place of the bases in the pin of the published image of an engine; the role is the name of our image."""


@dataclass(frozen=True, kw_only=True)
class PackagePin:
    """A package file: its version, its path in its archive, and its sha256."""

    version: str
    archive: str
    path: str
    size: int
    sha256: str
    locked: str = ""
    """The time of the lock, in the format of snapshot services: 20261123T120000Z."""


@dataclass(frozen=True, kw_only=True)
class ArchivePin:
    """A release archive: its version, URL and sha256."""

    version: str
    url: str
    sha256: str
    size: int = 0
    """0: it has not been downloaded since it was pinned."""


@dataclass(frozen=True, kw_only=True)
class ImagePin:
    """An image by digest: a root image, or the published image of an engine."""

    index: str
    """The digest of the OCI index of all platforms; '' if each platform has its own repository."""
    platforms: Mapping[Platform, str]
    """Platform -> the digest of its manifest; empty if only the index of an image of a registry is known so far."""
    image: str = ""
    """The readable reference that had these digests; '' for a bootstrapped image."""


@dataclass(frozen=True, kw_only=True)
class CommitPin:
    """Source code: the tag or branch, and its commit."""

    ref: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Pins:
    """The external inputs by content, as `invoke lock` wrote them."""

    epoch: int
    """The time when a lock last changed, in seconds since 1970 (SOURCE_DATE_EPOCH); the newest time in any image."""
    programs: Mapping[tuple[str, str, Platform], PackagePin | ArchivePin]
    """(bases, program, platform) -> its package file or release archive."""
    roots: Mapping[tuple[str, str], ImagePin]
    """(bases, role) -> the bootstrapped root image, or the image of a registry; see also `ENGINE_IMAGES`."""
    sources: Mapping[str, CommitPin] = field(default_factory=dict)

    def root(self, bases: str, role: str, platform: Platform) -> str:
        """Return the digest of a root image.

        Raises:
            LockError: the image is not pinned.
        """
        pin = self.roots.get((bases, role), ImagePin(index="", platforms={}))
        # The digest of an index in a registry identifies the manifest of each platform, even if that is not known here.
        index = pin.index if pin.image and not pin.platforms else ""
        digest = pin.platforms.get(platform, index)
        if not digest:
            message = f"{PINS_FILE} has no roots.{bases}.{role} for {platform.value}.\nPin it with: invoke lock"
            raise LockError(message)
        return digest


def load_pins(folder: Path) -> Pins:
    """Read pins.toml below `folder`.

    Raises:
        LockError: the file does not exist; or a key is unknown or missing, or its value is not of its type.
    """
    if not os.path.lexists(folder / PINS_FILE):
        message = f"{PINS_FILE} does not exist: nothing is pinned yet.\nCreate it with: invoke lock"
        raise LockError(message)
    table = Table.read(folder, PINS_FILE, AUTHOR)
    pins = Pins(
        epoch=table.number("epoch", EPOCH),
        programs={
            (bases, name, _platform_key(platform, row)): _pin(row)
            for bases, programs in _rows(table, "programs").items()
            for name, platforms in programs.check_names(ROW_NAME).all_tables().items()
            for platform, row in platforms.all_tables().items()
        },
        roots={
            (bases, role): _pinned_root(row)
            for bases, roles in _rows(table, "roots").items()
            for role, row in roles.check_names(ROW_NAME).all_tables().items()
        },
        sources={name: _pinned_source(row) for name, row in _rows(table, "sources").items()},
    )
    table.refuse_the_rest()
    return pins


def _rows(table: Table, key: str) -> dict[str, Table]:
    return table.table(key, optional=True).check_names(ROW_NAME).all_tables()


def _pinned_root(row: Table) -> ImagePin:
    image = row.text("image", IMAGE_REFERENCE, optional=True)
    index = row.text("index", DIGEST, optional=bool(image))
    platforms = {_platform_key(key, row): row.text(key, DIGEST) for key in row.keys_left()}
    return ImagePin(image=image, index=index, platforms=platforms)


def _platform_key(name: str, row: Table) -> Platform:
    allowed = [platform.value for platform in Platform]
    if name not in allowed:
        shown_name = f'"{name}"'
        raise row.refused(shown_name, any_of(allowed))
    return Platform(name)


def _pin(row: Table) -> PackagePin | ArchivePin:
    row.refuse_both("url", ("archive", "path"))
    version, sha256 = row.text("version", VERSION), row.text("sha256", SHA256)
    pin: PackagePin | ArchivePin
    if "url" in row.keys_left():
        url = row.text("url", HTTP_URL)
        pin = ArchivePin(version=version, url=url, sha256=sha256, size=row.number("size", SIZE, optional=True))
    else:
        pin = PackagePin(
            version=version,
            archive=row.text("archive", ARCHIVE_PATH),
            path=row.text("path", ARCHIVE_PATH),
            size=row.number("size", SIZE),
            sha256=sha256,
            locked=row.text("locked", MOMENT, optional=True),
        )
    row.refuse_the_rest()
    return pin


def _pinned_source(row: Table) -> CommitPin:
    source = CommitPin(ref=row.text("ref", GIT_REF), commit=row.text("commit", COMMIT))
    row.refuse_the_rest()
    return source


def render(pins: Pins) -> str:
    """Return the text of pins.toml."""
    head = "# WRITTEN BY `invoke lock`: the external inputs by content. Do not edit.\n\n"
    epoch = "# SOURCE_DATE_EPOCH of every image: when its root images last moved.\n" + f"epoch = {pins.epoch}\n\n"
    roots = "".join(f"[roots.{'.'.join(key)}]\n{render_root(root)}\n" for key, root in sorted(pins.roots.items()))
    sources = "".join(
        f"[sources.{name}]\n{_lines(ref=source.ref, commit=source.commit)}\n"
        for name, source in sorted(pins.sources.items())
    )
    return (head + epoch + roots + render_programs(pins.programs) + sources).rstrip() + "\n"


def render_root(root: ImagePin) -> str:
    """Return the lines for a root image."""
    digests = sorted((platform.value, digest) for platform, digest in root.platforms.items())
    return _lines(image=root.image, index=root.index) + "".join(f'"{name}" = "{digest}"\n' for name, digest in digests)


def render_programs(rows: Mapping[tuple[str, str, Platform], PackagePin | ArchivePin]) -> str:
    """Return the tables for the programs."""
    return "".join(
        f'[programs.{bases}.{name}."{platform.value}"]\n{_program_lines(pin)}\n'
        for (bases, name, platform), pin in sorted(rows.items(), key=lambda item: (item[0][:2], item[0][2].value))
    )


def _program_lines(pin: PackagePin | ArchivePin) -> str:
    size = f"size = {pin.size}\n" if pin.size else ""
    if isinstance(pin, ArchivePin):
        return _lines(version=pin.version, url=pin.url) + size + _lines(sha256=pin.sha256)
    origin = _lines(version=pin.version, archive=pin.archive, path=pin.path)
    return origin + f"size = {pin.size}\n" + _lines(sha256=pin.sha256, locked=pin.locked)


def _lines(**values: str) -> str:
    return "".join(f'{key} = "{value}"\n' for key, value in values.items() if value)
