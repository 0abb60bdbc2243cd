"""What do benchmarks do with the engine? They start it from nothing built, and push what they made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker

SOURCE = "org.opencontainers.image.source"
"""The label by which images that a build of ours or a benchmark made are found again."""


def forget_what_is_built(docker: Docker) -> None:
    """Remove every image with our label and every step; root images stay, and downloads, which are cache mounts."""
    images = docker.capture("images", "--quiet", "--no-trunc", f"--filter=label={SOURCE}").split()
    if images:
        docker.capture("rmi", "--force", *dict.fromkeys(images))
    words = ("prune", "--all", "--force", "--filter", "type!=exec.cachemount")
    docker.capture_buildx(*words)


def forget_downloads(docker: Docker) -> None:
    """Remove the cache mounts of steps."""
    words = ("prune", "--all", "--force", "--filter", "type=exec.cachemount")
    docker.capture_buildx(*words)


def remove(docker: Docker, tags: Sequence[str]) -> None:
    """Remove images from the engine's store, and no step that made them."""
    docker.capture("rmi", *tags)


def push(docker: Docker, tag: str, address: str) -> float:
    """Push an image to a registry, under a name that is gone afterwards; return the seconds of the push alone."""
    name = f"{address}/{tag}"
    docker.capture("tag", tag, name)
    start = time.perf_counter()
    docker.capture("push", "--quiet", name)
    took = time.perf_counter() - start
    docker.capture("rmi", name)
    return took


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
