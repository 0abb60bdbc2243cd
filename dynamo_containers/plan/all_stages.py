"""Requests for several stages of images, planned as one graph.

The targets of two stages that have one name are one step: the stage that is asked for adds labels, a tag and an output
to it, and the stages above only name it. So each is the image that it would be by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake as plan_bake
from dynamo_containers.plan import source_policy
from dynamo_containers.platforms import Platform, parse_platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.process import Document, Plan

    Part: TypeAlias = tuple[Request, Facts]


def stages(words: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages that words of the command line name, from below; without any: all.

    Raises:
        UsageError: a word is none.
    """
    known = {stage.value: stage for stage in Stage}
    for word in words:
        if word not in known:
            what = "stage"
            raise unknown_name(what, word, known)
    return tuple(stage for stage in Stage if not words or stage.value in words)


def requests(  # noqa: PLR0913 - the words of the command line
    catalogue: Catalogue,
    wanted: Sequence[Stage],
    *,
    images: Sequence[str],
    platforms: Sequence[str],
    bases: str,
    strict: bool = False,
    sources: Mapping[str, str] | None = None,
) -> tuple[Request, ...]:
    """Check the words of the command line and return what they ask for, stage by stage; one that no image has is none.

    Args:
        catalogue: what exists.
        wanted: the stages, from below.
        images: names of images; the base stage, which is below all, goes with any.
        platforms: what they are built for.
        bases: what they stand on.
        strict: makes bases strict that are not by themselves.
        sources: Source (`dynamo`) -> what its wheels are built from.

    Raises:
        LockError, UsageError: as `plan_bake.request` does; or none of the images has any of the stages.
    """
    for what, known, named in (("bases", catalogue.bases, (bases,)), ("image", catalogue.images, images)):
        for name in named:
            if name not in known:
                raise unknown_name(what, name, known)
    having = {stage: _having(catalogue, stage, images, bases) for stage in wanted}
    if not any(having.values()):
        message = f"None of the images has one of the stages {', '.join(stage.value for stage in wanted)} on {bases}."
        raise UsageError(message)
    # One graph is built for the same platforms throughout: those that every image of any stage has.
    every = {name: catalogue.images[name] for names in having.values() for name in names}
    shared = [each for each in Platform if all(each in image.platforms for image in every.values())]
    chosen = [each.value for each in parse_platforms(platforms, shared, images=", ".join(every))]
    return tuple(
        plan_bake.request(catalogue, stage, images=names, bases=bases, platforms=chosen, strict=strict, sources=sources)
        for stage, names in having.items()
        if names
    )


def _having(catalogue: Catalogue, stage: Stage, images: Sequence[str], bases: str) -> list[str]:
    """Return the images that have a stage, of those that are named; the base stage is below them all."""
    rows = catalogue.images.items()
    having = [name for name, image in rows if stage in image.stages and bases in image.bases]
    return [name for name in having if not images or stage is Stage.BASE or name in images]


def bake(parts: Iterable[Part]) -> dict[str, Any]:
    """Return the bake document of several stages."""
    targets: dict[str, dict[str, Any]] = {}
    wanted: list[str] = []
    for request, facts in parts:
        content = plan_bake.bake(request, facts)
        wanted += content["group"]["default"]["targets"]
        for name, target in content["target"].items():
            targets[name] = targets.get(name, {}) | target
    return {"group": {"default": {"targets": wanted}}, "target": targets}


def tags(content: Mapping[str, Any]) -> frozenset[str]:
    """Return what the images of a bake document are called."""
    return frozenset(tag for target in content["target"].values() for tag in target.get("tags", ()))


def plan(
    parts: Sequence[Part],
    content: Mapping[str, Any],
    environment: Mapping[str, str],
    buildx: tuple[str, ...] = ("docker", "buildx"),
    records: tuple[Document, ...] = (),
) -> Plan:
    """Return what builds several stages.

    Args:
        parts: the stages, from below.
        content: their bake document.
        environment: what docker needs to find its engine.
        buildx: how buildx is called.
        records: what is to be written down when it succeeded.
    """
    path = plan_bake.document_path(*(request for request, _ in parts))
    policy = source_policy.merged(source_policy.policy(*part) for part in parts)
    made = plan_bake.Made(path=path, content=content, policy=policy)
    return plan_bake.plan_of(made, *parts[-1], environment, buildx, records)
