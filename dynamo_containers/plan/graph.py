"""Build graph of an image: its targets, and the target that each is based on.

Some targets are in a graph once (os, base), others once for each layer of packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import InstallFrom, Stage
from dynamo_containers.facts.image_inputs import DEV_PACKAGES
from dynamo_containers.facts.locks.python_layers import ENGINE_IMAGE, backend_layer, ci_layer, engine_layer
from dynamo_containers.plan import layer_split, source_builds, source_targets
from dynamo_containers.plan.target import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.layer_split import PackageLayer
    from dynamo_containers.plan.target import GraphBuilder


def add_image(graph: GraphBuilder, image: Image, stage: Stage) -> str:
    """Add an image and the targets that it is based on; return the name of its target."""
    return {
        Stage.BASE: _add_base,
        Stage.BACKEND: _add_backend,
        Stage.RUNTIME: _add_runtime,
        Stage.CI: _add_ci,
        Stage.DEV: _add_dev,
    }[stage](graph, image)


def _add_base(graph: GraphBuilder, _: Image) -> str:
    request, inputs = graph.request, graph.inputs
    parent = _add_builder(graph)
    compiled = source_targets.add_compiled(graph)
    packages = source_builds.packages(request.bases, inputs.sources) if compiled else ()
    for layer in layer_split.installed_layers(inputs.package_layers.get("base", ())):
        parent = _add_fetched(graph, layer, parent, packages)
    return graph.add(
        "base",
        "base",
        {"below": parent, **{target: target for target in compiled}},
        Settings(
            contexts={"fetched": str(request.catalogue.folder / "containers/fetched")},
            args=_verified_by(graph, packages),
        ),
    )


def _add_fetched(graph: GraphBuilder, layer: PackageLayer, parent: str, compiled: Iterable[str]) -> str:
    """Add an image layer of wheels from an index; it names the compiled packages that would be in it."""
    patterns = graph.request.catalogue.images["base"].package_layers
    own = [package for package in compiled if layer_split.layer_of(package, patterns) == layer.name]
    return graph.add(
        f"base-{layer.name}",
        "fetched",
        {"below": parent},
        Settings(contexts={"lock": str(layer.folder)}, args={"PIECE": layer.name, **_verified_by(graph, own)}),
    )


def _verified_by(graph: GraphBuilder, compiled: Iterable[str]) -> dict[str, str]:
    """Return the arguments by which wheels are verified, without those that have no value."""
    args = {"BUILT": " ".join(compiled), "CUDA": graph.request.bases.cuda}
    return {name: value for name, value in args.items() if value}


def _add_builder(graph: GraphBuilder) -> str:
    return graph.add("builder", "builder", {}, Settings(root="builder"))


def _add_backend(graph: GraphBuilder, image: Image) -> str:
    """Add the target that compiles the packages without a wheel; its wheelhouse is empty if there are none."""
    builder, package_layers = _add_builder(graph), graph.inputs.package_layers
    sources = layer_split.compiled_layer(package_layers[image.name])
    requires, *_ = package_layers.get(backend_layer(image), (sources,))
    contexts = {"sources": str(sources.folder), "requires": str(requires.folder)}
    return graph.add(
        f"{image.name}-backend", "backend", {"builder": builder}, Settings(root="devel", contexts=contexts)
    )


def _add_runtime(graph: GraphBuilder, image: Image) -> str:
    base = _add_base(graph, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_on_engine_image(graph, image)
    parent = _add_os(graph)
    for package_set in image.os_packages:
        parent = graph.add_os_packages(f"os-{package_set}", package_set, parent)
    for layer in (image.common_layer, image.name):
        parent = _add_packages(graph, layer, parent)
    if layer_split.compiles(image, graph.request.platforms):
        wheels = {"below": parent, "wheelhouse": _add_backend(graph, image)}
        parent = graph.add(f"{image.name}-compiled", "wheels", wheels)
    # The Python package of NIXL needs torch: an image without an engine installs only its libraries (ADR 5).
    args = {} if image.backend else {"NIXL": ""}
    dynamo = graph.add(f"{image.name}-dynamo", "dynamo", {"below": parent, "base": base}, Settings(args=args))
    own = {} if image.backend else {"below": parent, "base": base}
    return graph.add(f"{image.name}-runtime", image.name, {"dynamo": dynamo, **own})


def _add_on_engine_image(graph: GraphBuilder, image: Image) -> str:
    """Add the targets of an image that is based on the published image of its engine."""
    pins = graph.request.catalogue.pins
    roots = {
        f"root-{platform.arch}": image_reference.engine_context(pins, image, platform)
        for platform in graph.request.platforms
    }
    parent = graph.add(
        f"{image.name}-os",
        "os",
        {},
        # Without the Python of the bases: the row of the image may name one of the published image.
        Settings(contexts={"programs": str(graph.inputs.binaries), **roots}, args={"PYTHON": ""}),
    )
    dynamo = _add_missing(graph, image, f"{image.name}-{ENGINE_IMAGE}", parent)
    return graph.add(f"{image.name}-runtime", image.name, {"dynamo": dynamo})


def _add_missing(graph: GraphBuilder, image: Image, name: str, parent: str) -> str:
    """Add a target for the packages of a layer that the parent image lacks."""
    layer = ci_layer(image) if name.endswith(Stage.CI.value) else engine_layer(image)
    args = {"LAYER": layer, "LEFT_OUT": " ".join(sorted(graph.request.catalogue.excluded))}
    if image.engine_image and image.engine_image.interpreter:
        args["PYTHON"] = image.engine_image.interpreter
    return graph.add(name, ENGINE_IMAGE, {"below": parent, "base": "base", "builder": "builder"}, Settings(args=args))


def _add_ci(graph: GraphBuilder, image: Image) -> str:
    parent = _add_runtime(graph, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_missing(graph, image, f"{image.name}-ci", parent)
    return _add_packages(graph, ci_layer(image), parent)


def _add_dev(graph: GraphBuilder, image: Image) -> str:
    parent = _add_ci(graph, image)
    parent = graph.add_os_packages(f"{image.name}-dev-os", DEV_PACKAGES, parent)
    parent = _add_packages(graph, f"{image.name}-dev", parent)
    # Last: all layers below are the same for every user, and no layer of packages changes the modes that this one sets.
    args = {"USER_UID": str(graph.inputs.user)}
    return graph.add(f"{image.name}-dev-user", "dev", {"below": parent}, Settings(args=args))


def _add_os(graph: GraphBuilder) -> str:
    """Add the user, the folders and the binaries, on the runtime's root image."""
    return graph.add("os", "os", {}, Settings(root="runtime", contexts={"programs": str(graph.inputs.binaries)}))


def _add_packages(graph: GraphBuilder, layer: str, parent: str) -> str:
    """Add a target for each image layer of a layer of Python packages, one on the other; return the topmost."""
    for package_layer in layer_split.installed_layers(graph.inputs.package_layers.get(layer, ())):
        args = {"INDEX": graph.inputs.mirrors.address(package_layer.index)} if package_layer.index else {}
        contexts = {"lock": str(package_layer.folder)}
        parent = graph.add(package_layer.target, "packages", {"below": parent}, Settings(args=args, contexts=contexts))
    return parent
