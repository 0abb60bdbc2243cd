"""Calls of the docker CLI and of buildx for the engine in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import process

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Docker:
    """The docker CLI and buildx, and the variables that lead both to the engine in use."""

    environment: Mapping[str, str]
    """The variables to add to the environment of each call (`engine.environment`)."""
    buildx: tuple[str, ...]
    """The beginning of a buildx call: the plugin itself, or `docker buildx`."""

    def command(self, *arguments: str, quiet: bool = False, title: str = "", hint: str = "") -> process.Command:
        """Return the command `docker ARGUMENTS`; the options are those of `process.Command`."""
        argv = ("docker", *arguments)
        return process.Command(argv=argv, env=self.environment, quiet=quiet, title=title, hint=hint)

    def buildx_command(self, *arguments: str, quiet: bool = False, title: str = "", hint: str = "") -> process.Command:
        """Return the command `docker buildx ARGUMENTS`; the options are those of `process.Command`."""
        argv = (*self.buildx, *arguments)
        return process.Command(argv=argv, env=self.environment, quiet=quiet, title=title, hint=hint)

    def run(self, *arguments: str, quiet: bool = False, title: str = "", hint: str = "") -> None:
        """Run `docker ARGUMENTS` and show its output.

        Raises:
            CommandFailedError: it ended with an error.
        """
        process.run(self.command(*arguments, quiet=quiet, title=title, hint=hint))

    def capture(self, *arguments: str, hint: str = "") -> str:
        """Run `docker ARGUMENTS` and return its output.

        Raises:
            CommandFailedError: it ended with an error.
        """
        return process.capture(self.command(*arguments, hint=hint))

    def capture_buildx(self, *arguments: str, hint: str = "") -> str:
        """Run `docker buildx ARGUMENTS` and return its output.

        Raises:
            CommandFailedError: it ended with an error.
        """
        return process.capture(self.buildx_command(*arguments, hint=hint))

    def images(self) -> dict[str, str]:
        """Return tag -> digest of the images in the engine.

        Raises:
            CommandFailedError: the engine does not answer.
        """
        lines = self.capture("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return {tag: digest for tag, _, digest in (line.partition(" ") for line in lines)}
