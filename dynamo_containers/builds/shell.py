"""`invoke run`: start a shell in an image that is built."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.builds import preflight
from dynamo_containers.errors import UsageError
from dynamo_containers.plan import container
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_containers.facts.catalogue import Catalogue


@dataclass(frozen=True, kw_only=True)
class ShellOptions:
    """The options of `invoke run`."""

    image: str
    stage: str = ""
    platforms: Sequence[str] = ()
    bases: str
    command: str = ""
    source: str = ""
    gpu: bool = False


def start(catalogue: Catalogue, options: ShellOptions, *, dry_run: bool) -> None:
    """Start a container, and return when it ended.

    Raises:
        UsageError: a name is unknown, the source is not a folder, or the image is not built.
        NoEngineError: no engine answers.
        LockError: a lock is missing or stale; the version in the image's tag is in it.
        CommandFailedError: the command in the container failed.
    """
    requests = container.requests(catalogue, options.image, options.stage, options.platforms, options.bases)
    container_options = container.ContainerOptions(
        checkouts=catalogue.folder.parent,
        source=_folder(options.source),
        user=os.getuid(),
        command=options.command,
        terminal=sys.stdin.isatty(),
        gpu=options.gpu,
    )
    docker = preflight.docker_for(catalogue.folder, dry_run=dry_run)
    version = inputs.offline_build_inputs(requests[0]).version
    # A dry run needs no engine, so it takes every image as built.
    built = container.tags(requests, version) if dry_run else docker.images()
    process.execute(container.plan(requests, version, container_options, docker, built), dry_run=dry_run)


def _folder(path: str) -> Path | None:
    if not path:
        return None
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        message = f"--source: {folder} is not a folder.\nThe container has it at {container.WORKSPACE}."
        raise UsageError(message)
    return folder
