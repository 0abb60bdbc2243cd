"""The state before a build: locks and the images in the engine, read once."""

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
    from dynamo_containers.prepare.inputs import OfflineInputs


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The state before an ordinary build, while nothing is made for it."""

    offline: tuple[OfflineInputs, ...]
    docker: Docker
    plan: BuildPlan | None = None
    """The plan of the build, where nothing has to be made or fetched first."""
    drift: tuple[tuple[Drift, ...], ...] = ()
    """What drifted, of each request of that plan."""
    existing: Mapping[str, str]
    """Target -> digest of the images, where all were made here from the present inputs."""
    is_up_to_date: bool
    """Whether the engine has them all."""
    is_one_graph: bool
    """Of several stages: whether every target was built last with its present inputs, and the engine has images of
    these names."""


def look(requests: Sequence[Request], *, dry_run: bool) -> Preflight:
    """Look at what is to be built.

    Raises:
        LockError: a lock that one of them needs is missing or stale.
        NoEngineError: there is no engine. Either is in a report.
    """
    try:
        offline = inputs.offline_inputs(requests)
        docker = docker_of(requests[0].catalogue.folder, dry_run=dry_run)
        if dry_run:  # what would run is printed, whatever is there
            return Preflight(offline=offline, docker=docker, existing={}, is_up_to_date=False, is_one_graph=False)
        complete = [inputs.existing_inputs(request, known) for request, known in zip(requests, offline, strict=True)]
    except FatalError:
        with recorder.recording(*requests, dry_run=dry_run):
            raise
    parts = [BuildPart(request, known.inputs) for request, known in zip(requests, offline, strict=True)]
    # What has to be made or fetched first may come out otherwise than it did.
    plan, drift = None, []
    if all(complete):
        drift = [found.drift for found in complete if found]
        parts = [BuildPart(request, found.inputs) for request, found in zip(requests, complete, strict=True) if found]
        plan = bake.build_plan(*parts)
    images = up_to_date.made(plan) if plan else None
    together = plan or (bake.build_plan(*parts) if len(requests) > 1 else None)
    may_be_one = len(requests) > 1 and together is not None and input_digests.is_unchanged(together)
    stored = _stored(docker) if images or may_be_one else {}
    return Preflight(
        offline=offline,
        docker=docker,
        plan=plan,
        drift=tuple(drift),
        existing={target: image.digest for target, image in (images or {}).items()},
        is_up_to_date=bool(images) and all(stored.get(image.tag) == image.digest for image in (images or {}).values()),
        is_one_graph=may_be_one and together is not None and together.tags <= stored.keys(),
    )


def docker_of(folder: Path, *, dry_run: bool) -> Docker:
    """Return the docker CLI of the engine in use; a dry run needs no engine, and says so.

    Raises:
        NoEngineError: there is no engine.
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
        return {}  # the build itself finds out why it does not answer, and says so
