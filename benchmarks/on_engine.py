"""Operations of benchmarks on the engine: remove images, build cache and downloads, and push images."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker

SOURCE = "org.opencontainers.image.source"
"""The label of all images of this project and of the benchmarks."""


def forget_what_is_built(docker: Docker) -> None:
    """Remove every image with our label and the build cache; root images and cache mounts with downloads stay."""
    images = docker.capture("images", "--quiet", "--no-trunc", f"--filter=label={SOURCE}").split()
    if images:
        docker.capture("rmi", "--force", *dict.fromkeys(images))
    arguments = ("prune", "--all", "--force", "--filter", "type!=exec.cachemount")
    docker.capture_buildx(*arguments)


def forget_downloads(docker: Docker) -> None:
    """Remove the cache mounts, which have the downloads."""
    arguments = ("prune", "--all", "--force", "--filter", "type=exec.cachemount")
    docker.capture_buildx(*arguments)


def remove(docker: Docker, tags: Sequence[str]) -> None:
    """Remove images from the store of the engine; their build cache stays."""
    docker.capture("rmi", *tags)


def push(docker: Docker, tag: str, address: str) -> float:
    """Push an image to a registry under a temporary name; return the duration of the push."""
    name = f"{address}/{tag}"
    docker.capture("tag", tag, name)
    start = time.perf_counter()
    docker.capture("push", "--quiet", name)
    took = time.perf_counter() - start
    docker.capture("rmi", name)
    return took


def folder_bytes(folder: Path) -> int:
    """Return the total size of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
