"""Target of a bake document: the parts from which a graph is put together.

https://docs.docker.com/build/bake/reference/. Each folder of containers/ is one kind of step.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.facts import image_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.platforms import Platform

    Steps: TypeAlias = dict[str, dict[str, Any]]

TARGET = "target:"
"""Begins a context that is another target of the document."""
BUILDER_STEPS = ("builder", "base", "fetched", "compile-tools")
"""The folders of containers/ whose steps use the Python of the builder's root image."""
INSTALL_STEPS = ("base", "fetched", "packages", "wheels", "dynamo")
"""The folders of containers/ whose steps use the tools of the builder, on the machine that builds."""


def needed(steps: Mapping[str, Mapping[str, Any]], target: str) -> tuple[str, ...]:
    """Return the targets that one stands on, lower ones first, and itself."""
    found: dict[str, None] = {}
    for value in steps[target]["contexts"].values():
        if value.startswith(TARGET):
            found |= dict.fromkeys(needed(steps, value.removeprefix(TARGET)))
    return (*found, target)


def add(  # noqa: PLR0913, PLR0917 - the parts of a target
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
    contexts = {context: f"{TARGET}{step}" for context, step in below.items()}
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
    below = add(steps, request, facts, f"root-{role}", "root", {})
    steps[below]["contexts"] |= _roots(request, facts, role, request.platforms)
    extended = add_os_packages(steps, request, facts, f"{below}-packages", role, below)
    return {f"root-{each.arch}": f"{TARGET}{extended}" for each in request.platforms}


def _add_tools(steps: Steps, request: Request, facts: Facts) -> str:
    """Add the builder for the machine that builds, whatever it builds for: hence no platforms, on purpose."""
    steps["tools"] = _target(request, facts, "builder", _roots(request, facts, "builder", (facts.native,)))
    return f"{TARGET}tools"


def _roots(request: Request, facts: Facts, role: str, platforms: Iterable[Platform]) -> dict[str, str]:
    """Return a context per platform, so that a step is the same one whatever else is built beside it."""
    if role in request.bases.pulled:
        pins = request.catalogue.pins
        return {f"root-{each.arch}": image_reference.source(pins, request.bases, role, each) for each in platforms}
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


def add_os_packages(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, name: str, wanted: str, below: str
) -> str:
    """Add a layer of OS packages on what is below."""
    rpms = wanted in request.bases.packages and request.bases.packages[wanted].root in request.bases.repositories
    folder, context = ("os-rpms", "rpms") if rpms else ("os-packages", "debs")
    add(steps, request, facts, name, folder, {"below": below})
    steps[name]["contexts"][context] = str(facts.os_packages[wanted])
    return name


def dockerfile_folder(target: Mapping[str, Any]) -> Path:
    """Return the folder of containers/ that a step is; the build context of one is somebody's checkout or a commit."""
    return Path(target.get("dockerfile", target["context"] + "/Dockerfile")).parent
