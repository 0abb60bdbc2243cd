"""Digests of root images in registries; a pin does not change while its reference is the same.

An image is pinned completely (its index and every platform) or not at all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import ImagePin
from dynamo_containers.upstream import registry
from dynamo_containers.upstream.unreachable import NOT_LOCKED, RefreshResult, UnreachableInput, old_pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.bases import RegistryRoot
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.registry import RegistryClient, RemoteImage

    Roots = Mapping[tuple[str, str], ImagePin]

UPGRADE = "invoke lock --only images --upgrade-all"


@dataclass(frozen=True, kw_only=True)
class RegistryImage:
    """A root image in a registry."""

    bases: str
    role: str
    root: RegistryRoot
    platforms: tuple[Platform, ...]

    def __str__(self) -> str:
        """Return its name in pins.toml."""
        return f"roots.{self.bases}.{self.role}"


def pin_images(
    client: RegistryClient, images: Iterable[RegistryImage], old: Roots, *, upgrade_all: bool
) -> RefreshResult[tuple[str, str], ImagePin]:
    """Query the registries for all images in parallel and return their pins.

    Raises:
        LockError: a registry does not have a tag, digest or platform.
    """
    images = tuple(images)
    pin_image = partial(_pin_image, client, old, upgrade_all=upgrade_all)
    with ThreadPoolExecutor(max(1, len(images))) as pool:
        outcomes = tuple(pool.map(pin_image, images))
    return RefreshResult(
        pins={key: pin for outcome in outcomes for key, pin in outcome.pins.items()},
        messages=tuple(line for outcome in outcomes for line in outcome.messages),
        unreachable=tuple(line for outcome in outcomes for line in outcome.unreachable),
    )


def _pin_image(
    client: RegistryClient, old: Roots, image: RegistryImage, *, upgrade_all: bool
) -> RefreshResult[tuple[str, str], ImagePin]:
    before = old.get((image.bases, image.role))
    current = before if before and before.image == image.root.image else None
    pin_root = _pin_per_platform if image.root.split else _pin_index
    try:
        pin, notes = pin_root(client, image, current, upgrade_all=upgrade_all)
    except UnreachableError as error:
        old_text = old_pin(digests(before), before.image or "a bootstrapped image") if before else NOT_LOCKED
        row = UnreachableInput(name=str(image), address=image.root.image, reason=str(error), pinned=old_text)
        return RefreshResult(pins={(image.bases, image.role): before} if before else {}, unreachable=(row,))
    if not before or digests(before) != digests(pin):
        notes = (f"{image}: {image.root.image} is pinned to {', '.join(digests(pin))}", *notes)
    return RefreshResult(pins={(image.bases, image.role): pin}, messages=notes)


def digests(pin: ImagePin) -> tuple[str, ...]:
    """Return the digests of a pin: of one index, or of an image per platform."""
    return (pin.index,) if pin.index else tuple(dict.fromkeys(pin.platforms.values()))


def _pin_index(
    client: RegistryClient, image: RegistryImage, current: ImagePin | None, *, upgrade_all: bool
) -> tuple[ImagePin, tuple[str, ...]]:
    """Pin one index over all platforms."""
    index, notes = _resolve(client, image, image.root.image, current.index if current else "", upgrade_all=upgrade_all)
    for platform in image.platforms:
        if platform not in index.platforms:
            available = ", ".join(other.value for other in index.platforms) or "one platform and is not an index"
            message = (
                f"{image}: {image.root.image} is not available for {platform.value}: it has {available}.\n"
                f"Choose another image in {IMAGES_FILE}."
            )
            raise LockError(message)
    manifests = {platform: index.platforms[platform] for platform in image.platforms}
    return ImagePin(image=image.root.image, index=index.digest, platforms=manifests), notes


def _pin_per_platform(
    client: RegistryClient, image: RegistryImage, current: ImagePin | None, *, upgrade_all: bool
) -> tuple[ImagePin, tuple[str, ...]]:
    """Pin a separate image for each platform."""
    pinned = current.platforms if current else {}
    resolve = partial(_resolve, client, image, upgrade_all=upgrade_all)
    with ThreadPoolExecutor(len(image.platforms)) as pool:
        references = [image.root.reference(platform) for platform in image.platforms]
        old_digests = [pinned.get(platform, "") for platform in image.platforms]
        resolved = tuple(pool.map(resolve, references, old_digests))
    manifests = {platform: manifest.digest for platform, (manifest, _) in zip(image.platforms, resolved, strict=True)}
    notes = tuple(note for _, platform_notes in resolved for note in platform_notes)
    return ImagePin(image=image.root.image, index="", platforms=manifests), notes


def _resolve(
    client: RegistryClient, image: RegistryImage, reference: str, pinned: str, *, upgrade_all: bool
) -> tuple[RemoteImage, tuple[str, ...]]:
    """Return the manifest to pin a reference to, and notes about it."""
    tagged = _require(client, image, reference)
    if not pinned or upgrade_all or tagged.digest == pinned:
        return tagged, ()
    old = _require(client, image, f"{image_reference.repository(reference)}@{pinned}")
    return old, (f"{reference}: the tag is now {tagged.digest}; upgrade with: {UPGRADE}",)


def _require(client: RegistryClient, image: RegistryImage, reference: str) -> RemoteImage:
    manifest = registry.inspect(client, reference)
    if manifest is None:
        message = (
            f"{image}: the registry does not have {reference}.\n"
            f"Choose another tag in {IMAGES_FILE}, or if only the pinned digest is gone, pin the tag again: {UPGRADE}"
        )
        raise LockError(message)
    return manifest
