"""Closing lines of a build: each image with its digest, size, time, and the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan.options import DEFAULT_BASES

if TYPE_CHECKING:
    from dynamo_containers.inspect.sizes.manifest import ImageSize
    from dynamo_containers.plan.bake import PlannedImage
    from dynamo_containers.platforms import Platform

SHORT_DIGEST = len("sha256:") + 12
"""Characters of a digest that are shown, as docker shows them."""
MB = 10**6


def image_line(image: PlannedImage, digest: str, size: ImageSize | None, seconds: float, *, built: bool) -> str:
    """Return the line about an image in the engine's own store.

    Args:
        image: the image.
        digest: the digest of its manifest; '' if bake did not report it.
        size: None if it was not measured: the engine is not the private one, or there are several platforms.
        seconds: the duration of the command until now.
        built: whether it was built; otherwise it was up to date.
    """
    head = f"Built {image.tag}" if built else f"{image.tag} is up to date"
    return f"{_describe(head, digest, size, seconds)}. Next: {_next_command(image)}"


def pushed_line(tag: str, digest: str, seconds: float) -> str:
    """Return the line about a tag that was pushed to a registry; the digest is that of its index."""
    name = f"{tag}@{digest}" if digest else tag
    return f"{_describe(f'Pushed {tag}', digest, None, seconds)}. Next: docker pull {name}"


def _describe(head: str, digest: str, size: ImageSize | None, seconds: float) -> str:
    pull = f"{size.packed / MB:.0f} MB to pull, {size.unpacked / MB:.0f} MB on disk" if size else ""
    return ", ".join(filter(None, (head, digest[:SHORT_DIGEST], pull, f"{seconds:.1f} s")))


def _next_command(planned: PlannedImage) -> str:
    """Return the command that most users run next with an image of this stage."""
    request, name = planned.request, planned.image.name
    platform = request.platforms[0]
    options = "" if request.bases.name == DEFAULT_BASES else f" --bases {request.bases.name}"
    if request.stage is Stage.BACKEND:
        return f"invoke build.runtime --image {name}{options}"
    if request.stage in (Stage.BASE, Stage.CI):
        return f'nox -s "smoke-{name}({platform.arch})"'
    return f"invoke run {name} --stage {request.stage.value}{_platform(platform)}{options}"


def _platform(platform: Platform) -> str:
    from dynamo_containers.platforms import native_platform

    return "" if platform is native_platform() else f" --platform {platform.value}"
