"""Cost of a second backend: bytes to pull where another image is already there.

The other image must be the one that this checkout would build. Its label `ai.dynamo.lock`, the digest of its locks, and
its drift are compared with those of the checkout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.inspect.sizes import manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.inspect.sizes.accepted import Accepted
    from dynamo_containers.inspect.sizes.manifest import ImageSize
    from dynamo_containers.plan.request import Request

NOWHERE = "neither the engine nor the accepted sizes have it with the same locks"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Inputs of an image, as its labels tell."""

    lock: str
    """`ai.dynamo.lock`."""
    drift: str = ""
    """`ai.dynamo.drift`, '' for none."""

    def __str__(self) -> str:
        """Return both in one line, in the form of containers/accepted-sizes.toml."""
        return f"{self.lock} {self.drift}".rstrip()


@dataclass(frozen=True, kw_only=True)
class OtherBackend:
    """Another image that may exist where an image is pulled."""

    name: str
    layers: frozenset[str] = frozenset()
    """The digests of its layers, of either kind (`manifest.to_pull`); empty where they are unknown."""
    source: str
    """Where its layers are known from, or why they are unknown."""


def others(request: Request, image: Image) -> tuple[Image, ...]:
    """Return the other images that share a layer of packages, for the same stage, bases and platforms."""
    return tuple(
        other
        for other in request.catalogue.images.values()
        if image.common_layer
        and other.common_layer == image.common_layer
        and other.name != image.name
        and request.stage in other.stages
        and request.bases.name in other.bases
        and set(request.platforms) <= set(other.platforms)
    )


def other_backend(
    name: str, expected: Origin, built: tuple[Origin, Iterable[str]] | None, accepted: Accepted
) -> OtherBackend:
    """Return another image with its layers: those in the engine, otherwise the accepted ones.

    Args:
        name: its name in images.toml.
        expected: the inputs by which this checkout would build it.
        built: the inputs and layers of the image in the engine; None where it has none.
        accepted: its accepted sizes.
    """
    if built and built[0] == expected:
        return OtherBackend(name=name, layers=frozenset(built[1]), source="its image in the engine")
    if accepted.made_from == str(expected):
        return OtherBackend(name=name, layers=frozenset(accepted.digests), source="its accepted layers")
    return OtherBackend(name=name, source=NOWHERE)


def to_pull(size: ImageSize, backends: Iterable[OtherBackend]) -> int | None:
    """Return the bytes of a pull where the other backend that shares least exists; None where none is known."""
    return max((manifest.to_pull(size, other.layers) for other in backends if other.layers), default=None)
