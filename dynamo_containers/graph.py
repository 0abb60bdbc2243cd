"""Which steps make an image, and what does each stand on? Pure: a request and the facts give the targets of a document.

Each folder of containers/ is one kind of step. Some stand once in a graph (os, base), some for each layer of packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers import pulled, python_pieces, source_builds
from dynamo_containers.model import Stage, Way
from dynamo_containers.python_layers import ENGINE_IMAGE, backend_layer, ci_layer, engine_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.build import Facts, Request
    from dynamo_containers.model import Image
    from dynamo_containers.platforms import Platform

    Steps: TypeAlias = dict[str, dict[str, Any]]

BUILDER_STEPS = ("builder", "base", "compile-tools")
"""The folders of containers/ whose steps use the Python of the builder's root image."""
INSTALL_STEPS = ("base", "packages", "wheels", "dynamo")
"""The folders of containers/ whose steps use the tools of the builder, on the machine that builds."""
DEV_PACKAGES = "dev"
"""The set of OS packages that a dev image gets."""


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
    _add_builder(steps, request, facts)
    built = _add_built(steps, request, facts)
    name = _add(steps, request, facts, "base", "base", {"builder": "builder", **{step: step for step in built}})
    if built:
        packages = (package for source in facts.sources for package in source_builds.PACKAGES[source])
        steps[name]["args"]["BUILT"] = " ".join(packages)
    if request.bases.cuda:
        steps[name]["args"]["CUDA"] = request.bases.cuda
    return name


def _add_built(steps: Steps, request: Request, facts: Facts) -> tuple[str, ...]:
    """Add what compiles the wheels that are not fetched; return the steps that end in a folder of them.

    None of them stands on another one's wheels, so they run side by side, and a change does again what it is in.
    """
    if not facts.sources:
        return ()
    tools = _add(steps, request, facts, "compile-tools", "compile-tools", {"builder": "builder"})
    source = _add_source(steps, request, facts, source_builds.DYNAMO)
    rust = _add_os_packages(steps, request, facts, "compile-rust", source_builds.RUST, tools)
    _add(steps, request, facts, "dynamo-rust", "dynamo-rust", {"below": rust, "source": source})
    steps["dynamo-rust"]["args"]["TOOLCHAIN"] = facts.os_packages[source_builds.RUST].name
    _add(steps, request, facts, "dynamo-python", "dynamo-python", {"below": tools, "source": source})
    return "dynamo-rust", "dynamo-python"


def _add_source(steps: Steps, request: Request, facts: Facts, name: str) -> str:
    """Add the step whose build context is a checkout or a commit, and whose Dockerfile is ours all the same."""
    step = _add(steps, request, facts, f"{name}-source", f"{name}-source", {})
    steps[step] |= {"context": facts.sources[name].context, "dockerfile": f"{steps[step]['context']}/Dockerfile"}
    return step


def _add_builder(steps: Steps, request: Request, facts: Facts) -> str:
    return _add(steps, request, facts, "builder", "builder", {}, root="builder")


def _add_backend(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    """Add the step that compiles what has no wheel; without any such package its wheelhouse is empty."""
    builder = _add_builder(steps, request, facts)
    name = _add(steps, request, facts, f"{image.name}-backend", "backend", {"builder": builder}, root="devel")
    sources = python_pieces.compiled(facts.pieces[image.name])
    requires, *_ = facts.pieces.get(backend_layer(image), (sources,))
    steps[name]["contexts"] |= {"sources": str(sources.folder), "requires": str(requires.folder)}
    return name


def _add_runtime(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    base = _add_base(steps, request, facts, image)
    if image.way is Way.IMAGE:
        return _add_on_engine_image(steps, request, facts, image)
    below = _add_os(steps, request, facts)
    for wanted in image.os_packages:
        below = _add_os_packages(steps, request, facts, f"os-{wanted}", wanted, below)
    for layer in (image.shares, image.name):
        below = _add_packages(steps, request, facts, layer, below)
    if python_pieces.compiles(image, request.platforms):
        wheels = {"below": below, "wheelhouse": _add_backend(steps, request, facts, image)}
        below = _add(steps, request, facts, f"{image.name}-compiled", "wheels", wheels)
    dynamo = _add(steps, request, facts, f"{image.name}-dynamo", "dynamo", {"below": below, "base": base})
    if image.backend:
        return _add(steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo})
    steps[dynamo]["args"]["NIXL"] = ""  # whose Python package needs torch: the image's own step does without (ADR 5)
    return _add(
        steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo, "below": below, "base": base}
    )


