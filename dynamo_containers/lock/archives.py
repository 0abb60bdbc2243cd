"""Pins of release archives; only an address that is not pinned yet is downloaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamo_containers.errors import DownloadError, LockError, UnreachableError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import ArchivePin
from dynamo_containers.prepare.binaries import stale_reason
from dynamo_containers.upstream import deb_origins, release_archive
from dynamo_containers.upstream import download as upstream_download
from dynamo_containers.upstream.unreachable import NOT_LOCKED, RefreshResult, UnreachableInput, old_pin, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import PackagePin, Pins
    from dynamo_containers.platforms import Platform

    Key = tuple[str, str, Platform]

SECONDS = 8
"""Timeout of a server that does not answer."""


@dataclass(frozen=True, kw_only=True)
class ReleaseBinary:
    """A binary out of a release archive, for one platform."""

    bases: Bases
    name: str
    platform: Platform

    def __str__(self) -> str:
        """Return its name in pins.toml."""
        return f"programs.{self.bases.name}.{self.name} for {self.platform.value}"

    @property
    def key(self) -> Key:
        """Return its key among the pins."""
        return (self.bases.name, self.name, self.platform)

    @property
    def address(self) -> str:
        """Return the address of the archive."""
        return self.bases.archive_programs[self.name].address(self.platform)


def pin_archives(
    folder: Path, targets: Iterable[tuple[Bases, Platform]], old: Pins, *, seconds: float = SECONDS
) -> RefreshResult[Key, PackagePin | ArchivePin]:
    """Return the pins of the binaries out of release archives for these bases and platforms.

    Raises:
        LockError: a server does not have an archive.
        UsageError: an archive does not have a file that images.toml names.
    """
    binaries = [
        ReleaseBinary(bases=bases, name=name, platform=platform)
        for bases, platform in targets
        for name in bases.archive_programs
    ]
    pins = {binary.key: old.programs[binary.key] for binary in binaries if binary.key in old.programs}
    outdated = [binary for binary in binaries if stale_reason(old, binary.bases, binary.name, binary.platform)]
    new_pins = _pin_addresses(folder, outdated, old, seconds)
    notes, unreachable = [], []
    for binary in outdated:
        pin = new_pins[binary.address]
        if isinstance(pin, UnreachableError):
            unreachable.append(_unreachable(binary, str(pin), pins.get(binary.key)))
            continue
        pins[binary.key] = pin
        notes.append(f"{binary}: {pin.url} is pinned to sha256:{pin.sha256}")
    return RefreshResult(pins=pins, messages=tuple(notes), unreachable=tuple(unreachable))


def _unreachable(binary: ReleaseBinary, reason: str, before: PackagePin | ArchivePin | None) -> UnreachableInput:
    old_text = old_pin((f"sha256:{before.sha256}",), before.version) if before else NOT_LOCKED
    return UnreachableInput(name=str(binary), address=binary.address, reason=reason, pinned=old_text)


def _pin_addresses(
    folder: Path, binaries: Iterable[ReleaseBinary], old: Pins, seconds: float
) -> Mapping[str, ArchivePin | UnreachableError]:
    """Return the pin of each address, or why it is unreachable; each is downloaded once."""
    # Another binary may be pinned by the same address, which has the same bytes.
    pinned = {pin.url: pin for pin in old.programs.values() if isinstance(pin, ArchivePin)}
    by_address: dict[str, list[ReleaseBinary]] = {}
    for binary in binaries:
        by_address.setdefault(binary.address, []).append(binary)
    groups = [group for address, group in by_address.items() if address not in pinned]
    with ThreadPoolExecutor(max(1, len(groups))) as pool:
        results = tuple(pool.map(partial(_download, folder, seconds), groups))
    return {**pinned, **{group[0].address: result for group, result in zip(groups, results, strict=True)}}


def _required_members(binary: ReleaseBinary) -> tuple[str, ...]:
    """Return the files that an archive must have."""
    release = binary.bases.archive_programs[binary.name]
    installer = (release.installer_of(binary.platform),) if release.installer else ()
    return (*release.members(binary.platform), *installer)


def _download(folder: Path, seconds: float, binaries: list[ReleaseBinary]) -> ArchivePin | UnreachableError:
    """Download the archive of these binaries and check that it has their files."""
    address, version = binaries[0].address, binaries[0].bases.archive_programs[binaries[0].name].version
    try:
        download = upstream_download.fetch_unpinned(deb_origins.downloads(folder), address, seconds=seconds)
    except upstream_download.GoneError as error:
        message = f"{binaries[0]}: {error}\nChoose another version or address in {IMAGES_FILE}."
        raise LockError(message) from None
    except DownloadError as error:
        return UnreachableError(one_line(str(error)))
    pin = ArchivePin(version=version, url=address, sha256=download.sha256, size=download.size)
    members = [member for binary in binaries for member in _required_members(binary)]
    with TemporaryDirectory() as scratch:
        release_archive.unpack(release_archive.store_path(folder, pin), address, members, Path(scratch))
    return pin
