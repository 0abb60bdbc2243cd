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
class ContainerOptions:
    """How a container is started."""

    checkouts: Path
    """The folder that holds this checkout and others. A dev image mounts it at /workspace unless `source` is given."""
    source: Path | None = None
    """The folder that is mounted at /workspace; None: the default of the stage."""
    user: int = 1000
    """The UID of the caller. With UID 0 the files of root belong to root in the container too."""
    command: str = ""
    """A command line for the image's shell; '' for an interactive shell."""
    terminal: bool = True
    """Whether the caller has a terminal."""
    gpu: bool = False


def requests(
    catalogue: Catalogue, name: str, stage: str = "", platforms: Sequence[str] = (), bases: str = DEFAULT_BASES
) -> tuple[Request, ...]:
    """Return a request for the given stage of an image, or one for each of its stages, the uppermost first.

    Raises:
        UsageError: a name is unknown, or the image has no stage.
    """
    selection = ImageSelection(images=[name], platforms=platforms, bases=bases)
    return tuple(request_for(catalogue, member, selection) for member in stages_of(catalogue, name, stage))


def stages_of(catalogue: Catalogue, name: str, stage: str) -> tuple[Stage, ...]:
    """Return the given stage of an image; for '' all of its stages, the uppermost first.

    Raises:
        UsageError: the image or its stage does not exist, or the image has none.
    """
    if name not in catalogue.images:
        kind = "image"
        raise unknown_name(kind, name, catalogue.images)
    stages = {member.value: member for member in reversed(Stage) if member in catalogue.images[name].stages}
    if not stages:
        message = f"{name} has no stage yet, so it cannot be started.\nAdd one to its row in {IMAGES_FILE}."
        raise UsageError(message)
    if stage and stage not in stages:
        raise _no_stage(name, stage, stages)
    return (stages[stage],) if stage else tuple(stages.values())


def _no_stage(image: str, stage: str, stages: Mapping[str, Stage]) -> UsageError:
    """Return the error for a stage that an image does not have, or that does not exist."""
    if any(stage == member.value for member in Stage):
        return UsageError(f"{image} has no {stage} stage (choose from: {', '.join(stages)})")
    return unknown_name("stage", stage, stages)


def plan(
    requests: Sequence[Request], version: str, options: ContainerOptions, docker: Docker, built: Collection[str]
) -> Plan:
    """Return the docker command that starts the first image that is built.

    Args:
        requests: the candidates, from `requests`.
        version: the locked version of Dynamo, which is in the tag (`BuildInputs.version`).
        options: how it is started.
        docker: the docker CLI of the engine in use.
        built: the tags that the engine has.

    Raises:
        UsageError: there are several platforms, or no image is built; the message names the command that builds it.
    """
    requests_by_tag = dict(zip(tags(requests, version), requests, strict=True))
    tag = next((tag for tag in requests_by_tag if tag in built), "")
    if not tag:
        message = f"{next(iter(requests_by_tag))} is not in the engine's store.\nBuild it: {build_line(requests[0])}"
        raise UsageError(message)
    request = requests_by_tag[tag]
    (platform,) = request.platforms
    command = Command(
        argv=(
            *("docker", "run", "--rm", "--interactive", "--pull", "never", "--platform", platform.value),
            *(("--tty",) if options.terminal else ()),
            *(("--gpus", "all") if options.gpu else ()),
            *_mount_arguments(options, request.stage),
            tag,
            SHELL,
            *(("-c", options.command) if options.command else ()),
        ),
        env=docker.environment,
        hint="A shell ends with the exit code of its last command.",
    )
    return Plan(commands=(command,))


def tags(requests: Sequence[Request], version: str) -> tuple[str, ...]:
    """Return the tag of each request.

    Raises:
        UsageError: a request has several platforms.
    """
    return tuple(_tag(request, version) for request in requests)


def _tag(request: Request, version: str) -> str:
    if len(request.platforms) != 1:
        message = "A container runs on one platform.\nName one with --platform, or leave it out for this machine's."
        raise UsageError(message)
    return bake.tag(request.images[0], request.stage, request.bases, request.platforms, version)


def _mount_arguments(options: ContainerOptions, stage: Stage) -> tuple[str, ...]:
    source = options.source or (options.checkouts if stage is Stage.DEV else None)
    if source is None:
        return ()
    owner = ("--user", "0:0") if options.user == 0 and stage is Stage.DEV else ()
    return (*owner, "--volume", f"{source}:{WORKSPACE}")


def build_line(*requests: Request) -> str:
    """Return the command line that builds requests: of one stage, or of several."""
    first, stages = requests[0], [request.stage for request in requests]
    names = [image.name for request in requests if request.stage is not Stage.BASE for image in request.images]
    images = [f"--image {name}" for name in dict.fromkeys(names)]
    stage_options = [f"--stage {stage.value}" for stage in stages] if len(stages) not in (1, len(Stage)) else []
    task = f"invoke build.{stages[0].value if len(stages) == 1 else 'all'}"
    platforms = [f"--platform {platform.value}" for platform in first.platforms]
    return " ".join([task, *images, *stage_options, *platforms, f"--bases {first.bases.name}"])
