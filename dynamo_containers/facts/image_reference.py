"""References of images in registries, by pinned digest; a stale pin is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases, RegistryRoot
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.facts.pins import ImagePin, Pins
    from dynamo_containers.platforms import Platform


def repository(reference: str) -> str:
    """Return a reference without its tag; the colon of a port is kept."""
    return reference[: reference.rindex(":")]


def root_pin(pins: Pins, bases: Bases, role: str) -> ImagePin:
    """Return the pin of a root image.

    Raises:
        LockError: it is not pinned, or the pin is for another reference than that in images.toml.
    """
    return _current(pins, (bases.name, role), bases.registry_roots[role].image, f"--bases {bases.name}")


def engine_pin(pins: Pins, image: Image) -> ImagePin:
    """Return the pin of the published image of an engine; the same errors."""
    return _current(pins, (ENGINE_IMAGES, image.name), engine_root(image).image, f"--image {image.name}")


def engine_root(image: Image) -> RegistryRoot:
    """Return the published image that an image is based on."""
    assert image.engine_image is not None, "the reader of images.toml refuses such a row"  # noqa: S101 - for mypy
    return image.engine_image


def _current(pins: Pins, key: tuple[str, str], image: str, part: str) -> ImagePin:
    row, pin = f"roots.{'.'.join(key)}", pins.roots.get(key)
    remedy = f"Pin it with: invoke lock --only images {part}"
    if pin is None:
        message = f"{PINS_FILE} has no {row}.\n{remedy}"
        raise LockError(message)
    if pin.image != image:
        previous = pin.image or "a bootstrapped image"
        message = f"{PINS_FILE} is stale: {row} is for {previous}, but {IMAGES_FILE} has {image}.\n{remedy}"
        raise LockError(message)
    return pin


def root_context(pins: Pins, bases: Bases, role: str, platform: Platform) -> str:
    """Return the root image for a platform as a named context of bake.

    Raises:
        LockError: it is not pinned, or its pin is stale.
    """
    root_pin(pins, bases, role)
    return _context(bases.registry_roots[role], platform, pins.root(bases.name, role, platform))


def digest(pins: Pins, bases: Bases, role: str, platform: Platform) -> str:
    """Return the digest that a root image is pulled by: that of its manifest, or of its index if only that is known."""
    return root_context(pins, bases, role, platform).rpartition("@")[2]


def engine_context(pins: Pins, image: Image, platform: Platform) -> str:
    """Return the published image of an engine for a platform as a named context of bake; the same errors."""
    engine_pin(pins, image)
    return _context(engine_root(image), platform, pins.root(ENGINE_IMAGES, image.name, platform))


def _context(root: RegistryRoot, platform: Platform, digest: str) -> str:
    return f"docker-image://{repository(root.reference(platform))}@{digest}"
