"""Which bytes of which registry is a root image? By digest, as `invoke lock` found them; what is stale is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.model import IMAGES_FILE
from dynamo_containers.pins import PINS_FILE

if TYPE_CHECKING:
    from dynamo_containers.bases import Bases
    from dynamo_containers.pins import PinnedRoot, Pins
    from dynamo_containers.platforms import Platform


def repository(reference: str) -> str:
    """Return a readable reference without its tag; the colon of a port stays."""
    return reference[: reference.rindex(":")]


def pinned(pins: Pins, bases: Bases, role: str) -> PinnedRoot:
    """Return the pin of a root image.

    Raises:
        LockError: it has none, or one of another reference than images.toml names.
    """
    row, image = f"roots.{bases.name}.{role}", bases.pulled[role].image
    pin = pins.roots.get((bases.name, role))
    remedy = f"Pin it with: invoke lock --only images --bases {bases.name}"
    if pin is None:
        message = f"{PINS_FILE} has no {row}.\n{remedy}"
        raise LockError(message)
    if pin.image != image:
        has = pin.image or "a bootstrapped image"
        message = f"{PINS_FILE} is stale: it has {row} of {has}, and {IMAGES_FILE} names {image}.\n{remedy}"
        raise LockError(message)
    return pin


def source(pins: Pins, bases: Bases, role: str, platform: Platform) -> str:
    """Return the root image for a platform as a context of bake.

    Raises:
        LockError: it is not pinned, or its pin is stale.
    """
    pinned(pins, bases, role)
    name = repository(bases.pulled[role].reference(platform))
    return f"docker-image://{name}@{pins.root(bases.name, role, platform)}"
