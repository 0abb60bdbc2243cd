"""Export of a developer's checkout into a context of a merged Dockerfile.

The ignore file is beside the Dockerfile of the target (`Dockerfile.dockerignore`). For a named context BuildKit would
read the one in the folder itself. So the files of the target are exported first, and the exported folder is the context
(docs/adr/0021). The commit of a repository needs no export.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import spelling, state
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
    """The command that exports sources before the images are built."""

    folders: Mapping[str, Path]
    """Target -> the folder that its files are exported to. It must be empty, since bake removes no file from it."""
    document: Document
    command: Command


def source_export(plan: BuildPlan, docker: Docker) -> SourceExport | None:
    """Return the export of the sources of a build; None if no source is a checkout.

    Args:
        plan: the plan of the build.
        docker: the docker CLI of the node that builds.
    """
    path, targets = plan.path, plan.graph.targets
    # The build context of these targets is a folder of another project's checkout.
    exported = [name for name, target in targets.items() if target.dockerfile and target.context.startswith("/")]
    folders = {name: state.exported_source(path, name) for name in exported}
    if not folders:
        return None
    file = state.export_document(path)
    allowed = [f"--allow=fs.write={folder}" for folder in folders.values()]
    command = bake.bake_command(plan.parts[0], docker.buildx, file, allowed)
    # Without platforms: else bake would make one folder per platform, with the same files.
    targets = {
        name: replace(targets[name], platforms=(), outputs=(spelling.attributes(type="local", dest=str(folder)),))
        for name, folder in folders.items()
    }
    return SourceExport(
        folders=folders,
        document=Document(path=file, text=bake.render(bake.bake_document(list(folders), targets))),
        command=replace(command, env={**docker.environment, **command.env}),
    )
