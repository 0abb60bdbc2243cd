"""Request of a build: its options, checked against the catalogue, and the inputs of its plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import Catalogue, Image, Stage
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.plan import source_builds
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.platforms import Platform, parse_platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.plan.layer_split import PackageLayer
    from dynamo_containers.plan.source_builds import Source


EVERY_IMAGE = ImageSelection()


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of the command line, checked against the catalogue."""

    catalogue: Catalogue
    stage: Stage
    images: tuple[Image, ...]
    bases: Bases
    platforms: tuple[Platform, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Project (`dynamo`) -> the source of its wheels; wheels of the others are fetched."""


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """The values that a plan depends on and that no data file states."""

    native: Platform
    """The platform of the machine that builds."""
    version: str
    """The version of Dynamo that is locked."""
    revision: str
    """The commit of this checkout, with `-dirty` if it has changes."""
    locks: Mapping[str, str]
    """Image -> sha256 of the locks that go into it."""
    roots: Mapping[tuple[str, Platform], str]
    """(role, platform) -> digest of the root image in the OCI layout."""
    layout: Path
    """The OCI layout of root images."""
    binaries: Path
    """A folder with a tree of binaries per architecture."""
    package_layers: Mapping[str, tuple[PackageLayer, ...]] = field(default_factory=dict)
    """Layer of Python packages -> the image layers that it is split into, lowest first."""
    os_packages: Mapping[str, Path] = field(default_factory=dict)
    """Set of OS packages -> a folder with the .debs or RPMs per architecture."""
    toolchains: Mapping[str, Path] = field(default_factory=dict)
    """Set of OS packages -> a folder with the archive of its compiler per architecture."""
    user: int = 1000
    """The UID of the caller, which the user of a dev image gets."""
    drift: tuple[str, ...]
    """`package=version` of the packages that differ from their lock."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Project (`dynamo`) -> the source of its wheels, with the state of a checkout."""
    secrets: tuple[str, ...]
    """`id=...,src=...` of the host's certificates, index address and netrc, if it has them."""
    mirrors: Mirrors = field(default_factory=Mirrors)
    """The mirrors of registries and release pages on this machine."""


class BuildPart(NamedTuple):
    """Part of a build: one stage, with its request and the inputs of its plan."""

    request: Request
    inputs: BuildInputs


def request_for(catalogue: Catalogue, stage: Stage, selection: ImageSelection = EVERY_IMAGE) -> Request:
    """Check the options of the command line against the catalogue, and return their request.

    Args:
        catalogue: the images, bases and platforms that exist.
        stage: the stage of the images.
        selection: the images, and their bases and sources.

    Raises:
        LockError: a source that is built has no pin.
        UsageError: a name is unknown, or a combination does not exist; the message lists those that exist.
    """
    bases = selection.bases
    _check_bases(catalogue, bases)
    images = {name: image for name, image in catalogue.images.items() if stage in image.stages and bases in image.bases}
    if not images:
        message = f"No image has a {stage.value} stage on the {bases} bases."
        raise UsageError(message)
    for name in selection.images:
        if name not in images:
            raise _no_image(catalogue, name, stage, images)
    selected = tuple(images[name] for name in dict.fromkeys(selection.images)) or tuple(images.values())
    return Request(
        catalogue=catalogue,
        stage=stage,
        images=selected,
        bases=replace(catalogue.bases[bases], strict=selection.strict or catalogue.bases[bases].strict),
        platforms=_platforms(selected, selection.platforms),
        sources=source_builds.select(catalogue, selection.sources),
    )


def _check_bases(catalogue: Catalogue, name: str) -> None:
    if name not in catalogue.bases:
        kind = "bases"
        raise unknown_name(kind, name, catalogue.bases)


def _no_image(catalogue: Catalogue, name: str, stage: Stage, choices: Iterable[str]) -> UsageError:
    """Return the error for an image that does not exist, or not in this stage, or not on these bases."""
    image = catalogue.images.get(name)
    if image is None:
        return unknown_name("image", name, choices)
    if stage not in image.stages:
        return UsageError(f"{name} has no {stage.value} stage; images that have one: {', '.join(choices)}")
    bases = " and ".join(image.bases)
    return UsageError(f"{name} is built on the {bases} bases only.\nAdd: --bases {image.bases[0]}")


def _platforms(images: Sequence[Image], names: Sequence[str]) -> tuple[Platform, ...]:
    supported = [platform for platform in Platform if all(platform in image.platforms for image in images)]
    return parse_platforms(names, supported, images=", ".join(image.name for image in images))


def parse_stages(names: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages of these names, lower ones first; all stages for no name.

    Raises:
        UsageError: a name is unknown.
    """
    stages = {stage.value: stage for stage in Stage}
    for name in names:
        if name not in stages:
            kind = "stage"
            raise unknown_name(kind, name, stages)
    return tuple(stage for stage in Stage if not names or stage.value in names)


def requests_for(catalogue: Catalogue, stages: Sequence[Stage], selection: ImageSelection) -> tuple[Request, ...]:
    """Return the requests of the command line, one for each stage; a stage that no image has is left out.

    Args:
        catalogue: the images, bases and platforms that exist.
        stages: the stages, lower ones first.
        selection: the images, and their bases and sources; the base stage, which all need, belongs to any image.

    Raises:
        LockError, UsageError: as `request_for`; or no image has one of the stages.
    """
    _check_bases(catalogue, selection.bases)
    for name in selection.images:
        if name not in catalogue.images:
            kind = "image"
            raise unknown_name(kind, name, catalogue.images)
    by_stage = {stage: _images_with(catalogue, stage, selection) for stage in stages}
    images = {image.name: image for images in by_stage.values() for image in images}
    if not images:
        names = ", ".join(stage.value for stage in stages)
        message = f"None of the images has one of the stages {names} on the {selection.bases} bases."
        raise UsageError(message)
    # All targets of a graph have the same platforms: those that every image of every stage has.
    platforms = [platform.value for platform in _platforms(tuple(images.values()), selection.platforms)]
    return tuple(
        request_for(catalogue, stage, replace(selection, images=[image.name for image in images], platforms=platforms))
        for stage, images in by_stage.items()
        if images
    )


def _images_with(catalogue: Catalogue, stage: Stage, selection: ImageSelection) -> list[Image]:
    """Return the selected images that have a stage; all of them are based on the base stage."""
    images = [image for image in catalogue.images.values() if stage in image.stages and selection.bases in image.bases]
    return [image for image in images if not selection.images or stage is Stage.BASE or image.name in selection.images]
