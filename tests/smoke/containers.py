"""Commands in containers with a time limit, which are always removed and whose logs are kept.

Every container is created with `docker create`, so that its id is known before anything can fail, and is removed by
that id. Its output is kept in the logs folder of the run, and a failure names the files.
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
"""The path of tests/smoke/inside in a container."""
SCRIPTS = ("--volume", f"{INSIDE}:{MOUNTED}:ro")
ARBITRARY_USER = ("--user", "1000790000:0")
"""A UID without a name in the image, and GID 0, as OpenShift assigns them."""
READ_ONLY = ("--read-only", "--tmpfs", "/tmp")
ENGINE_SECONDS = 180
"""Time limit of a command of the engine itself, emulated or not."""


class CouldNotCheckError(FatalError):
    """The test could not get an answer; it counts as failed, not as skipped."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The Docker Engine, the platform of its containers, and the factor for their time limits."""

    environment: Mapping[str, str]
    platform: Platform
    patience: float
    """Factor for the time limits of a native container."""
    logs: Path

    def docker(self, *arguments: str, seconds: float = ENGINE_SECONDS) -> str:
        """Call docker and return its standard output.

        Raises:
            CouldNotCheckError: the command failed or did not end.
        """
        command = process.Command(argv=("docker", *arguments), env=self.environment)
        finished = process.query(command, seconds=seconds)
        if finished.returncode:
            message = f"docker {' '.join(arguments)}\nended with {finished.returncode}: {finished.stderr}"
            raise CouldNotCheckError(message)
        return finished.stdout

    def inspect(self, tag: str) -> dict[str, Any]:
        """Return the description of an image.

        Raises:
            CouldNotCheckError: the engine does not have the image.
        """
        try:
            images: list[dict[str, Any]] = json.loads(self.docker("image", "inspect", tag))
        except CouldNotCheckError as error:
            message = f"{error}\n{tag} may not be built yet: `nox -s smoke-...` builds the image before its tests."
            raise CouldNotCheckError(message) from None
        return images[0]

    @contextmanager
    def container(
        self, image: str, command: Sequence[str], *, name: str, options: Sequence[str] = ()
    ) -> Iterator[Container]:
        """Create a container; at the end keep its logs and remove it by its id."""
        # Unlike `docker run`, this never pulls a missing image from a registry.
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
        """Run a command in a new container; return its standard output.

        Raises:
            AssertionError: the command failed; with the end of its output and the log files.
            CommandFailedError: the command did not end within `seconds` (of a native container).
        """
        with self.container(image, command, name=name, options=options) as container:
            return container.run(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A created container."""

    engine: Engine
    id: str
    name: str

    @property
    def files(self) -> tuple[Path, Path]:
        """Return the log files of its standard output and standard error."""
        folder = self.engine.logs
        return folder / f"{self.name}.stdout.log", folder / f"{self.name}.stderr.log"

    def run(self, *, seconds: float) -> str:
        """Start the container, wait for its end and return its standard output; see `Engine.run`."""
        command = process.Command(
            argv=("docker", "start", "--attach", self.id),
            env=self.engine.environment,
            hint=f"Its output: {self.files[0]} and {self.files[1]}",
        )
        finished = process.query(command, seconds=seconds * self.engine.patience)
        assert finished.returncode == 0, (
            f"{self.name}: exit code {finished.returncode}\n{finished.stderr[-3000:]}\n{command.hint}"
        )
        return finished.stdout

    def start(self) -> None:
        """Start the container and return."""
        self.engine.docker("start", self.id, seconds=ENGINE_SECONDS * self.engine.patience)

    def stop(self, *, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after `seconds`."""
        self.engine.docker("stop", "--time", str(round(seconds)), self.id, seconds=seconds + ENGINE_SECONDS)

    def state(self) -> dict[str, Any]:
        """Return the state: whether the container runs, and how it ended."""
        state: dict[str, Any] = json.loads(self.engine.docker("inspect", "--format", "{{json .State}}", self.id))
        return state

    def keep_logs(self) -> None:
        """Write the output of the container so far into the logs folder."""
        command = process.Command(argv=("docker", "logs", self.id), env=self.engine.environment)
        finished = process.query(command, seconds=ENGINE_SECONDS)
        for file, text in zip(self.files, (finished.stdout, finished.stderr), strict=True):
            process.write(process.Document(path=file, text=text))
