"""Targets that compile wheels from sources, below the base stage.

No project needs another one's wheels, so they are built in parallel, and a change in one rebuilds only its own
targets. Only NIXL is linked to another target: UCX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.plan.source_builds import DYNAMO, NIXL, PROJECTS, UCX
from dynamo_containers.plan.target import Settings

if TYPE_CHECKING:
    from dynamo_containers.plan.target import GraphBuilder


def add_compiled(graph: GraphBuilder) -> tuple[str, ...]:
    """Add the targets that compile wheels; return those that contain a folder of wheels."""
    targets: tuple[str, ...] = ()
    if DYNAMO in graph.inputs.sources:
        targets += _add_dynamo(graph)
    if NIXL in graph.inputs.sources:
        targets += _add_nixl(graph)
    return targets


def _add_dynamo(graph: GraphBuilder) -> tuple[str, ...]:
    tools = _add_tools(graph, "compile-tools", DYNAMO)
    source = _add_source(graph, DYNAMO)
    rust = _add_compiler(graph, "compile-rust", DYNAMO, tools)
    args, contexts = _compiler_settings(graph, DYNAMO)
    graph.add("dynamo-rust", "dynamo-rust", {"below": rust, "source": source}, Settings(args=args, contexts=contexts))
    graph.add("dynamo-python", "dynamo-python", {"below": tools, "source": source})
    return "dynamo-rust", "dynamo-python"


def _add_nixl(graph: GraphBuilder) -> tuple[str, ...]:
    cuda = {"CUDA": graph.request.bases.cuda}
    tools = _add_tools(graph, "nixl-tools", NIXL)
    compiler = _add_compiler(graph, "nixl-cxx", NIXL, tools)
    cuda_toolkit = graph.add("nixl-cuda", "cuda-toolkit", {"below": compiler}, Settings(args=cuda))
    for name, own_links, own_args in ((UCX, {}, {}), (NIXL, {UCX: UCX}, cuda)):
        links = {"below": cuda_toolkit, "source": _add_source(graph, name), **own_links}
        args, contexts = _compiler_settings(graph, name)
        graph.add(name, name, links, Settings(args={**args, **own_args}, contexts=contexts))
    return (NIXL,)


def _compiler_settings(graph: GraphBuilder, project: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the arguments that name caches by the compiler, and the contexts that enable sccache."""
    sccache = graph.request.catalogue.folder / "containers" / "sccache"
    return {"TOOLCHAIN": _compiler_name(graph, project)}, {"sccache": str(sccache)}


def _add_tools(graph: GraphBuilder, name: str, project: str) -> str:
    """Add the builder with the build backends of a project."""
    builder = graph.add("builder", "builder", {}, Settings(root="builder"))
    return graph.add(name, "compile-tools", {"builder": builder}, Settings(args={"LAYER": PROJECTS[project].layer}))


def _add_compiler(graph: GraphBuilder, name: str, project: str, parent: str) -> str:
    """Add the OS packages that compile a project, and on them the toolchain of a release, where the bases name one."""
    package_set = PROJECTS[project].os_set
    parent = graph.add_os_packages(name, package_set, parent)
    if package_set not in graph.inputs.toolchains:
        return parent
    # The archive has one folder, whose name differs by platform; the installer is below it.
    installer = graph.request.bases.toolchains[package_set].installer.partition("/")[2]
    contexts = {"archives": str(graph.inputs.toolchains[package_set])}
    return graph.add(
        f"{name}-toolchain", "toolchain", {"below": parent}, Settings(args={"INSTALLER": installer}, contexts=contexts)
    )


def _compiler_name(graph: GraphBuilder, project: str) -> str:
    """Return the name of a project's compiler; another compiler uses other caches."""
    package_set = PROJECTS[project].os_set
    folders = (graph.inputs.os_packages, graph.inputs.toolchains)
    return "-".join(sets[package_set].name for sets in folders if package_set in sets)


def _add_source(graph: GraphBuilder, name: str) -> str:
    """Add the target whose build context is a checkout or a commit; its Dockerfile is ours."""
    return graph.add(f"{name}-source", f"{name}-source", {}, Settings(source=graph.inputs.sources[name].context))
