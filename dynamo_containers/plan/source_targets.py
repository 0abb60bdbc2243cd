"""Targets that compile wheels from sources, below the base stage.

None of the projects stands on another one's wheels, so they are built side by side, and a change in one does the steps
of that one again. Only NIXL is linked to something that is built here: UCX, a step of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.plan.source_builds import DYNAMO, NIXL, PROJECTS, UCX
from dynamo_containers.plan.target import add, add_os_packages

if TYPE_CHECKING:
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.target import Steps


def add_built(steps: Steps, request: Request, facts: Facts) -> tuple[str, ...]:
    """Add what compiles the wheels that are not fetched; return the steps that end in a folder of them."""
    built: tuple[str, ...] = ()
    if DYNAMO in facts.sources:
        built += _add_dynamo(steps, request, facts)
    if NIXL in facts.sources:
        built += _add_nixl(steps, request, facts)
    return built


def _add_dynamo(steps: Steps, request: Request, facts: Facts) -> tuple[str, ...]:
    tools = _add_tools(steps, request, facts, "compile-tools", DYNAMO)
    source = _add_source(steps, request, facts, DYNAMO)
    rust = _add_compiler(steps, request, facts, "compile-rust", DYNAMO, tools)
    add(steps, request, facts, "dynamo-rust", "dynamo-rust", {"below": rust, "source": source})
    _compiles(steps, request, facts, "dynamo-rust", DYNAMO)
    add(steps, request, facts, "dynamo-python", "dynamo-python", {"below": tools, "source": source})
    return "dynamo-rust", "dynamo-python"


def _add_nixl(steps: Steps, request: Request, facts: Facts) -> tuple[str, ...]:
    tools = _add_tools(steps, request, facts, "nixl-tools", NIXL)
    compiler = _add_compiler(steps, request, facts, "nixl-cxx", NIXL, tools)
    below = add(steps, request, facts, "nixl-cuda", "cuda-toolkit", {"below": compiler})
    for name in (UCX, NIXL):
        contexts = {"below": below, "source": _add_source(steps, request, facts, name)}
        add(steps, request, facts, name, name, contexts | ({UCX: UCX} if name == NIXL else {}))
        _compiles(steps, request, facts, name, name)
    for name in (below, NIXL):
        steps[name]["args"]["CUDA"] = request.bases.cuda
    return (NIXL,)


def _compiles(steps: Steps, request: Request, facts: Facts, step: str, project: str) -> None:
    """Let a step name its caches by its compiler, and go through sccache where this machine asks for it."""
    steps[step]["args"]["TOOLCHAIN"] = _compiler_name(facts, project)
    steps[step]["contexts"]["sccache"] = str(request.catalogue.folder / "containers" / "sccache")


def _add_tools(steps: Steps, request: Request, facts: Facts, step: str, project: str) -> str:
    """Add the builder with the build backends of a project."""
    builder = add(steps, request, facts, "builder", "builder", {}, root="builder")
    add(steps, request, facts, step, "compile-tools", {"builder": builder})
    steps[step]["args"]["LAYER"] = PROJECTS[project].layer
    return step


def _add_compiler(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: Steps, request: Request, facts: Facts, step: str, project: str, below: str
) -> str:
    """Add the OS packages that compile a project, and on them the toolchain of a release, where the bases name one."""
    wanted = PROJECTS[project].os_set
    below = add_os_packages(steps, request, facts, step, wanted, below)
    if wanted not in facts.toolchains:
        return below
    below = add(steps, request, facts, f"{step}-toolchain", "toolchain", {"below": below})
    steps[below]["contexts"]["archives"] = str(facts.toolchains[wanted])
    # Below the archive's one folder, whose name differs by platform.
    steps[below]["args"]["INSTALLER"] = request.bases.toolchains[wanted].installer.partition("/")[2]
    return below


def _compiler_name(facts: Facts, project: str) -> str:
    """Return what names the compiler of a project: with another one its caches are others."""
    wanted = PROJECTS[project].os_set
    folders = (facts.os_packages, facts.toolchains)
    return "-".join(each[wanted].name for each in folders if wanted in each)


def _add_source(steps: Steps, request: Request, facts: Facts, name: str) -> str:
    """Add the step whose build context is a checkout or a commit, and whose Dockerfile is ours all the same."""
    step = add(steps, request, facts, f"{name}-source", f"{name}-source", {})
    steps[step] |= {"context": facts.sources[name].context, "dockerfile": f"{steps[step]['context']}/Dockerfile"}
    return step
