"""Export of a developer's checkout into a context of a merged Dockerfile.

What of such a folder is never sent is said beside the Dockerfile of its step (`Dockerfile.dockerignore`); of a named
context BuildKit reads that in the folder itself. So the tree that the step makes is copied out before, and is the
context (docs/adr/0021). A commit of a repository needs none of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dynamo_containers.plan import bake
from dynamo_containers.process import Command, Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.plan.bake import Facts, Request

FOLDER = "sources"
"""Below .build: the copies, by build."""


@dataclass(frozen=True, kw_only=True)
class Copying:
    """What copies sources out, before anything else is built."""

    folders: Mapping[str, Path]
    """Step -> where its tree comes to stand; empty before, since bake adds to what is there."""
    document: Document
    command: Command


def copying(
    request: Request, facts: Facts, content: Mapping[str, Any], buildx: tuple[str, ...], variables: Mapping[str, str]
) -> Copying | None:
    """Return what copies the sources of a build out; None where none comes from a checkout.

    Args:
        request: what is built.
        facts: what the world says.
        content: the bake document of the graph.
        buildx: how buildx is called.
        variables: what its environment must have.
    """
    path = bake.document_path(request)
    folders = {name: path.with_name(FOLDER) / path.stem / name for name in _own_folders(content)}
    if not folders:
        return None
    file = path.with_name(f"{path.stem}-wide-sources.json")
    command = bake.command_of(request, facts, buildx, file, [f"--allow=fs.write={each}" for each in folders.values()])
    return Copying(
        folders=folders,
        document=Document(path=file, text=bake.text_of(_document(content, folders))),
        command=replace(command, env={**variables, **command.env}),
    )


def _own_folders(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the steps whose build context is the folder of a checkout, and not of this project."""
    steps = content["target"]
    return tuple(name for name, step in steps.items() if "dockerfile" in step and step["context"].startswith("/"))


def _document(content: Mapping[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return the bake document: without platforms, each of which would have a folder with the same in it."""
    steps = {
        name: {key: value for key, value in content["target"][name].items() if key != "platforms"}
        | {"output": [f"type=local,dest={folder}"]}
        for name, folder in folders.items()
    }
    return {"group": {"default": {"targets": list(folders)}}, "target": steps}
