"""`invoke engine.up | engine.status | engine.down`: a Docker Engine for this checkout.

A running Docker Engine is used as it is found. Where there is none, `up` provides a private one from Debian's packages.
What only `up` and `down` need is imported when they are called: every other task calls `environment` first.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import progress, state
from dynamo_containers.engine import endpoint
from dynamo_containers.engine.paths import Place
from dynamo_containers.errors import CommandFailedError, NoEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.engine.docker_cli import Docker
    from dynamo_containers.platforms import Platform
    from dynamo_containers.result import Result

__all__ = [
    "buildx",
    "client",
    "client_buildx",
    "docker",
    "down",
    "emulate",
    "environment",
    "images",
    "network",
    "private",
    "ready_for",
    "status",
    "up",
    "watched",
]


def environment(folder: Path) -> dict[str, str]:
    """Return what must be added to the environment of every docker call from the checkout `folder`.

    Raises:
        NoEngineError: there is no engine, or no docker CLI with buildx; with what to run.
    """
    return endpoint.environment(Place(folder=folder))


def buildx(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the beginning of a buildx call, given the variables of `environment`."""
    return endpoint.buildx_call(environment)


def docker(folder: Path) -> Docker:
    """Return the docker CLI and buildx for the engine in use.

    Raises:
        NoEngineError: there is no engine, or no docker CLI with buildx; the message names the command to run.
    """
    from dynamo_containers.engine import docker_cli  # see above

    return docker_cli.connect(Place(folder=folder))


def images(environment: Mapping[str, str]) -> dict[str, str]:
    """Return tag -> digest of the images in the engine, given the variables of `environment`.

    Raises:
        CommandFailedError: the engine does not answer.
    """
    from dynamo_containers.engine.docker_cli import Docker  # see above

    return Docker(environment=environment, buildx=()).images()


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Tell a build that failed from an engine that went away in the middle of it.

    Raises:
        NoEngineError: a command failed, and the engine does not answer any more.
    """
    used = endpoint.choose(endpoint.look(Place(folder=folder)))
    try:
        yield
    except CommandFailedError as error:
        if used is None or endpoint.answers(used.host):
            raise
        message = (
            f"{error}\nThe Docker Engine stopped answering in the middle of this.\n"
            f"Why may stand in {Place(folder=folder).log}. What was built until then is kept.\n"
            "Start the engine again, and go on: invoke engine.up"
        )
        raise NoEngineError(message) from None


def network(folder: Path) -> tuple[str, ...]:
    """Return the words to put in front of a command that must see the ports of containers: none for a user's engine.

    The private engine has a network of its own: what listens there is not at the machine's localhost, nor the reverse.
    """
    from dynamo_containers.engine import daemon  # see above

    return daemon.network(Place(folder=folder)) if private(folder) else ()


def private(folder: Path) -> bool:
    """Say whether the engine in use is the private one of the checkout `folder`."""
    used = endpoint.choose(endpoint.look(Place(folder=folder)))
    return bool(used and used.private)


def up(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that an engine answers and that it can run `platforms`.

    Raises:
        NoEngineError: none answers and a private one cannot run here, or a platform cannot be run.
        BusyError: another `engine` command does not end.
    """
    from dynamo_containers.engine import lifecycle  # see above

    place = Place(folder=folder)
    with lifecycle.locked(place):
        lifecycle.up(place, platforms)


def ready_for(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that the engine that answers can build and keep an image of these platforms.

    Raises:
        NoEngineError: it cannot run one of them, or keeps no images of several platforms.
    """
    from dynamo_containers.platforms import native_platform

    if platforms == (native_platform(),):
        return  # the daily case asks nothing
    from dynamo_containers.engine import lifecycle

    place = Place(folder=folder)
    with lifecycle.locked(place):
        lifecycle.ready_for(place, platforms)


def emulate(folder: Path, platforms: tuple[Platform, ...]) -> None:
    """Make sure that this machine runs the programs of these platforms, emulated where they are foreign.

    Raises:
        NoEngineError: it does not and cannot be taught from here; with how to do it.
    """
    from dynamo_containers.engine import lifecycle  # see above

    place = Place(folder=folder)
    with lifecycle.locked(place):
        lifecycle.emulate(place, platforms)


def client(folder: Path) -> None:
    """Make sure that there is a docker CLI with buildx; no engine is needed or started.

    Raises:
        UnsupportedHostError: there is none, and this is no Debian from which one could be had.
    """
    from dynamo_containers.engine import lifecycle

    place = Place(folder=folder)
    if not endpoint.has_tools(os.environ):
        with lifecycle.locked(place):
            lifecycle.ensure_client(place)


def client_buildx(folder: Path) -> tuple[str, ...]:
    """Return the words that call buildx for what needs no engine: the user's own, or a private one from Debian.

    Raises:
        UnsupportedHostError: there is none, and this is no Debian from which one could be had.
    """
    place = Place(folder=folder)
    plugin = endpoint.buildx_plugin(os.environ)
    if plugin is None:
        client(folder)
        plugin = place.client / endpoint.PRIVATE_PLUGINS / endpoint.BUILDX
    return (str(plugin),)


def status(folder: Path) -> Result:
    """Report the engine in use: why it is used, its versions, platforms and disk space.

    Raises:
        NoEngineError: no engine answers.
    """
    from dynamo_containers.engine import status_report  # see above

    return status_report.status(Place(folder=folder))


def down(folder: Path, *, purge: bool = False) -> None:
    """Stop the private engine, if one runs; a user's own is never touched. `purge` removes its images and programs."""
    from dynamo_containers.engine import lifecycle

    place = Place(folder=folder)
    with lifecycle.locked(place):
        lifecycle.down(place)
        if purge and place.private.exists():
            progress.say("Removing .engine")
            shutil.rmtree(place.private)
            shutil.rmtree(folder / state.STEPS, ignore_errors=True)  # what was built is no longer there
            state.forget_builds(folder)
