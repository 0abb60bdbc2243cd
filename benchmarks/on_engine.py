"""What do benchmarks do with the engine? They start it from nothing built, and push what they made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dynamo_containers import engine, process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SOURCE = "org.opencontainers.image.source"
"""The label by which images that a build of ours or a benchmark made are found again."""


def docker(environment: Mapping[str, str], *words: str) -> str:
    """Call docker and return its standard output.

    Raises:
        CommandFailedError: it failed.
    """
    return process.capture(process.Command(argv=("docker", *words), env=environment))


def forget_what_is_built(environment: Mapping[str, str]) -> None:
    """Remove every image with our label and every step; root images stay, and downloads, which are cache mounts."""
    images = docker(environment, "images", "--quiet", "--no-trunc", f"--filter=label={SOURCE}").split()
    if images:
        docker(environment, "rmi", "--force", *dict.fromkeys(images))
    words = ("prune", "--all", "--force", "--filter", "type!=exec.cachemount")
    process.capture(process.Command(argv=(*engine.buildx(environment), *words), env=environment))


def forget_downloads(environment: Mapping[str, str]) -> None:
    """Remove the cache mounts of steps."""
    words = ("prune", "--all", "--force", "--filter", "type=exec.cachemount")
    process.capture(process.Command(argv=(*engine.buildx(environment), *words), env=environment))


def remove(environment: Mapping[str, str], tags: Sequence[str]) -> None:
    """Remove images from the engine's store, and no step that made them."""
    docker(environment, "rmi", *tags)


def push(environment: Mapping[str, str], tag: str, address: str) -> float:
    """Push an image to a registry, under a name that is gone afterwards; return the seconds of the push alone."""
    name = f"{address}/{tag}"
    docker(environment, "tag", tag, name)
    start = time.perf_counter()
    docker(environment, "push", "--quiet", name)
    took = time.perf_counter() - start
    docker(environment, "rmi", name)
    return took


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
