"""Calls of bake that a build makes, by machine, with their documents.

An ordinary build is one call on the engine in use. With caches there is a call for each image, and of several builders
each is called by itself (builds/distributed.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamo_containers.engine.build_refs import EVERYWHERE
from dynamo_containers.plan import bake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.plan.bake import Request
    from dynamo_containers.platforms import Platform
    from dynamo_containers.process import Document


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of bake."""

    metadata: Path
    """Where it says what it made, once it did."""
    wanted: str
    """A target that it ends in."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one machine is called for."""

    targets: Mapping[str, Any]
    """The targets of the graph, step by step."""
    calls: tuple[Call, ...]
    request: Request
    """What is asked of it: a stage of images, for its platforms."""
    tops: Mapping[str, str]
    """Image -> its target."""
    tags: Mapping[str, str]
    """Image -> what it is called."""
    pushed: Mapping[str, str] = field(default_factory=dict)
    """Image -> its name in the registry that it is pushed to, without a tag."""
    name: str = ""
    """How people call the machine; '' where it is the engine in use alone, in an ordinary build."""
    place: str = EVERYWHERE
    """BUILDER/NODE, as buildx's state has it."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the environment of a docker call has for it besides that of the engine in use; none for that one."""
    there: Mapping[str, str] = field(default_factory=dict)
    """Target -> digest of images that are up to date, where nothing is called."""
    joined: bool = False
    """Whether its steps are stages of one Dockerfile (plan/merged_dockerfile.py)."""

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Return what it builds for."""
        return self.request.platforms

    def made(self) -> dict[str, Any]:
        """Return what bake noted of the targets when it ended well."""
        files = (call.metadata for call in self.calls)
        made = {key: row for file in files if file.is_file() for key, row in json.loads(file.read_bytes()).items()}
        return made | {target: {bake.DIGEST: digest} for target, digest in self.there.items()}


def ordinary(
    requests: Iterable[Request], document: Document, there: Mapping[str, str] | None = None
) -> tuple[Machine, ...]:
    """Return what the engine in use is called for in an ordinary build, stage by stage.

    Args:
        requests: the stages.
        document: their bake document.
        there: target -> digest of the images, where all are up to date and nothing is called; None where it is.
    """
    content = json.loads(document.text)
    wanted = iter(content["group"]["default"]["targets"])
    # As many of them as a stage has images: the document has them in the order of the requests.
    return tuple(
        _ordinary(request, document, content["target"], {image.name: next(wanted) for image in request.images}, there)
        for request in requests
    )


def _ordinary(
    request: Request,
    document: Document,
    targets: Mapping[str, Any],
    tops: Mapping[str, str],
    there: Mapping[str, str] | None,
) -> Machine:
    call = Call(metadata=bake.metadata(document.path), wanted=next(iter(tops.values())))
    return Machine(
        targets=targets,
        calls=(call,) if there is None else (),
        there=there or {},
        request=request,
        tops=tops,
        tags={name: targets[top]["tags"][0] for name, top in tops.items()},
    )
