"""Simulated second machine: a checkout in another folder with its own, empty engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import engine
from tests.checkout_copy import checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TAKEN_OVER = ("downloads", "tools")
"""Folders that are verified by sha256, and tools. Everything else is built again."""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DYNAMO_", "BUILDX_"))}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A checkout of the last commit, and the environment of its commands."""

    folder: Path
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a task of the checkout."""
        return (sys.executable, "-m", "invoke", *arguments)

    def invoke(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a task of the checkout."""
        env = {**self.environment, **variables}
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )

    def docker(self, *arguments: str) -> str:
        """Run docker with the engine of the machine; return its output."""
        used = {} if "DOCKER_HOST" in self.environment else engine.environment(self.folder)
        env = {**self.environment, **used}
        finished = subprocess.run(("docker", *arguments), env=env, capture_output=True, text=True, check=True)
        return finished.stdout

    def empty(self) -> None:
        """Remove all images and build cache from the engine."""
        images = self.docker("image", "ls", "--quiet", "--no-trunc").split()
        if images:
            self.docker("image", "rm", "--force", *dict.fromkeys(images))
        self.docker("buildx", "prune", "--all", "--force")


@contextmanager
def second(place: Path, *platforms: str) -> Iterator[Machine]:
    """Yield a new machine; its checkout and engine are removed at the end of the block."""
    checkout(place, TAKEN_OVER)
    machine = Machine(folder=place, environment=CLEAN)
    arguments = [argument for platform in platforms for argument in ("--platform", platform)]
    try:
        finished = machine.invoke("engine.up", *arguments)
        assert finished.returncode == 0, finished.stderr
        yield machine
    finally:
        machine.invoke("engine.down", "--purge")
        shutil.rmtree(place, ignore_errors=True)
