"""What is there before a build, of the images that are asked for? Asked once: locks, and the engine for its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import all_stages, engine, prepare, step_inputs, up_to_date
from dynamo_containers.errors import CommandFailedError, FatalError
from dynamo_containers.report import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.all_stages import Part
    from dynamo_containers.build import Request
    from dynamo_containers.prepare import Known


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of an ordinary build before anything is made for it."""

    parts: tuple[Part, ...]
    known: tuple[Known, ...]
    environment: Mapping[str, str]
    """What docker needs to find its engine."""
    made: Mapping[str, str]
    """Target -> digest of the images that are up to date."""
    is_up_to_date: bool
    """Whether all are."""
    is_built: bool
    """Whether every step was done last with the inputs that it has now, and the engine has images of these names."""


def look(requests: Sequence[Request], *, dry_run: bool) -> Seen:
    """Look at what is to be built.

    Raises:
        LockError: a lock that one of them needs is missing or stale.
        NoEngineError: there is no engine. Either is in a report.
    """
    try:
        known = prepare.known_of(requests)
        environment = engine.environment(requests[0].catalogue.folder)
    except FatalError:
        with note.noted(*requests, dry_run=dry_run):
            raise
    parts = tuple((request, each.facts) for request, each in zip(requests, known, strict=True))
    content, stored = all_stages.bake(parts), _stored(environment)
    made = {target: digest for part in parts for target, digest in up_to_date.made(*part, stored).items()}
    return Seen(
        parts=parts,
        known=known,
        environment=environment,
        made=made,
        is_up_to_date=made.keys() == set(content["group"]["default"]["targets"]),
        is_built=all_stages.tags(content) <= stored.keys() and step_inputs.unchanged(*parts[-1], content),
    )


def _stored(environment: Mapping[str, str]) -> dict[str, str]:
    try:
        return engine.images(environment)
    except CommandFailedError:
        return {}  # the build itself finds out why it does not answer, and says so
