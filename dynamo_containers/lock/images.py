"""Digests of root images in registries; a pin whose reference did not change stays.

A row is pinned as a whole: its index and every platform, or nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import PinnedRoot
from dynamo_containers.upstream import registry
from dynamo_containers.upstream.unreachable import NOT_LOCKED, Outcome, Unreached, old_pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.bases import RegistryRoot
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.registry import Client, Found

    Roots = Mapping[tuple[str, str], PinnedRoot]

UPGRADE = "invoke lock --only images --upgrade-all"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One root image that a registry has."""

    bases: str
    role: str
    root: RegistryRoot
    platforms: tuple[Platform, ...]

    def __str__(self) -> str:
        """Return the row's name in pins.toml."""
        return f"roots.{self.bases}.{self.role}"


def refresh(
    client: Client, rows: Iterable[Row], old: Roots, *, upgrade_all: bool
) -> Outcome[tuple[str, str], PinnedRoot]:
    """Ask for every row at the same time; return their pins.

    Raises:
        LockError: a registry says that it has no such tag, digest or platform.
    """
    rows = tuple(rows)
    one = partial(_refresh, client, old, upgrade_all=upgrade_all)
    with ThreadPoolExecutor(max(1, len(rows))) as pool:
        made = tuple(pool.map(one, rows))
    return Outcome(
        pins={key: pin for each in made for key, pin in each.pins.items()},
        said=tuple(line for each in made for line in each.said),
        unreachable=tuple(line for each in made for line in each.unreachable),
    )


def _refresh(client: Client, old: Roots, row: Row, *, upgrade_all: bool) -> Outcome[tuple[str, str], PinnedRoot]:
    before = old.get((row.bases, row.role))
    known = before if before and before.image == row.root.image else None
    try:
        pin, said = (_split if row.root.split else _whole)(client, row, known, upgrade_all=upgrade_all)
    except UnreachableError as error:
        stays = old_pin(digests(before), before.image or "a bootstrapped image") if before else NOT_LOCKED
        missing = Unreached(what=str(row), asked=row.root.image, why=str(error), kept=stays)
        return Outcome(pins={(row.bases, row.role): before} if before else {}, unreachable=(missing,))
    if not before or digests(before) != digests(pin):
        said = (f"{row}: {row.root.image} is pinned to {', '.join(digests(pin))}", *said)
    return Outcome(pins={(row.bases, row.role): pin}, said=said)


def digests(pin: PinnedRoot) -> tuple[str, ...]:
    """Return what a pin is by content: one index, or an image for each platform."""
    return (pin.index,) if pin.index else tuple(dict.fromkeys(pin.platforms.values()))


def _whole(
    client: Client, row: Row, known: PinnedRoot | None, *, upgrade_all: bool
) -> tuple[PinnedRoot, tuple[str, ...]]:
    """Pin one index over all platforms."""
    found, said = _settled(client, row, row.root.image, known.index if known else "", upgrade_all=upgrade_all)
    for platform in row.platforms:
        if platform not in found.platforms:
            has = ", ".join(each.value for each in found.platforms) or "one platform, and is no index"
            message = (
                f"{row}: {row.root.image} is not for {platform.value}: it has {has}.\nName another in {IMAGES_FILE}."
            )
            raise LockError(message)
    manifests = {platform: found.platforms[platform] for platform in row.platforms}
    return PinnedRoot(image=row.root.image, index=found.digest, platforms=manifests), said


def _split(
    client: Client, row: Row, known: PinnedRoot | None, *, upgrade_all: bool
) -> tuple[PinnedRoot, tuple[str, ...]]:
    """Pin an image of its own for each platform."""
    pinned = known.platforms if known else {}
    one = partial(_settled, client, row, upgrade_all=upgrade_all)
    with ThreadPoolExecutor(len(row.platforms)) as pool:
        references = [row.root.reference(platform) for platform in row.platforms]
        found = tuple(pool.map(one, references, [pinned.get(platform, "") for platform in row.platforms]))
    manifests = {platform: image.digest for platform, (image, _) in zip(row.platforms, found, strict=True)}
    said = tuple(line for _, lines in found for line in lines)
    return PinnedRoot(image=row.root.image, index="", platforms=manifests), said


def _settled(
    client: Client, row: Row, reference: str, pinned: str, *, upgrade_all: bool
) -> tuple[Found, tuple[str, ...]]:
    """Return what a reference is pinned to from now on, and what is to be said of it."""
    now = _required(client, row, reference)
    if not pinned or upgrade_all or now.digest == pinned:
        return now, ()
    still = _required(client, row, f"{image_reference.repository(reference)}@{pinned}")
    return still, (f"{reference}: the tag is now {now.digest}; take it with: {UPGRADE}",)


def _required(client: Client, row: Row, reference: str) -> Found:
    found = registry.look(client, reference)
    if found is None:
        message = (
            f"{row}: the registry says that there is no {reference}.\n"
            f"Name another tag in {IMAGES_FILE}, or if only the pinned digest is gone take the tag's: {UPGRADE}"
        )
        raise LockError(message)
    return found
