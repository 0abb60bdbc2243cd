"""Smoke tests of an image: its locks are checked, its stages are built, and its tests are run."""

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
    """Provide an engine, build the stages of an image, and test them; an image that is up to date is not built again.

    Args:
        catalogue: what exists.
        image: its name.
        platform: what it is tested on, emulated where it is foreign.
        arguments: what was said after the `--` of the session.

    Raises:
        FatalError: any of the foreseen failures.
    """
    options = smoke_tests.parse_options(arguments, catalogue.images[image])
    requests = smoke_tests.requests(catalogue, image, platform)
    check_locks(requests)
    if not options.dry_run:
        engine.up(catalogue.folder, (platform,))
    docker = preflight.docker_of(catalogue.folder, dry_run=options.dry_run)
    parts = build_run.prepared(requests, dry_run=options.dry_run)
    for part in parts:
        build_run.build_part(part, docker, dry_run=options.dry_run)
    tests = smoke_tests.plan(requests, parts[0].inputs.version, docker, gpu=options.gpu)
    if options.dry_run:
        process.execute(tests, dry_run=True)
        return
    with engine.watched(catalogue.folder):
        process.execute(tests)


def check_locks(requests: tuple[Request, ...]) -> None:
    """Look, before an engine is asked for anything, whether what is to be tested can be built at all.

    Raises:
        LockError: it cannot, so nothing was checked; why.
    """
    try:
        for request in requests:
            current_locks.check(request)
    except LockError as error:
        message = f"Could not check the image {requests[0].images[0].name}; no test was run.\n{error}"
        raise LockError(message) from None
