"""State before a build: current locks, and the images in the engine; read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import engine, progress
from dynamo_containers.builds import up_to_date
from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import CommandFailedError, FatalError, NoEngineError
from dynamo_containers.inspect.report import recorder
from dynamo_containers.plan import bake
from dynamo_containers.plan.request import BuildPart
from dynamo_containers.prepare import input_digests, inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import Drift
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.request import Request
    from dynamo_containers.prepare.inputs import CompleteInputs, OfflineInputs


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The state before an ordinary build, read without making files."""

    offline: tuple[OfflineInputs, ...]
    docker: Docker
    plan: BuildPlan | None = None
    """The plan of the build, if nothing has to be made or fetched first."""
    drift: tuple[tuple[Drift, ...], ...] = ()
    """The drift of each request of that plan."""
    existing: Mapping[str, str]
    """Target -> digest of its image, if all images were built here from the present inputs."""
    is_up_to_date: bool
    """Whether the engine has all of these images."""
    is_one_graph: bool
    """Whether several stages are built as one graph: every target had its present inputs at the last build, and the
    engine has images with these tags."""


def examine(requests: Sequence[Request], *, dry_run: bool) -> Preflight:
    """Examine the state before a build. A failure is written into a report.

    Raises:
        LockError: a lock of a request is missing or stale.
        NoEngineError: no engine answers.
    """
    try:
        offline = inputs.offline_inputs(requests)
        docker = docker_for(requests[0].catalogue.folder, dry_run=dry_run)
        if dry_run:  # a dry run prints the commands in any case
            return Preflight(offline=offline, docker=docker, existing={}, is_up_to_date=False, is_one_graph=False)
        complete = [inputs.existing_inputs(*pair) for pair in zip(requests, offline, strict=True)]
    except FatalError:
        with recorder.recording(*requests, dry_run=dry_run):
            raise
    return _compare(requests, offline, complete, docker)


def _compare(
    requests: Sequence[Request],
    offline: tuple[OfflineInputs, ...],
    complete: Sequence[CompleteInputs | None],
    docker: Docker,
) -> Preflight:
    """Compare the present inputs with the records of earlier builds, and those with the images in the engine."""
    existing = [request_inputs for request_inputs in complete if request_inputs]
    is_complete = len(existing) == len(requests)
    build_inputs = (
        [request_inputs.inputs for request_inputs in existing] if is_complete else [row.inputs for row in offline]
    )
    parts = [BuildPart(*pair) for pair in zip(requests, build_inputs, strict=True)]
    plan = bake.build_plan(*parts) if is_complete or len(requests) > 1 else None
    # Files that have to be made or fetched first may differ from the earlier ones.
    images = (up_to_date.existing_images(plan) if plan and is_complete else None) or {}
    may_be_one = len(requests) > 1 and plan is not None and input_digests.is_unchanged(plan)
    stored = _stored(docker) if images or may_be_one else {}
    return Preflight(
        offline=offline,
        docker=docker,
        plan=plan if is_complete else None,
        drift=tuple(request_inputs.drift for request_inputs in existing) if is_complete else (),
        existing={target: image.digest for target, image in images.items()},
        is_up_to_date=bool(images) and all(stored.get(image.tag) == image.digest for image in images.values()),
        is_one_graph=may_be_one and plan is not None and plan.tags <= stored.keys(),
    )


def docker_for(folder: Path, *, dry_run: bool) -> Docker:
    """Return the docker CLI of the engine in use; a dry run needs no engine.

    Raises:
        NoEngineError: no engine answers.
    """
    try:
        return engine.docker(folder)
    except NoEngineError:
        if not dry_run:
            raise
        progress.say("No Docker Engine answers: to run this, start one first (invoke engine.up)")
        return Docker(environment={}, buildx=("docker", "buildx"))


def _stored(docker: Docker) -> dict[str, str]:
    """Return tag -> digest of the images that the engine has."""
    try:
        return docker.images()
    except CommandFailedError:
        return {}  # the build itself fails with the reason
