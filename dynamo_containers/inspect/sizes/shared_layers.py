"""Cost of a second backend: bytes to pull where another image is already there.

The other image is the one that this checkout would make, or the answer is about something else: it is compared by the
locks that it was made from, which its label `ai.dynamo.lock` has, and by what drifted.
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
    from dynamo_containers.plan.bake import Request

NOWHERE = "neither the engine nor the accepted sizes have it, made from the same locks"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """From what an image was made, as its labels say."""

    lock: str
    """`ai.dynamo.lock`."""
    drift: str = ""
    """`ai.dynamo.drift`, '' for none."""

    def __str__(self) -> str:
        """Return both in one line, as containers/accepted-sizes.toml has them."""
        return f"{self.lock} {self.drift}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Another image that may be there already."""

    name: str
    layers: frozenset[str] = frozenset()
    """The digests of its layers, of either kind (`manifest.to_pull`); empty where they are not known."""
    said: str
    """How its layers are known, or why they are not."""


def others(request: Request, image: Image) -> tuple[Image, ...]:
    """Return the other images that share a layer of packages with one, for the same stage, bases and platforms."""
    return tuple(
        each
        for each in request.catalogue.images.values()
        if image.common_layer
        and each.common_layer == image.common_layer
        and each.name != image.name
        and request.stage in each.stages
        and request.bases.name in each.bases
        and set(request.platforms) <= set(each.platforms)
    )


def beside(name: str, wanted: Origin, built: tuple[Origin, Iterable[str]] | None, accepted: Accepted) -> Beside:
    """Return what is known of another image: what the engine has before what was accepted.

    Args:
        name: of its row in images.toml.
        wanted: from what this checkout would make it.
        built: from what the engine's was made, and the digests of its layers; None where it has none.
        accepted: what was accepted for it.
    """
    if built and built[0] == wanted:
        return Beside(name=name, layers=frozenset(built[1]), said="its image in the engine")
    if accepted.made_from == str(wanted):
        return Beside(name=name, layers=frozenset(accepted.digests), said="its accepted layers")
    return Beside(name=name, said=NOWHERE)


def to_pull(size: ImageSize, besides: Iterable[Beside]) -> int | None:
    """Return the bytes of a pull beside the one of the known others that spares least; None where none is known."""
    return max((manifest.to_pull(size, each.layers) for each in besides if each.layers), default=None)
