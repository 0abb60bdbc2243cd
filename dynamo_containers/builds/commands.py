"""Commands of `invoke build.*` and `invoke clean`, in one call each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers import engine, process, state
from dynamo_containers.builds import run as build_run
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.plan import all_stages, bake
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.facts.catalogue import Catalogue, Stage
    from dynamo_containers.plan.bake import Request


@dataclass(frozen=True, kw_only=True)
class BuildArguments:
    """Flags of `invoke build.*`."""

    images: Sequence[str] = ()
    platforms: Sequence[str] = ()
    stages: Sequence[str] = ()
    """The stages of `build.all`; () for every one."""
    bases: str = bake.DEFAULT_BASES
    strict: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    """Source (`dynamo`) -> where its wheels come from; '' for the row of images.toml."""
    cache_from: Sequence[str] = ()
    cache_to: str | bool = ""
    """True: to where caches.toml says."""
    push: str = ""


def build(catalogue: Catalogue, stage: Stage | None, arguments: BuildArguments, *, dry_run: bool) -> None:
    """Build a stage of images; without a stage: the stages of `arguments`, as one graph.

    Raises:
        FatalError: any of the foreseeable failures.
    """
    options = build_run.Wish(read=arguments.cache_from, write=arguments.cache_to, push=arguments.push)
    requests = (_request(catalogue, stage, arguments),) if stage else _requests(catalogue, arguments)
    build_run.perform(requests, options, dry_run=dry_run)


def _request(catalogue: Catalogue, stage: Stage, arguments: BuildArguments) -> Request:
    return bake.request(
        catalogue,
        stage,
        images=arguments.images,
        platforms=arguments.platforms,
        bases=arguments.bases,
        strict=arguments.strict,
        sources=arguments.sources,
    )


def _requests(catalogue: Catalogue, arguments: BuildArguments) -> tuple[Request, ...]:
    return all_stages.requests(
        catalogue,
        all_stages.stages(arguments.stages),
        images=arguments.images,
        platforms=arguments.platforms,
        bases=arguments.bases,
        strict=arguments.strict,
        sources=arguments.sources,
    )


def accept_sizes(
    catalogue: Catalogue, *, images: Sequence[str], platforms: Sequence[str], bases: str, stage: str
) -> str:
    """Accept the sizes of images that were built; return them as rows of a budget.

    Raises:
        UsageError: a name is unknown, or the images of the stage have no budget.
        CheckFailedError: the sizes could not be measured.
        CommandFailedError: the engine has no such image, or cannot run it.
    """
    request = bake.request(catalogue, size_check.stage_of(stage), images=images, platforms=platforms, bases=bases)
    facts = inputs.facts(request, dry_run=True)
    environment = engine.environment(catalogue.folder)
    document = bake.plan(request, facts, environment).documents[0]
    return size_check.accept(request, facts, environment, document.text)


def clean(catalogue: Catalogue, *, with_caches: bool, dry_run: bool) -> None:
    """Remove what builds of this checkout left behind; with `with_caches` also named images and every cache.

    Raises:
        NoEngineError: no engine answers.
        CommandFailedError: the engine refuses to remove something.
    """
    from dynamo_containers.builds import clean as clean_up  # no build needs these
    from dynamo_containers.prepare import stale_files

    folder, now = catalogue.folder, time.time()
    environment = engine.environment(folder)
    plan = clean_up.plan(
        environment,
        engine.buildx(environment),
        process.capture(process.Command(argv=clean_up.LIST, env=environment)).split(),
        private=engine.private(folder),
        everything=with_caches,
    )
    paths = (*clean_up.scratch(folder, now), *stale_files.paths(catalogue, now))
    clean_up.clean(folder, paths, plan, dry_run=dry_run)
    if with_caches and not dry_run:
        state.forget_builds(folder)
