"""Build graph of an image: its targets, and what each is based on.

Each folder of containers/ is one kind of step. Some stand once in a graph (os, base), some for each layer of packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import InstallFrom, Stage
from dynamo_containers.facts.image_inputs import DEV_PACKAGES
from dynamo_containers.facts.locks.python_layers import ENGINE_IMAGE, backend_layer, ci_layer, engine_layer
from dynamo_containers.plan import layer_split, source_builds, source_targets
from dynamo_containers.plan.target import add, add_os_packages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.layer_split import Piece
    from dynamo_containers.plan.target import Steps


def add_image(steps: Steps, request: Request, facts: Facts, image: Image, stage: Stage) -> str:
    """Add an image and what it stands on; return its target's name."""
    return {
        Stage.BASE: _add_base,
        Stage.BACKEND: _add_backend,
        Stage.RUNTIME: _add_runtime,
        Stage.CI: _add_ci,
        Stage.DEV: _add_dev,
    }[stage](steps, request, facts, image)


def _add_base(steps: Steps, request: Request, facts: Facts, _: Image) -> str:
    below = _add_builder(steps, request, facts)
    built = source_targets.add_built(steps, request, facts)
    packages = source_builds.packages(request.bases, facts.sources) if built else ()
    for piece in layer_split.installed(facts.pieces.get("base", ())):
        below = _add_fetched(steps, request, facts, piece, below, packages)
    add(steps, request, facts, "base", "base", {"below": below, **{step: step for step in built}})
    steps["base"]["contexts"]["fetched"] = str(request.catalogue.folder / "containers/fetched")
    steps["base"]["args"] |= _judged_by(request, packages)
    return "base"


def _add_fetched(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, piece: Piece, below: str, built: Iterable[str]
) -> str:
    """Add a piece of the wheels that are fetched. It knows of what is built only if that would be in it."""
    pieces = request.catalogue.images["base"].package_layers
    mine = [package for package in built if layer_split.piece_of(package, pieces) == piece.name]
    name = add(steps, request, facts, f"base-{piece.name}", "fetched", {"below": below})
    steps[name]["contexts"]["lock"] = str(piece.folder)
    steps[name]["args"] |= {"PIECE": piece.name, **_judged_by(request, mine)}
    return name


def _judged_by(request: Request, built: Iterable[str]) -> dict[str, str]:
    """Return what wheels are judged by, where there is such a thing."""
    return {name: value for name, value in (("BUILT", " ".join(built)), ("CUDA", request.bases.cuda)) if value}


def _add_builder(steps: Steps, request: Request, facts: Facts) -> str:
    return add(steps, request, facts, "builder", "builder", {}, root="builder")


def _add_backend(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    """Add the step that compiles what has no wheel; without any such package its wheelhouse is empty."""
    builder = _add_builder(steps, request, facts)
    name = add(steps, request, facts, f"{image.name}-backend", "backend", {"builder": builder}, root="devel")
    sources = layer_split.compiled(facts.pieces[image.name])
    requires, *_ = facts.pieces.get(backend_layer(image), (sources,))
    steps[name]["contexts"] |= {"sources": str(sources.folder), "requires": str(requires.folder)}
    return name


def _add_runtime(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    base = _add_base(steps, request, facts, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_on_engine_image(steps, request, facts, image)
    below = _add_os(steps, request, facts)
    for wanted in image.os_packages:
        below = add_os_packages(steps, request, facts, f"os-{wanted}", wanted, below)
    for layer in (image.common_layer, image.name):
        below = _add_packages(steps, request, facts, layer, below)
    if layer_split.compiles(image, request.platforms):
        wheels = {"below": below, "wheelhouse": _add_backend(steps, request, facts, image)}
        below = add(steps, request, facts, f"{image.name}-compiled", "wheels", wheels)
    dynamo = add(steps, request, facts, f"{image.name}-dynamo", "dynamo", {"below": below, "base": base})
    if image.backend:
        return add(steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo})
    steps[dynamo]["args"]["NIXL"] = ""  # whose Python package needs torch: the image's own step does without (ADR 5)
    return add(
        steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo, "below": below, "base": base}
    )


def _add_on_engine_image(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    """Add what stands on the published image of the engine instead of the runtime's root image."""
    below = _add_os(steps, request, facts, f"{image.name}-os")
    pins = request.catalogue.pins
    steps[below]["args"]["PYTHON"] = ""  # which the row of the image may say
    steps[below]["contexts"] |= {
        f"root-{each.arch}": image_reference.engine_source(pins, image, each) for each in request.platforms
    }
    dynamo = _add_missing(steps, request, facts, image, f"{image.name}-{ENGINE_IMAGE}", below)
    return add(steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo})


def _add_missing(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, image: Image, name: str, below: str
) -> str:
    """Add a step for what a layer of packages has and the image below lacks."""
    layer = ci_layer(image) if name.endswith(Stage.CI.value) else engine_layer(image)
    add(steps, request, facts, name, ENGINE_IMAGE, {"below": below, "base": "base", "builder": "builder"})
    steps[name]["args"] |= {"LAYER": layer, "LEFT_OUT": " ".join(sorted(request.catalogue.excluded))}
    if image.engine_image and image.engine_image.interpreter:
        steps[name]["args"]["PYTHON"] = image.engine_image.interpreter
    return name


def _add_ci(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    below = _add_runtime(steps, request, facts, image)
    if image.install_from is InstallFrom.IMAGE:
        return _add_missing(steps, request, facts, image, f"{image.name}-ci", below)
    return _add_packages(steps, request, facts, ci_layer(image), below)


def _add_dev(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    below = _add_ci(steps, request, facts, image)
    below = add_os_packages(steps, request, facts, f"{image.name}-dev-os", DEV_PACKAGES, below)
    below = _add_packages(steps, request, facts, f"{image.name}-dev", below)
    # Last: all below it is the same for everybody, and no layer of packages closes the folders that it opens.
    user = add(steps, request, facts, f"{image.name}-dev-user", "dev", {"below": below})
    steps[user]["args"]["USER_UID"] = str(facts.user)
    return user


def _add_os(steps: Steps, request: Request, facts: Facts, name: str = "os") -> str:
    """Add the user, the folders and the programs; of another name than `os` the root image is the caller's matter."""
    add(steps, request, facts, name, "os", {}, root="runtime" if name == "os" else "")
    steps[name]["contexts"]["programs"] = str(facts.programs)
    return name


def _add_packages(steps: Steps, request: Request, facts: Facts, layer: str, below: str) -> str:
    """Add a step for each piece of a layer of Python packages, one on the other; return the uppermost."""
    for piece in layer_split.installed(facts.pieces.get(layer, ())):
        below = add(steps, request, facts, piece.target, "packages", {"below": below})
        steps[below]["contexts"]["lock"] = str(piece.folder)
        steps[below]["args"] |= {"INDEX": facts.mirrors.address(piece.index)} if piece.index else {}
    return below
