"""The state before a build: locks and the images in the engine, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import engine
from dynamo_containers.builds import up_to_date
from dynamo_containers.errors import CommandFailedError, FatalError
from dynamo_containers.inspect.report import recorder
from dynamo_containers.plan import all_stages
from dynamo_containers.prepare import input_digests, inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.builds.up_to_date import Made
    from dynamo_containers.facts.locks.os_lock import Drift
    from dynamo_containers.plan.all_stages import Part
    from dynamo_containers.plan.bake import Request
    from dynamo_containers.prepare.inputs import Known


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of an ordinary build before anything is made for it."""

    parts: tuple[Part, ...]
    """The requests for which nothing has to be made or fetched first, with all facts."""
    drift: tuple[tuple[Drift, ...], ...]
    """What drifted of each of those."""
    known: tuple[Known, ...]
    environment: Mapping[str, str]
    """What docker needs to find its engine."""
    made: Mapping[str, str]
    """Target -> digest of the images, where all were made here of what is there now."""
    is_up_to_date: bool
    """Whether the engine has them all."""
    is_one_graph: bool
    """Of several stages: whether every step was done last with the inputs that it has now, and the engine has images of
    these names."""


def look(requests: Sequence[Request], *, dry_run: bool) -> Seen:
    """Look at what is to be built.

    Raises:
        LockError: a lock that one of them needs is missing or stale.
        NoEngineError: there is no engine. Either is in a report.
    """
    try:
        known = inputs.known_of(requests)
        environment = engine.environment(requests[0].catalogue.folder)
        found = [inputs.found(request, each) for request, each in zip(requests, known, strict=True)]
    except FatalError:
        with recorder.recording(*requests, dry_run=dry_run):
            raise
    stated = [(request, each.facts) for request, each in zip(requests, known, strict=True)]
    # What has to be made or fetched first may come out otherwise than it did.
    whole = [(request, *each) for request, each in zip(requests, found, strict=True) if each]
    every = _made([(request, facts) for request, facts, _ in whole]) if len(whole) == len(requests) else {}
    content = all_stages.bake(stated)
    may_be_one = len(requests) > 1 and input_digests.unchanged(*stated[-1], content)
    stored = _stored(environment) if every or may_be_one else {}
    return Seen(
        parts=tuple((request, facts) for request, facts, _ in whole),
        drift=tuple(drift for *_, drift in whole),
        known=known,
        environment=environment,
        made={target: image.digest for target, image in every.items()},
        is_up_to_date=bool(every) and all(stored.get(image.tag) == image.digest for image in every.values()),
        is_one_graph=may_be_one and all_stages.tags(content) <= stored.keys(),
    )


def _made(parts: Sequence[Part]) -> dict[str, Made]:
    """Return target -> image, where all were made here; nothing where one was not."""
    found: dict[str, Made] = {}
    for part in parts:
        images = up_to_date.made(*part)
        if images is None:
            return {}
        found |= images
    return found


def _stored(environment: Mapping[str, str]) -> dict[str, str]:
    try:
        return engine.images(environment)
    except CommandFailedError:
        return {}  # the build itself finds out why it does not answer, and says so
