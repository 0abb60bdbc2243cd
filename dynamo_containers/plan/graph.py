"""Build graph of an image: its targets, and what each is based on.

Some targets are in a graph once (os, base), some for each layer of packages.
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
    from dynamo_containers.plan.layer_split import Piece
    from dynamo_containers.plan.target import GraphBuilder


def add_image(graph: GraphBuilder, image: Image, stage: Stage) -> str:
    """Add an image and what it is based on; return its target's name."""
    return {
        Stage.BASE: _add_base,
        Stage.BACKEND: _add_backend,
        Stage.RUNTIME: _add_runtime,
        Stage.CI: _add_ci,
        Stage.DEV: _add_dev,
    }[stage](graph, image)


def _add_base(graph: GraphBuilder, _: Image) -> str:
    request, inputs = graph.request, graph.inputs
    below = _add_builder(graph)
    compiled = source_targets.add_compiled(graph)
    packages = source_builds.packages(request.bases, inputs.sources) if compiled else ()
    for piece in layer_split.installed(inputs.pieces.get("base", ())):
        below = _add_fetched(graph, piece, below, packages)
    return graph.add(
        "base",
        "base",
        {"below": below, **{target: target for target in compiled}},
        Settings(
            contexts={"fetched": str(request.catalogue.folder / "containers/fetched")},
            args=_verified_by(graph, packages),
        ),
    )


def _add_fetched(graph: GraphBuilder, piece: Piece, below: str, compiled: Iterable[str]) -> str:
    """Add a layer of the wheels that are fetched. It names what is compiled only where that would be in it."""
    pieces = graph.request.catalogue.images["base"].package_layers
    own = [package for package in compiled if layer_split.piece_of(package, pieces) == piece.name]
    return graph.add(
        f"base-{piece.name}",
        "fetched",
        {"below": below},
        Settings(contexts={"lock": str(piece.folder)}, args={"PIECE": piece.name, **_verified_by(graph, own)}),
    )


def _verified_by(graph: GraphBuilder, compiled: Iterable[str]) -> dict[str, str]:
    """Return the arguments by which wheels are verified, without those that have no value."""
    args = {"BUILT": " ".join(compiled), "CUDA": graph.request.bases.cuda}
    return {name: value for name, value in args.items() if value}


def _add_builder(graph: GraphBuilder) -> str:
    return graph.add("builder", "builder", {}, Settings(root="builder"))


def _add_backend(graph: GraphBuilder, image: Image) -> str:
    """Add the target that compiles what has no wheel; without any such package its wheelhouse is empty."""
    builder, pieces = _add_builder(graph), graph.inputs.pieces
    sources = layer_split.compiled(pieces[image.name])
    requires, *_ = pieces.get(backend_layer(image), (sources,))
    contexts = {"sources": str(sources.folder), "requires": str(requires.folder)}
    return graph.add(
        f"{image.name}-backend", "backend", {"builder": builder}, Settings(root="devel", contexts=contexts)
    )


def _add_runtime(graph: GraphBuilder, image: Image) -> str:
    base = _add_base(graph, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_on_engine_image(graph, image)
    below = _add_os(graph)
    for package_set in image.os_packages:
        below = graph.add_os_packages(f"os-{package_set}", package_set, below)
    for layer in (image.common_layer, image.name):
        below = _add_packages(graph, layer, below)
    if layer_split.compiles(image, graph.request.platforms):
        wheels = {"below": below, "wheelhouse": _add_backend(graph, image)}
        below = graph.add(f"{image.name}-compiled", "wheels", wheels)
    # The Python package of NIXL needs torch: an image without an engine installs its libraries alone (ADR 5).
    args = {} if image.backend else {"NIXL": ""}
    dynamo = graph.add(f"{image.name}-dynamo", "dynamo", {"below": below, "base": base}, Settings(args=args))
    own = {} if image.backend else {"below": below, "base": base}
    return graph.add(f"{image.name}-runtime", image.name, {"dynamo": dynamo, **own})


def _add_on_engine_image(graph: GraphBuilder, image: Image) -> str:
    """Add what is installed on the published image of an engine instead of the runtime's root image."""
    pins = graph.request.catalogue.pins
    roots = {
        f"root-{platform.arch}": image_reference.engine_context(pins, image, platform)
        for platform in graph.request.platforms
    }
    below = graph.add(
        f"{image.name}-os",
        "os",
        {},
        Settings(
            contexts={"programs": str(graph.inputs.programs), **roots}, args={"PYTHON": ""}
        ),  # which the row of the image may say
    )
    dynamo = _add_missing(graph, image, f"{image.name}-{ENGINE_IMAGE}", below)
    return graph.add(f"{image.name}-runtime", image.name, {"dynamo": dynamo})


def _add_missing(graph: GraphBuilder, image: Image, name: str, below: str) -> str:
    """Add a target for what a layer of packages has and the image below lacks."""
    layer = ci_layer(image) if name.endswith(Stage.CI.value) else engine_layer(image)
    args = {"LAYER": layer, "LEFT_OUT": " ".join(sorted(graph.request.catalogue.excluded))}
    if image.engine_image and image.engine_image.interpreter:
        args["PYTHON"] = image.engine_image.interpreter
    return graph.add(name, ENGINE_IMAGE, {"below": below, "base": "base", "builder": "builder"}, Settings(args=args))


def _add_ci(graph: GraphBuilder, image: Image) -> str:
    below = _add_runtime(graph, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_missing(graph, image, f"{image.name}-ci", below)
    return _add_packages(graph, ci_layer(image), below)


def _add_dev(graph: GraphBuilder, image: Image) -> str:
    below = _add_ci(graph, image)
    below = graph.add_os_packages(f"{image.name}-dev-os", DEV_PACKAGES, below)
    below = _add_packages(graph, f"{image.name}-dev", below)
    # Last: all below it is the same for everybody, and no layer of packages closes the folders that it opens.
    args = {"USER_UID": str(graph.inputs.user)}
    return graph.add(f"{image.name}-dev-user", "dev", {"below": below}, Settings(args=args))


def _add_os(graph: GraphBuilder) -> str:
    """Add the user, the folders and the binaries, on the runtime's root image."""
    return graph.add("os", "os", {}, Settings(root="runtime", contexts={"programs": str(graph.inputs.programs)}))


def _add_packages(graph: GraphBuilder, layer: str, below: str) -> str:
    """Add a target for each part of a layer of Python packages, one on the other; return the topmost."""
    for piece in layer_split.installed(graph.inputs.pieces.get(layer, ())):
        args = {"INDEX": graph.inputs.mirrors.address(piece.index)} if piece.index else {}
        contexts = {"lock": str(piece.folder)}
        below = graph.add(piece.target, "packages", {"below": below}, Settings(args=args, contexts=contexts))
    return below
