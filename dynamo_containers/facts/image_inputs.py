"""Inputs of an image at a stage: layers of Python packages, root images, sets of OS packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import InstallFrom, Stage
from dynamo_containers.facts.locks.python_layers import BUILDER, backend_layer, ci_layer, engine_layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.platforms import Platform


DEV_PACKAGES = "dev"
"""The set of OS packages that a dev image gets."""
DEVEL = "devel"
"""The role of the root image that backends compile on."""


def python_layers(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the layers whose Python locks go into an image of a stage."""
    shared = (image.common_layer,) if image.common_layer else ()
    compiled = (backend_layer(image),) if image.compile_from_source else ()
    own = (*compiled, *shared, image.name) if image.install_from is InstallFrom.WHEELS else (engine_layer(image),)
    runtime = (BUILDER, "base", *own)
    return {
        Stage.BASE: (BUILDER, "base"),
        Stage.BACKEND: (BUILDER, "base", *compiled, image.name),
        Stage.RUNTIME: runtime,
        Stage.CI: (*runtime, ci_layer(image)),
        Stage.DEV: (*runtime, ci_layer(image), f"{image.name}-dev"),
    }[stage]


def root_roles(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the root images that an image of a stage is based on, or that its packages are compiled on."""
    if stage is Stage.BASE or image.install_from is InstallFrom.IMAGE:
        return ("builder",)
    runtime = () if stage is Stage.BACKEND else ("runtime",)
    return ("builder", *runtime, *(("devel",) if image.compile_from_source or stage is Stage.BACKEND else ()))


def os_sets(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the sets of OS packages in an image of a stage."""
    # The published image of an engine has its own OS packages.
    if stage in (Stage.BASE, Stage.BACKEND) or image.install_from is InstallFrom.IMAGE:
        return ()
    return (*image.os_packages, DEV_PACKAGES) if stage is Stage.DEV else image.os_packages


def extended_roots(bases: Bases, image: Image, stage: Stage, platforms: Iterable[Platform]) -> tuple[str, ...]:
    """Return the root images of registries that get OS packages for an image of a stage."""
    # The target that compiles has all platforms of a build as soon as one of them needs it.
    compiles = stage is Stage.BACKEND or any(image.compile_from_source.get(platform) for platform in platforms)
    roles = (role for role in root_roles(image, stage) if role != DEVEL or compiles)
    return tuple(role for role in roles if role in bases.extended_roots)
