"""Pins of release archives; only an address that is not pinned yet is fetched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamo_containers.errors import DownloadError, LockError, UnreachableError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import ReleasePin
from dynamo_containers.prepare import programs
from dynamo_containers.upstream import deb_origins, release_archive
from dynamo_containers.upstream import download as upstream_download
from dynamo_containers.upstream.unreachable import NOT_LOCKED, Outcome, Unreached, old_pin, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pin, Pins
    from dynamo_containers.platforms import Platform

    Key = tuple[str, str, Platform]

SECONDS = 8
"""How long a server may say nothing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A program for a platform that comes out of a release archive."""

    bases: Bases
    name: str
    platform: Platform

    def __str__(self) -> str:
        """Return the row's name in pins.toml."""
        return f"programs.{self.bases.name}.{self.name} for {self.platform.value}"

    @property
    def key(self) -> Key:
        """Return the row's key among the pins."""
        return (self.bases.name, self.name, self.platform)

    @property
    def address(self) -> str:
        """Return where the archive is."""
        return self.bases.released[self.name].address(self.platform)


def refresh(
    folder: Path, targets: Iterable[tuple[Bases, Platform]], old: Pins, *, seconds: float = SECONDS
) -> Outcome[Key, Pin | ReleasePin]:
    """Return the pins of the programs out of release archives for these bases and platforms.

    Raises:
        LockError: a server says that it has no such archive.
        UsageError: an archive lacks a file that images.toml takes from it.
    """
    rows = [Row(bases=bases, name=name, platform=platform) for bases, platform in targets for name in bases.released]
    pins = {row.key: old.programs[row.key] for row in rows if row.key in old.programs}
    missing = [row for row in rows if programs.stale(old, row.bases, row.name, row.platform)]
    learnt = _learn_all(folder, missing, old, seconds)
    said, unreachable = [], []
    for row in missing:
        found = learnt[row.address]
        if isinstance(found, UnreachableError):
            unreachable.append(_unreached(row, str(found), pins.get(row.key)))
            continue
        pins[row.key] = found
        said.append(f"{row}: {found.url} is pinned to sha256:{found.sha256}")
    return Outcome(pins=pins, said=tuple(said), unreachable=tuple(unreachable))


def _unreached(row: Row, why: str, before: Pin | ReleasePin | None) -> Unreached:
    stays = old_pin((f"sha256:{before.sha256}",), before.version) if before else NOT_LOCKED
    return Unreached(what=str(row), asked=row.address, why=why, kept=stays)


def _learn_all(
    folder: Path, rows: Iterable[Row], old: Pins, seconds: float
) -> Mapping[str, ReleasePin | UnreachableError]:
    """Return the pin of each address, or why its server could not be asked; each is fetched once."""
    # An address that one program is pinned by gives another program the same bytes.
    known = {pin.url: pin for pin in old.programs.values() if isinstance(pin, ReleasePin)}
    by_address: dict[str, list[Row]] = {}
    for row in rows:
        by_address.setdefault(row.address, []).append(row)
    unknown = [rows for address, rows in by_address.items() if address not in known]
    with ThreadPoolExecutor(max(1, len(unknown))) as pool:
        learnt = tuple(pool.map(partial(_learn, folder, seconds), unknown))
    return {**known, **{rows[0].address: found for rows, found in zip(unknown, learnt, strict=True)}}


def _taken(row: Row) -> tuple[str, ...]:
    """Return the files that an archive must have."""
    release = row.bases.released[row.name]
    return (*release.members(row.platform), *((release.installer_of(row.platform),) if release.installer else ()))


def _learn(folder: Path, seconds: float, rows: list[Row]) -> ReleasePin | UnreachableError:
    """Fetch one archive and see that it has what these rows take from it."""
    address, version = rows[0].address, rows[0].bases.released[rows[0].name].version
    try:
        download = upstream_download.learn(deb_origins.downloads(folder), address, seconds=seconds)
    except upstream_download.GoneError as error:
        message = f"{rows[0]}: {error}\nName another version or address in {IMAGES_FILE}."
        raise LockError(message) from None
    except DownloadError as error:
        return UnreachableError(one_line(str(error)))
    pin = ReleasePin(version=version, url=address, sha256=download.sha256, size=download.size)
    names = [name for row in rows for name in _taken(row)]
    with TemporaryDirectory() as scratch:
        release_archive.unpack(release_archive.stored(folder, pin), address, names, Path(scratch))
    return pin
