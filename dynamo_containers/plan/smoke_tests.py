"""Matrix of smoke tests, and the pytest command of an image.

An image must pass several folders of tests/smoke/: the tests of any image, the contract of each of its stages, and its
own. The images are built before, by the ordinary build plan of each stage.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import DEFAULT_BASES, ImageSelection
from dynamo_containers.plan.request import Request, request_for
from dynamo_containers.process import Command, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.platforms import Platform

TESTS = "tests/smoke"
FOLDERS = {
    Stage.BASE: ("any",),
    Stage.RUNTIME: ("any", "contract"),
    Stage.CI: ("ci", "serving"),
    Stage.DEV: ("dev",),
}
"""Stage -> the folders of tests/smoke/ that every image with this stage must pass, besides its own."""
BACKEND = "backend"
"""The folder that every image with an inference engine must pass; the differences of engines are data of their rows."""
GPU = "gpu"
"""The folder of tests of the engine on a GPU; it is added by `--gpu`."""
DRY_RUN, ON_GPU = "--dry-run", "--gpu"
"""The options after `nox -s smoke-... --`."""


@dataclass(frozen=True, kw_only=True)
class SmokeSession:
    """One session of the matrix: `smoke-<image>` for each of the platforms."""

    session: str
    image: str
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, kw_only=True)
class SmokeOptions:
    """The options after the `--` of a session."""

    dry_run: bool = False
    gpu: bool = False


def parse_options(arguments: Sequence[str], image: Image) -> SmokeOptions:
    """Read the options after the `--` of an image's session.

    Raises:
        UsageError: an option is unknown, or the image has no inference engine to test on a GPU.
    """
    for argument in arguments:
        if argument not in (DRY_RUN, ON_GPU):
            kind, hint = "option of a smoke session", "Options follow `--`."
            raise unknown_name(kind, argument, (DRY_RUN, ON_GPU), hint)
    if ON_GPU in arguments and not image.worker_arguments:
        message = (
            f"The image {image.name} has no inference engine to test on a GPU.\nLeave out {ON_GPU}: it is for images "
            f"whose row in {IMAGES_FILE} has worker-arguments."
        )
        raise UsageError(message)
    return SmokeOptions(dry_run=DRY_RUN in arguments, gpu=ON_GPU in arguments)


def matrix(catalogue: Catalogue) -> tuple[SmokeSession, ...]:
    """Return a session for every image that has tests."""
    return tuple(
        SmokeSession(session=f"smoke-{image.name}", image=image.name, platforms=image.platforms)
        for image in catalogue.images.values()
        if _tested_stages(image)
    )


def _tested_stages(image: Image) -> tuple[Stage, ...]:
    """Return the stages that are built and tested.

    The dev stage of a backend is not among them: it has the steps of the frontend's on other layers, and would cost
    every session of a backend a minute and a GB.
    """
    stages = (stage for stage in Stage if stage in image.stages and stage in FOLDERS)
    return tuple(stage for stage in stages if stage is not Stage.DEV or not image.backend)


def default_bases(image: Image) -> str:
    """Return the bases that an image is tested on: the default ones where it has them, else its first."""
    return DEFAULT_BASES if DEFAULT_BASES in image.bases else image.bases[0]


def requests(catalogue: Catalogue, image: str, platform: Platform, bases: str | None = None) -> tuple[Request, ...]:
    """Return the requests that must be built before the tests of an image can run, lower stages first.

    `bases` defaults to those of `default_bases`.

    Raises:
        UsageError: the image, or this platform or these bases for it, is not in the table.
    """
    if image not in catalogue.images or not _tested_stages(catalogue.images[image]):
        kind = "image"
        raise unknown_name(kind, image, (session.image for session in matrix(catalogue)))
    bases = bases or default_bases(catalogue.images[image])
    selection = ImageSelection(images=[image], platforms=[platform.value], bases=bases)
    return tuple(request_for(catalogue, stage, selection) for stage in _tested_stages(catalogue.images[image]))


def plan(requests: tuple[Request, ...], version: str, docker: Docker, *, gpu: bool = False) -> Plan:
    """Return the command that tests the images of `requests`.

    Args:
        requests: the requests that were built: one image for one platform, one request per stage.
        version: the locked version of Dynamo, which is in the tags (`BuildInputs.version`).
        docker: the docker CLI of the engine in use.
        gpu: whether its inference engine is also tested on a GPU.

    Raises:
        UsageError: the requests are for several images or platforms; each of these has its own results.
    """
    images = {request.images for request in requests}
    platforms = {request.platforms for request in requests}
    if len(images) != 1 or len(platforms) != 1 or len(requests[0].images) != 1 or len(requests[0].platforms) != 1:
        message = "A smoke test is for one image and one platform.\nList the sessions: nox --list"
        raise UsageError(message)
    image, platform, checkout = requests[0].images[0], requests[0].platforms[0], requests[0].catalogue.folder
    results = checkout / state.SMOKE_RESULTS / f"{image.name}-{platform.arch}"
    tags = {
        request.stage: bake.tag(image, request.stage, request.bases, request.platforms, version) for request in requests
    }
    main = Stage.BASE if Stage.BASE in tags else Stage.RUNTIME
    command = Command(
        argv=(
            *(sys.executable, "-m", "pytest"),
            *(str(checkout / TESTS / folder) for folder in (*((GPU,) if gpu else ()), *test_folders(image))),
            *("--image", tags[main]),
            *(("--ci-image", tags[Stage.CI]) if Stage.CI in tags else ()),
            *(("--dev-image", tags[Stage.DEV]) if Stage.DEV in tags else ()),
            *("--image-name", image.name),
            *("--bases", requests[0].bases.name),
            *("--platform", platform.value),
            *("--logs", str(results)),
            *("--junit-xml", f"{results}.xml"),
        ),
        env=docker.environment,
        hint=f"The failures are above and in {results}.xml; the logs of the containers are in {results}/",
    )
    return Plan(commands=(command,))


def test_folders(image: Image) -> tuple[str, ...]:
    """Return the folders of tests/smoke/ that an image must pass, its own last."""
    inherited = dict.fromkeys(folder for stage in _tested_stages(image) for folder in FOLDERS[stage])
    return (*inherited, BACKEND if image.backend else image.name)
