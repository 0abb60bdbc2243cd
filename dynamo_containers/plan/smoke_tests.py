"""Matrix of smoke tests, and the pytest command of an image.

The folders of tests/smoke/ are inherited along what an image stands on: what holds for any image, the contract of its
stage, and its own. The images are built before, by the ordinary build plan of each stage in `stages`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
RESULTS = ".build/smoke"
FOLDERS = {
    Stage.BASE: ("any",),
    Stage.RUNTIME: ("any", "contract"),
    Stage.CI: ("ci", "serving"),
    Stage.DEV: ("dev",),
}
"""Stage -> the folders of tests/smoke/ that every image with this stage must pass, besides its own."""
BACKEND = "backend"
"""The folder that every image with an inference engine must pass; what an engine has of its own is data of its row."""
GPU = "gpu"
"""The folder of what the engine must do on a GPU, where one is asked for."""
DRY_RUN, ON_GPU = "--dry-run", "--gpu"
"""What may be said after `nox -s smoke-... --`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the session matrix: `smoke-<image>` for each of the platforms."""

    session: str
    image: str
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is said after the `--` of a session."""

    dry_run: bool = False
    gpu: bool = False


def wish(words: Sequence[str], image: Image) -> Wish:
    """Read what is said after the `--` of an image's session.

    Raises:
        UsageError: a word means nothing, or the image has no engine that a GPU could serve with.
    """
    for word in words:
        if word not in (DRY_RUN, ON_GPU):
            message = f'A smoke session knows no "{word}".\nAfter `--` it takes {DRY_RUN} and {ON_GPU}.'
            raise UsageError(message)
    if ON_GPU in words and not image.worker_arguments:
        message = (
            f"The image {image.name} has nothing that needs a GPU.\n{ON_GPU} is for images with an inference engine "
            f"whose row in {IMAGES_FILE} has worker-arguments."
        )
        raise UsageError(message)
    return Wish(dry_run=DRY_RUN in words, gpu=ON_GPU in words)


def matrix(catalogue: Catalogue) -> tuple[Row, ...]:
    """Return a row for every image that has something to test."""
    return tuple(
        Row(session=f"smoke-{image.name}", image=image.name, platforms=image.platforms)
        for image in catalogue.images.values()
        if _tested(image)
    )


def _tested(image: Image) -> tuple[Stage, ...]:
    """Return the stages that are built and tested.

    Of a backend not dev: its steps are the frontend's on other layers, and would cost every session of a backend a
    minute and a GB.
    """
    stages = (stage for stage in Stage if stage in image.stages and stage in FOLDERS)
    return tuple(stage for stage in stages if stage is not Stage.DEV or not image.backend)


def bases_of(image: Image) -> str:
    """Return the bases that an image is tested on: the default ones where it is made on them, else its first."""
    return DEFAULT_BASES if DEFAULT_BASES in image.bases else image.bases[0]


def requests(catalogue: Catalogue, image: str, platform: Platform, bases: str | None = None) -> tuple[Request, ...]:
    """Return what must be built and tagged before the tests of an image can run, lower stages first.

    Without `bases` it is on those of `bases_of`.

    Raises:
        UsageError: the image, or this platform or these bases for it, is not in the table.
    """
    if image not in catalogue.images or not _tested(catalogue.images[image]):
        what = "image"
        raise unknown_name(what, image, (row.image for row in matrix(catalogue)))
    on = bases or bases_of(catalogue.images[image])
    return tuple(
        request_for(catalogue, stage, ImageSelection(images=[image], platforms=[platform.value], bases=on))
        for stage in _tested(catalogue.images[image])
    )


def plan(requests: tuple[Request, ...], version: str, docker: Docker, *, gpu: bool = False) -> Plan:
    """Return the command that tests what `requests` built.

    Args:
        requests: what was built: one image for one platform, one request per stage.
        version: the locked version of Dynamo, which is in the tags (`Facts.version`).
        docker: the docker CLI of the engine in use.
        gpu: whether its inference engine is also tested on a GPU.

    Raises:
        UsageError: the requests are for several images or platforms: each has its own results.
    """
    images = {request.images for request in requests}
    platforms = {request.platforms for request in requests}
    if len(images) != 1 or len(platforms) != 1 or len(requests[0].images) != 1 or len(requests[0].platforms) != 1:
        message = "A smoke test is for one image and one platform.\nSee which there are: nox --list"
        raise UsageError(message)
    image, platform, checkout = requests[0].images[0], requests[0].platforms[0], requests[0].catalogue.folder
    results = checkout / RESULTS / f"{image.name}-{platform.arch}"
    tags = {
        request.stage: bake.tag(image, request.stage, request.bases, request.platforms, version) for request in requests
    }
    main = Stage.BASE if Stage.BASE in tags else Stage.RUNTIME
    command = Command(
        argv=(
            *(sys.executable, "-m", "pytest"),
            *(str(checkout / TESTS / folder) for folder in (*((GPU,) if gpu else ()), *folders(image))),
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
        hint=f"What failed stands above and in {results}.xml; what the containers wrote is in {results}/",
    )
    return Plan(commands=(command,))


def folders(image: Image) -> tuple[str, ...]:
    """Return the folders of tests/smoke/ that an image must pass, its own last."""
    inherited = dict.fromkeys(folder for stage in _tested(image) for folder in FOLDERS[stage])
    return (*inherited, BACKEND if image.backend else image.name)
