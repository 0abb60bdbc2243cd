"""`invoke engine.up | engine.status | engine.down`: a Docker Engine for this checkout.

A running Docker Engine is used as it is. If there is none, `up` provides a private one from Debian packages.
Modules that only `up` and `down` need are imported there, because every other task calls `environment` first.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import progress, state
from dynamo_containers.engine import endpoint
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.errors import CommandFailedError, NoEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.platforms import Platform
    from dynamo_containers.result import Result

__all__ = [
    "client",
    "client_buildx",
    "docker",
    "down",
    "emulate",
    "environment",
    "network",
    "private",
    "ready_for",
    "status",
    "up",
    "watched",
]


def environment(folder: Path) -> dict[str, str]:
    """Return the variables to add to the environment of every docker call from the checkout `folder`.

    Raises:
        NoEngineError: there is no engine, or no docker CLI with buildx; the message names the command to run.
    """
    return endpoint.environment(EnginePaths(folder=folder))


def docker(folder: Path) -> Docker:
    """Return the docker CLI and buildx for the engine in use.

    Raises:
        NoEngineError: there is no engine, or no docker CLI with buildx; the message names the command to run.
    """
    return endpoint.connect(EnginePaths(folder=folder))


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Report an engine that stopped during the block, instead of the command that failed because of it.

    Raises:
        NoEngineError: a command failed, and the engine no longer answers.
    """
    used = endpoint.choose(endpoint.detect(EnginePaths(folder=folder)))
    try:
        yield
    except CommandFailedError as error:
        if used is None or endpoint.answers(used.host):
            raise
        message = (
            f"{error}\nThe Docker Engine stopped answering during this command.\n"
            f"Its log may have the reason: {EnginePaths(folder=folder).log}\n"
            "Start the engine again with: invoke engine.up\nThen repeat the command; finished targets are cached."
        )
        raise NoEngineError(message) from None


def network(folder: Path) -> tuple[str, ...]:
    """Return the words to put before a command that must reach the ports of containers; none for an engine of the user.

    The private engine has its own network: its ports are not on the localhost of the machine, nor the reverse.
    """
    from dynamo_containers.engine import daemon  # see above

    return daemon.network(EnginePaths(folder=folder)) if private(folder) else ()


def private(folder: Path) -> bool:
    """Say whether the engine in use is the private one of the checkout `folder`."""
    used = endpoint.choose(endpoint.detect(EnginePaths(folder=folder)))
    return bool(used and used.private)


def up(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that an engine answers and that it can run `platforms`.

    Raises:
        NoEngineError: no engine answers and a private one cannot run here, or a platform is not supported.
        BusyError: another `engine` command does not end.
    """
    from dynamo_containers.engine import lifecycle  # see above

    paths = EnginePaths(folder=folder)
    with lifecycle.locked(paths):
        lifecycle.up(paths, platforms)


def ready_for(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that the engine can build and store an image of these platforms.

    Raises:
        NoEngineError: it cannot run one of them, or cannot store images of several platforms.
    """
    from dynamo_containers.platforms import native_platform

    if platforms == (native_platform(),):
        return  # the usual case needs no query
    from dynamo_containers.engine import lifecycle

    paths = EnginePaths(folder=folder)
    with lifecycle.locked(paths):
        lifecycle.ready_for(paths, platforms)


def emulate(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that this machine runs binaries of these platforms, foreign ones with an emulator.

    Raises:
        NoEngineError: it does not, and no emulator can be registered from here; the message names the commands.
    """
    from dynamo_containers.engine import lifecycle  # see above

    paths = EnginePaths(folder=folder)
    with lifecycle.locked(paths):
        lifecycle.emulate(paths, platforms)


def client(folder: Path) -> None:
    """Make sure that there is a docker CLI with buildx; this needs and starts no engine.

    Raises:
        UnsupportedHostError: there is none, and this host is not Debian, which could provide one.
    """
    from dynamo_containers.engine import lifecycle

    paths = EnginePaths(folder=folder)
    if not endpoint.has_tools(os.environ):
        with lifecycle.locked(paths):
            lifecycle.ensure_client(paths)


def client_buildx(folder: Path) -> tuple[str, ...]:
    """Return the beginning of a buildx call that needs no engine: the buildx of the user, or a private one from Debian.

    Raises:
        UnsupportedHostError: there is none, and this host is not Debian, which could provide one.
    """
    paths = EnginePaths(folder=folder)
    plugin = endpoint.buildx_plugin(os.environ)
    if plugin is None:
        client(folder)
        plugin = paths.client / endpoint.PRIVATE_PLUGINS / endpoint.BUILDX
    return (str(plugin),)


def status(folder: Path) -> Result:
    """Report the engine in use: why it is used, its versions, platforms and disk space.

    Raises:
        NoEngineError: no engine answers.
    """
    from dynamo_containers.engine import status_report  # see above

    return status_report.status(EnginePaths(folder=folder))


def down(folder: Path, *, purge: bool = False) -> None:
    """Stop the private engine, if it runs; never an engine of the user. `purge` removes its images and files."""
    from dynamo_containers.engine import lifecycle

    paths = EnginePaths(folder=folder)
    with lifecycle.locked(paths):
        lifecycle.down(paths)
        if purge and paths.private.exists():
            progress.say(f"Removing {state.ENGINE}")
            shutil.rmtree(paths.private)
            shutil.rmtree(folder / state.STEPS, ignore_errors=True)  # the images are removed
            state.forget_builds(folder)