def _add_on_engine_image(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    """Add what stands on the published image of the engine instead of the runtime's root image."""
    below = _add_os(steps, request, facts, f"{image.name}-os")
    pins = request.catalogue.pins
    steps[below]["args"]["PYTHON"] = ""  # which the row of the image may say
    steps[below]["contexts"] |= {
        f"root-{each.arch}": pulled.engine_source(pins, image, each) for each in request.platforms
    }
    dynamo = _add_missing(steps, request, facts, image, f"{image.name}-{ENGINE_IMAGE}", below)
    return _add(steps, request, facts, f"{image.name}-runtime", image.name, {"dynamo": dynamo})


def _add_missing(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, image: Image, name: str, below: str
) -> str:
    """Add a step for what a layer of packages has and the image below lacks."""
    layer = ci_layer(image) if name.endswith(Stage.CI.value) else engine_layer(image)
    _add(steps, request, facts, name, ENGINE_IMAGE, {"below": below, "base": "base", "builder": "builder"})
    steps[name]["args"] |= {"LAYER": layer, "LEFT_OUT": " ".join(sorted(request.catalogue.left_out))}
    if image.engine_image and image.engine_image.interpreter:
        steps[name]["args"]["PYTHON"] = image.engine_image.interpreter
    return name


def _add_ci(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    below = _add_runtime(steps, request, facts, image)
    if image.way is Way.IMAGE:
        return _add_missing(steps, request, facts, image, f"{image.name}-ci", below)
    return _add_packages(steps, request, facts, ci_layer(image), below)


def _add_dev(steps: Steps, request: Request, facts: Facts, image: Image) -> str:
    below = _add_ci(steps, request, facts, image)
    below = _add_os_packages(steps, request, facts, f"{image.name}-dev-os", DEV_PACKAGES, below)
    below = _add_packages(steps, request, facts, f"{image.name}-dev", below)
    # Last: all below it is the same for everybody, and no layer of packages closes the folders that it opens.
    user = _add(steps, request, facts, f"{image.name}-dev-user", "dev", {"below": below})
    steps[user]["args"]["USER_UID"] = str(facts.user)
    return user


def _add_os(steps: Steps, request: Request, facts: Facts, name: str = "os") -> str:
    """Add the user, the folders and the programs; of another name than `os` the root image is the caller's matter."""
    _add(steps, request, facts, name, "os", {}, root="runtime" if name == "os" else "")
    steps[name]["contexts"]["programs"] = str(facts.programs)
    return name


def _add_os_packages(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, name: str, wanted: str, below: str
) -> str:
    """Add a layer of OS packages on what is below."""
    _add(steps, request, facts, name, "os-packages", {"below": below})
    steps[name]["contexts"]["debs"] = str(facts.os_packages[wanted])
    return name


def _add_packages(steps: Steps, request: Request, facts: Facts, layer: str, below: str) -> str:
    """Add a step for each piece of a layer of Python packages, one on the other; return the uppermost."""
    for piece in python_pieces.installed(facts.pieces.get(layer, ())):
        below = _add(steps, request, facts, piece.target, "packages", {"below": below})
        steps[below]["contexts"]["lock"] = str(piece.folder)
        steps[below]["args"] |= {"INDEX": facts.mirrors.address(piece.index)} if piece.index else {}
    return below


def _add(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps,
    request: Request,
    facts: Facts,
    name: str,
    folder: str,
    below: Mapping[str, str],
    *,
    root: str = "",
) -> str:
    """Add one target; it stands on a root image or on other targets."""
    contexts = {context: f"target:{step}" for context, step in below.items()}
    if root:
        contexts |= _add_root(steps, request, facts, root)
    if folder in INSTALL_STEPS:
        contexts["tools"] = _add_tools(steps, request, facts)
    steps[name] = _target(request, facts, folder, contexts)
    # Every target of the graph names the same platforms: one without any would be built for this machine alone and
    # then be used for all of them.
    steps[name]["platforms"] = [platform.value for platform in request.platforms]
    return name


def _add_root(steps: Steps, request: Request, facts: Facts, role: str) -> dict[str, str]:
    """Return the contexts of a root image, after adding what is installed on it where a registry has it."""
    if role not in request.bases.extended:
        return _roots(request, facts, role, request.platforms)
    below = _add(steps, request, facts, f"root-{role}", "root", {})
    steps[below]["contexts"] |= _roots(request, facts, role, request.platforms)
    extended = _add_os_packages(steps, request, facts, f"{below}-packages", role, below)
    return {f"root-{each.arch}": f"target:{extended}" for each in request.platforms}


def _add_tools(steps: Steps, request: Request, facts: Facts) -> str:
    """Add the builder for the machine that builds, whatever it builds for: hence no platforms, on purpose."""
    steps["tools"] = _target(request, facts, "builder", _roots(request, facts, "builder", (facts.native,)))
    return "target:tools"


def _roots(request: Request, facts: Facts, role: str, platforms: Iterable[Platform]) -> dict[str, str]:
    """Return a context per platform, so that a step is the same one whatever else is built beside it."""
    if role in request.bases.pulled:
        pins = request.catalogue.pins
        return {f"root-{each.arch}": pulled.source(pins, request.bases, role, each) for each in platforms}
    return {f"root-{each.arch}": f"oci-layout://{facts.layout}@{facts.roots[role, each]}" for each in platforms}


def _target(request: Request, facts: Facts, folder: str, contexts: Mapping[str, str]) -> dict[str, Any]:
    checkout, bases = request.catalogue.folder, request.bases
    return {
        "args": {
            "BASES": bases.name,
            "GLIBC": bases.glibc,
            "OLDEST_GLIBC": request.catalogue.oldest_glibc,
            "PYTHON": bases.interpreter_of("builder" if folder in BUILDER_STEPS else "runtime"),
            "PYTHON_VERSION": bases.python,
            "SOURCE_DATE_EPOCH": str(request.catalogue.pins.epoch),
        },
        # It holds build times, and so would give every build another digest; releases ask for it.
        "attest": ["type=provenance,disabled=true"],
        "context": str(checkout / "containers" / folder),
        "contexts": {
            "bin": str(checkout / "containers" / "bin"),
            "constraints": str(checkout / "constraints"),
            **contexts,
        },
        "secret": list(facts.secrets),
    }
