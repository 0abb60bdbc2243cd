"""Plan of `invoke run`: one docker command for a shell in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import DEFAULT_BASES, ImageSelection
from dynamo_containers.plan.request import Request, request_for
from dynamo_containers.process import Command, Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue

WORKSPACE = "/workspace"
"""The working directory of every image (containers/os/Dockerfile)."""
SHELL = "/bin/bash"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a container is to be started."""

    checkouts: Path
    """The folder that a dev image finds at /workspace unless another is named: where this checkout and others stand."""
    source: Path | None = None
    """The folder that is mounted at /workspace; None for none in particular."""
    user: int = 1000
    """The UID of the person who starts it. Root's sources are root's in the container too."""
    command: str = ""
    """A line for the image's shell; '' for a shell to type in."""
    terminal: bool = True
    """Whether the person sits at a terminal."""
    gpu: bool = False


def requests(
    catalogue: Catalogue, name: str, stage: str = "", platforms: Sequence[str] = (), bases: str = DEFAULT_BASES
) -> tuple[Request, ...]:
    """Return what may be meant, the uppermost stage first: the one that is named, or all that the image has.

    Raises:
        UsageError: a word is unknown, or the image has no stage.
    """
    chosen = stages_of(catalogue, name, stage)
    return tuple(
        request_for(catalogue, each, ImageSelection(images=[name], platforms=platforms, bases=bases)) for each in chosen
    )


def stages_of(catalogue: Catalogue, name: str, word: str) -> tuple[Stage, ...]:
    """Return the stages of an image that a word of the command line means, the uppermost first; '' means all.

    Raises:
        UsageError: there is no such image, no such stage, or the image has none.
    """
    if name not in catalogue.images:
        what = "image"
        raise unknown_name(what, name, catalogue.images)
    having = {stage.value: stage for stage in reversed(Stage) if stage in catalogue.images[name].stages}
    if not having:
        message = f"{name} has no stage yet, so there is nothing to look at.\nIt stands in {IMAGES_FILE}."
        raise UsageError(message)
    if word and word not in having:
        raise _no_stage(name, word, having)
    return (having[word],) if word else tuple(having.values())


def _no_stage(image: str, stage: str, stages: Mapping[str, Stage]) -> UsageError:
    """Return the error for a stage that an image does not have, or that does not exist."""
    if any(stage == member.value for member in Stage):
        return UsageError(f"{image} has no {stage} stage (choose from: {', '.join(stages)})")
    return unknown_name("stage", stage, stages)


def plan(requests: Sequence[Request], version: str, wish: Wish, docker: Docker, built: Collection[str]) -> Plan:
    """Return the docker command that starts the first of some images that is built.

    Args:
        requests: what may be meant, as `requests` gives it.
        version: the locked version of Dynamo, which is in the tag (`Facts.version`).
        wish: how it is to be started.
        docker: the docker CLI of the engine in use.
        built: the tags that the engine has.

    Raises:
        UsageError: several platforms, or none is built; with the command that builds it.
    """
    named = dict(zip(tags(requests, version), requests, strict=True))
    tag = next((tag for tag in named if tag in built), "")
    if not tag:
        message = (
            f"{next(iter(named))} is not built, or the engine has forgotten it.\nBuild it: {build_line(requests[0])}"
        )
        raise UsageError(message)
    request = named[tag]
    (platform,) = request.platforms
    command = Command(
        argv=(
            *("docker", "run", "--rm", "--interactive", "--pull", "never", "--platform", platform.value),
            *(("--tty",) if wish.terminal else ()),
            *(("--gpus", "all") if wish.gpu else ()),
            *_mounted(wish, request.stage),
            tag,
            SHELL,
            *(("-c", wish.command) if wish.command else ()),
        ),
        env=docker.environment,
        hint="A shell ends with the exit code of its last command.",
    )
    return Plan(commands=(command,))


def tags(requests: Sequence[Request], version: str) -> tuple[str, ...]:
    """Return the tags of what may be meant, in its order.

    Raises:
        UsageError: several platforms.
    """
    return tuple(_tag(request, version) for request in requests)


def _tag(request: Request, version: str) -> str:
    if len(request.platforms) != 1:
        message = "A container runs on one platform.\nName one, or none for this machine's own."
        raise UsageError(message)
    return bake.tag(request.images[0], request.stage, request.bases, request.platforms, version)


def _mounted(wish: Wish, stage: Stage) -> tuple[str, ...]:
    source = wish.source or (wish.checkouts if stage is Stage.DEV else None)
    if source is None:
        return ()
    owner = ("--user", "0:0") if wish.user == 0 and stage is Stage.DEV else ()
    return (*owner, "--volume", f"{source}:{WORKSPACE}")


def build_line(*requests: Request) -> str:
    """Return the command line that builds what requests name: of one stage, or of several (plan/all_stages.py)."""
    first, stages = requests[0], [request.stage for request in requests]
    every = [image for request in requests if request.stage is not Stage.BASE for image in request.images]
    images = [f"--image {name}" for name in dict.fromkeys(image.name for image in every)]
    chosen = [f"--stage {stage.value}" for stage in stages] if len(stages) not in (1, len(Stage)) else []
    task = f"invoke build.{stages[0].value if len(stages) == 1 else 'all'}"
    platforms = [f"--platform {platform.value}" for platform in first.platforms]
    return " ".join([task, *images, *chosen, *platforms, f"--bases {first.bases.name}"])
