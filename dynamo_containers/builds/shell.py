"""`invoke run`: find out what is built, and start a shell in it."""

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
class Words:
    """The words of the command line."""

    image: str
    stage: str = ""
    platforms: Sequence[str] = ()
    bases: str
    command: str = ""
    source: str = ""
    gpu: bool = False


def start(catalogue: Catalogue, words: Words, *, dry_run: bool) -> None:
    """Start a container and return when it ended.

    Raises:
        UsageError: a word is unknown, the source is no folder, or the image is not built.
        NoEngineError: no engine answers.
        LockError: a lock, which says what the image is called, is missing or stale.
        CommandFailedError: the command in the container failed.
    """
    requests = container.requests(catalogue, words.image, words.stage, words.platforms, words.bases)
    wish = container.ContainerOptions(
        checkouts=catalogue.folder.parent,
        source=_folder(words.source),
        user=os.getuid(),
        command=words.command,
        terminal=sys.stdin.isatty(),
        gpu=words.gpu,
    )
    docker = preflight.docker_of(catalogue.folder, dry_run=dry_run)
    version = inputs.offline_build_inputs(requests[0]).version
    # A dry run needs no engine, and so does not know which image is built.
    built = container.tags(requests, version) if dry_run else docker.images()
    process.execute(container.plan(requests, version, wish, docker, built), dry_run=dry_run)


def _folder(word: str) -> Path | None:
    if not word:
        return None
    folder = Path(word).expanduser().resolve()
    if not folder.is_dir():
        message = f"--source: {folder} is no folder.\nIt is what the container finds at {container.WORKSPACE}."
        raise UsageError(message)
    return folder
