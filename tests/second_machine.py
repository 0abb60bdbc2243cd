"""A second machine, as far as one can be had here: a checkout elsewhere, with an engine of its own that has nothing."""

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
"""What is judged by its sha256, and programs that make things. All else is made again."""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DYNAMO_", "BUILDX_"))}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A checkout of the last commit, and what its commands see."""

    folder: Path
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a task of it."""
        return (sys.executable, "-m", "invoke", *arguments)

    def invoke(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a task of it."""
        env = {**self.environment, **variables}
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )

    def docker(self, *arguments: str) -> str:
        """Ask its engine."""
        used = {} if "DOCKER_HOST" in self.environment else engine.environment(self.folder)
        env = {**self.environment, **used}
        finished = subprocess.run(("docker", *arguments), env=env, capture_output=True, text=True, check=True)
        return finished.stdout

    def empty(self) -> None:
        """Take from its engine all that was built or pulled."""
        images = self.docker("image", "ls", "--quiet", "--no-trunc").split()
        if images:
            self.docker("image", "rm", "--force", *dict.fromkeys(images))
        self.docker("buildx", "prune", "--all", "--force")


@contextmanager
def second(place: Path, *platforms: str) -> Iterator[Machine]:
    """Make the machine; at the end of the block nothing is left of it."""
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
