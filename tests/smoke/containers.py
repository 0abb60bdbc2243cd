"""How does a test run something in a container, in bounded time, and leave neither the container nor its logs lost?

Every container is made with `docker create`, so that its id is known before anything can go wrong, and is removed by
that id. What it wrote is kept in the logs folder of the run, and a failure names the files.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import process
from dynamo_containers.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dynamo_containers.platforms import Platform

INSIDE = Path(__file__).parent / "inside"
MOUNTED = "/mnt/inside"
"""Where a container finds the scripts of tests/smoke/inside."""
SCRIPTS = ("--volume", f"{INSIDE}:{MOUNTED}:ro")
ARBITRARY_USER = ("--user", "1000790000:0")
"""A UID that has no name in the image, with GID 0: what OpenShift gives a container."""
READ_ONLY = ("--read-only", "--tmpfs", "/tmp")
ENGINE_SECONDS = 180
"""What a call of the engine itself may take, emulated or not."""


class CouldNotCheckError(FatalError):
    """The test did not get as far as an answer. Never a pass, and no skip either."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The Docker Engine, and for which platform and with which patience its containers are run."""

    environment: Mapping[str, str]
    platform: Platform
    patience: float
    """By what the times of a native container are multiplied."""
    logs: Path

    def docker(self, *arguments: str, seconds: float = ENGINE_SECONDS) -> str:
        """Call docker and return its standard output.

        Raises:
            CouldNotCheckError: it failed or hung.
        """
        command = process.Command(argv=("docker", *arguments), env=self.environment)
        finished = process.query(command, seconds=seconds)
        if finished.returncode:
            message = f"docker {' '.join(arguments)}\nended with {finished.returncode}: {finished.stderr}"
            raise CouldNotCheckError(message)
        return finished.stdout

    def inspect(self, tag: str) -> dict[str, Any]:
        """Return what the engine knows about an image.

        Raises:
            CouldNotCheckError: it has none of that name.
        """
        try:
            images: list[dict[str, Any]] = json.loads(self.docker("image", "inspect", tag))
        except CouldNotCheckError as error:
            message = f"{error}\nIs {tag} built? `nox -s smoke-...` builds what it tests."
            raise CouldNotCheckError(message) from None
        return images[0]

    @contextmanager
    def container(
        self, image: str, command: Sequence[str], *, name: str, options: Sequence[str] = ()
    ) -> Iterator[Container]:
        """Create a container; remove it by its id in the end, after keeping what it wrote."""
        # Unlike `docker run`, this never asks a registry for an image that is not there.
        arguments = ("create", "--pull", "never", "--platform", self.platform.value, *options, image, *command)
        container = Container(engine=self, id=self.docker(*arguments).strip(), name=name)
        try:
            yield container
        finally:
            try:
                container.keep_logs()
            finally:
                self.docker("rm", "--force", "--volumes", container.id)

    def run(
        self, image: str, command: Sequence[str], *, name: str, options: Sequence[str] = (), seconds: float = 60
    ) -> str:
        """Run a command in a container of its own to its end; return its standard output.

        Raises:
            AssertionError: it failed; with the end of its output and the files that have all of it.
            CommandFailedError: it did not end within `seconds` (of a native container).
        """
        with self.container(image, command, name=name, options=options) as container:
            return container.run(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container that was created."""

    engine: Engine
    id: str
    name: str

    @property
    def files(self) -> tuple[Path, Path]:
        """Return where its standard output and its standard error are kept."""
        folder = self.engine.logs
        return folder / f"{self.name}.stdout.log", folder / f"{self.name}.stderr.log"

    def run(self, *, seconds: float) -> str:
        """Start it, wait for its end and return its standard output; see `Engine.run`."""
        command = process.Command(
            argv=("docker", "start", "--attach", self.id),
            env=self.engine.environment,
            hint=f"What it wrote: {self.files[0]} and {self.files[1]}",
        )
        finished = process.query(command, seconds=seconds * self.engine.patience)
        assert finished.returncode == 0, (
            f"{self.name}: exit code {finished.returncode}\n{finished.stderr[-3000:]}\n{command.hint}"
        )
        return finished.stdout

    def start(self) -> None:
        """Start it and return."""
        self.engine.docker("start", self.id, seconds=ENGINE_SECONDS * self.engine.patience)

    def stop(self, *, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after `seconds`."""
        self.engine.docker("stop", "--time", str(round(seconds)), self.id, seconds=seconds + ENGINE_SECONDS)

    def state(self) -> dict[str, Any]:
        """Return whether it runs, and how it ended."""
        state: dict[str, Any] = json.loads(self.engine.docker("inspect", "--format", "{{json .State}}", self.id))
        return state

    def keep_logs(self) -> None:
        """Write what the container wrote so far into the logs folder."""
        command = process.Command(argv=("docker", "logs", self.id), env=self.engine.environment)
        finished = process.query(command, seconds=ENGINE_SECONDS)
        for file, text in zip(self.files, (finished.stdout, finished.stderr), strict=True):
            process.write(process.Document(path=file, text=text))
