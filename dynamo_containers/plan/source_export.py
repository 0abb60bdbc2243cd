"""Export of a developer's checkout into a context of a merged Dockerfile.

What of such a folder is never sent is said beside the Dockerfile of its step (`Dockerfile.dockerignore`); of a named
context BuildKit reads that in the folder itself. So the tree that the step makes is copied out before, and is the
context (docs/adr/0021). A commit of a repository needs none of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.plan import bake
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.process import Command


@dataclass(frozen=True, kw_only=True)
class SourceExport:
    """What copies sources out, before anything else is built."""

    folders: Mapping[str, Path]
    """Target -> the folder that its tree is copied to; empty before, since bake adds to what is there."""
    document: Document
    command: Command


def source_export(plan: BuildPlan, docker: Docker) -> SourceExport | None:
    """Return what copies the sources of a build out; None where none comes from a checkout.

    Args:
        plan: what is built.
        docker: the docker CLI of the node that builds.
    """
    path, targets = plan.path, plan.graph.targets
    # Of these the build context is the folder of a checkout that is not this project's.
    exported = [name for name, target in targets.items() if target.dockerfile and target.context.startswith("/")]
    folders = {name: state.exported_source(path, name) for name in exported}
    if not folders:
        return None
    file = state.export_document(path)
    allowed = [f"--allow=fs.write={folder}" for folder in folders.values()]
    command = bake.bake_command(plan.parts[0], docker.buildx, file, allowed)
    # Without platforms: each of them would have a folder with the same in it.
    targets = {
        name: replace(targets[name], platforms=(), outputs=(f"type=local,dest={folder}",))
        for name, folder in folders.items()
    }
    return SourceExport(
        folders=folders,
        document=Document(path=file, text=bake.render(bake.bake_document(list(folders), targets))),
        command=replace(command, env={**docker.environment, **command.env}),
    )
