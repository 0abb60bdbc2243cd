"""Smoke tests of an image: check its locks, build its stages, and run its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.builds import preflight
from dynamo_containers.builds import run as build_run
from dynamo_containers.errors import LockError
from dynamo_containers.plan import smoke_tests
from dynamo_containers.prepare import current_locks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request
    from dynamo_containers.platforms import Platform


def run(catalogue: Catalogue, image: str, platform: Platform, arguments: Sequence[str]) -> None:
    """Provide an engine, build the stages of an image, and test them.

    Args:
        catalogue: the catalogue.
        image: the name of the image.
        platform: the platform, emulated if it is foreign.
        arguments: the arguments after the `--` of the session.

    Raises:
        FatalError: any of the foreseen failures.
    """
    options = smoke_tests.parse_options(arguments, catalogue.images[image])
    requests = smoke_tests.requests(catalogue, image, platform)
    check_locks(requests)
    if not options.dry_run:
        engine.up(catalogue.folder, (platform,))
    docker = preflight.docker_for(catalogue.folder, dry_run=options.dry_run)
    parts = build_run.prepare_parts(requests, dry_run=options.dry_run)
    for part in parts:
        build_run.build_part(part, docker, dry_run=options.dry_run)
    tests = smoke_tests.plan(requests, parts[0].inputs.version, docker, gpu=options.gpu)
    if options.dry_run:
        process.execute(tests, dry_run=True)
        return
    with engine.watched(catalogue.folder):
        process.execute(tests)


def check_locks(requests: tuple[Request, ...]) -> None:
    """Check the locks of the requests, before the engine is queried.

    Raises:
        LockError: the image cannot be built; the message has the reason.
    """
    try:
        for request in requests:
            current_locks.check(request)
    except LockError as error:
        message = f"Could not check the image {requests[0].images[0].name}; no test was run.\n{error}"
        raise LockError(message) from None
