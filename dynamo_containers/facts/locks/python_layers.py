"""Layers of Python packages: the packages that are installed together, and the layers below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import InstallFrom, Stage

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue, Image


@dataclass(frozen=True, kw_only=True)
class PythonLayer:
    """A set of packages that are installed together, locked once per target."""

    name: str
    image: str | None
    """The image whose bases and platforms it is locked for; None for a shared layer and for the tools of any host."""
    root: str = ""
    """The root image that it is installed in, where its glibc differs from that of the bases."""
    requirements_name: str = ""
    """The name of its file in requirements/, where it differs from the layer's name."""
    on: tuple[str, ...] = ()
    """The layers below. Their locks constrain this one, and their packages are not in it."""
    over_shared: str = ""
    """The shared layer that is below too, on the targets that have one."""
    shares: str = ""
    """The shared layer that gets the packages which this layer has in common with others."""
    shared: bool = False
    """Whether it is such a shared layer: computed from the others, without a requirements file."""
    on_engine_image: bool = False
    """Whether it is for the published image of an engine: for the oldest glibc that the project promises, without an
    engine's index."""
    named_only: bool = False
    """Lock only the packages of the .in file, and one wheel of each: the result is a folder filled with --no-deps."""

    @property
    def requirements(self) -> str:
        """Return the hand-written file of the layer."""
        return f"requirements/{self.requirements_name or self.name}.in"


TOOLS = PythonLayer(name="tools", image=None)
DOCS = PythonLayer(name="docs", image=None)
"""What builds the documentation, for `nox -s docs` alone."""
BUILDER = "builder"
COMPILE = "compile"
"""Tools that build the wheels of the base stage, where Dynamo is built from source."""
COMPILE_NIXL = "compile-nixl"
"""The same for NIXL and UCX: separate, so that a new version of a tool rebuilds only what uses it."""
DEVEL = "devel"
ENGINE_IMAGE = "engine-image"
"""The name of the file in requirements/ with the packages for the published image of any engine."""


def backend_layer(image: Image) -> str:
    """Return the layer of the tools with which an image's backend stage compiles."""
    return f"{image.name}-{Stage.BACKEND.value}"


def engine_layer(image: Image) -> str:
    """Return the layer of the packages that the published image of an engine may lack."""
    return f"{image.name}-{ENGINE_IMAGE}"


def ci_layer(image: Image) -> str:
    """Return the layer of an image's test tools; wheels and the published image have separate ones, both locked."""
    return f"{engine_layer(image) if image.install_from is InstallFrom.IMAGE else image.name}-{Stage.CI.value}"


def layers(catalogue: Catalogue) -> tuple[PythonLayer, ...]:
    """Return every layer, lower ones first; a new image is a row of images.toml and a file in requirements/."""
    images = catalogue.images.values()
    bases = tuple(image for image in images if Stage.BASE in image.stages)
    published = tuple(image for image in images if image.install_from is InstallFrom.IMAGE)
    # A shared layer is computed from the locks of wheels, so an image that shares one always keeps its own lock.
    others = tuple(
        image for image in images if Stage.BASE not in image.stages and (image not in published or image.common_layer)
    )
    base_layers = tuple(image.name for image in bases)
    return (
        TOOLS,
        DOCS,
        *(layer for image in bases for layer in _base(image)),
        *(
            PythonLayer(name=image.name, image=image.name, on=base_layers, shares=image.common_layer)
            for image in others
        ),
        *(PythonLayer(name=name, image=None, shared=True, on=base_layers) for name in catalogue.common_layers),
        *(
            PythonLayer(name=backend_layer(image), image=image.name, root=DEVEL)
            for image in others
            if image.compile_from_source
        ),
        *(layer for image in others for layer in _upper(image, base_layers)),
        *(layer for image in published for layer in _on_engine_image(image, base_layers)),
    )


def _base(image: Image) -> tuple[PythonLayer, ...]:
    return (
        PythonLayer(name=image.name, image=image.name, named_only=True),
        PythonLayer(name=BUILDER, image=image.name, root=BUILDER),
        PythonLayer(name=COMPILE, image=image.name, root=BUILDER),
        PythonLayer(name=COMPILE_NIXL, image=image.name, root=BUILDER),
    )


def _upper(image: Image, base_layers: tuple[str, ...]) -> tuple[PythonLayer, ...]:
    """Return the layers of an image's ci and dev stages."""
    ci, dev = (f"{image.name}-{stage.value}" for stage in (Stage.CI, Stage.DEV))
    on = (*base_layers, image.name)
    return (
        PythonLayer(name=ci, image=image.name, requirements_name="ci", on=on, over_shared=image.common_layer),
        PythonLayer(name=dev, image=image.name, requirements_name="dev", on=(*on, ci), over_shared=image.common_layer),
    )


def _on_engine_image(image: Image, base_layers: tuple[str, ...]) -> tuple[PythonLayer, ...]:
    """Return the layers that are added to the published image of an engine."""
    name, ci = engine_layer(image), ci_layer(image)
    return (
        PythonLayer(name=name, image=image.name, requirements_name=ENGINE_IMAGE, on=base_layers, on_engine_image=True),
        PythonLayer(
            name=ci,
            image=image.name,
            requirements_name=Stage.CI.value,
            on=(*base_layers, name),
            on_engine_image=True,
        ),
    )
