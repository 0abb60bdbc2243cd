"""Builds with caches, with several builders, or pushed to a registry."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import engine, process, progress
from dynamo_containers.builds import cache_probe
from dynamo_containers.builds.cache_probe import Engine
from dynamo_containers.errors import CommandFailedError, NoEngineError
from dynamo_containers.facts import user_config
from dynamo_containers.plan import bake, builders, caches, distributed
from dynamo_containers.plan.builders import DOCKER, Share
from dynamo_containers.plan.caches import Caches, name_of
from dynamo_containers.plan.distributed import Pushed, Wide
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import input_digests
from dynamo_containers.process import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.builds.run import Wish
    from dynamo_containers.inspect.report.recorder import Recorder
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.distributed import Part, Work
    from dynamo_containers.platforms import Platform
    from dynamo_containers.process import Document


@dataclass(frozen=True, kw_only=True)
class Wider:
    """What is built, and with what."""

    request: Request
    facts: Facts
    environment: Mapping[str, str]
    registry: str

    @property
    def buildx(self) -> tuple[str, ...]:
        """Return the words that call buildx."""
        return engine.buildx(self.environment)


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What is other than in an ordinary build."""

    request: Request
    caches: Caches
    builders: Mapping[str, tuple[Platform, ...]]
    """Builder -> what it builds; '' for the engine in use."""
    registry: str

    @property
    def here(self) -> tuple[Platform, ...]:
        """Return what the engine in use builds."""
        return self.builders.get("", ())

    def perform(
        self, facts: Facts, environment: Mapping[str, str], noting: Recorder, *, dry_run: bool
    ) -> Document | None:
        """Build; see `perform`."""
        wider = Wider(request=self.request, facts=facts, environment=environment, registry=self.registry)
        return perform(wider, self.caches, self.builders, noting, dry_run=dry_run)


def ways(request: Request, wish: Wish, variables: Mapping[str, str]) -> Ways | None:
    """Return what words and files of this machine say of a request; None: it is an ordinary build after all.

    Raises:
        UsageError: a word or a file is wrong.
    """
    write = caches.BY_ROW if wish.write is True else wish.write or ""
    wished = caches.wanted(request, caches.load(variables), wish.read, write)
    default = variables.get(user_config.BUILDX_BUILDER, "")
    named = builders.named(request.platforms, builders.load(variables), default)
    if set(named) == {""} and not (wished.read or wished.write or wish.push):
        return None
    return Ways(request=request, caches=wished, builders=named, registry=wish.push)


def perform(
    wider: Wider, wished: Caches, named: Mapping[str, tuple[Platform, ...]], noting: Recorder, *, dry_run: bool
) -> Document | None:
    """Build; return the bake document of what is in the engine's own store, None where nothing is.

    Raises:
        FatalError: any of the foreseen failures; then nothing has a tag in the registry.
    """
    known = builders.parse(process.capture(_ask(wider, builders.LIST))) if set(named) != {""} else {}
    shares = builders.shares(named, known, native_platform())
    distributed.check(shares, wider.registry)
    every = [_wide(wider, share, wished, dry_run=dry_run) for share in shares]
    works = _planned(wider, every, noting)
    with _watched(wider, shares):
        for work in works:
            _copy_sources(work, dry_run=dry_run)
        works = _built(wider, every, works, noting, dry_run=dry_run)
    if not dry_run:
        for wide, work in zip(every, works, strict=True):
            _said_of_caches(wider, wide, work)
        content = bake.bake(wider.request, wider.facts)
        for record in input_digests.records(wider.request, wider.facts, content):
            process.write(record)
    if wider.registry:
        _merge(wider, works, dry_run=dry_run)
        if not dry_run:
            noting.pushed(wider.request, wider.facts.version, wider.registry)
    return None if wider.registry or shares[0].builder else _noted(works[0])


def _planned(wider: Wider, every: list[Wide], noting: Recorder) -> list[Work]:
    """Return what each machine does, with its documents written and the machines noted."""
    works = [_work(wider, wide) for wide in every]
    for document in (each for work in works for each in work.documents):
        process.write(document)
    machines = (distributed.called(wide, work) for wide, work in zip(every, works, strict=True))
    noting.building(wider.facts, wider.environment, tuple(machines))
    return works


def _noted(work: Work) -> Document:
    """Return the document of a build under the name by which its metadata are found, where those are of one file."""
    first = work.parts[0].metadata
    return replace(work.document, path=first if len(work.parts) == 1 else work.document.path.with_suffix(".wide"))


@contextmanager
def _watched(wider: Wider, shares: tuple[Share, ...]) -> Iterator[None]:
    """Tell a build that failed from a builder that went away in the middle of it."""
    try:
        yield
    except CommandFailedError as error:
        used = [share.builder.name for share in shares if share.builder]
        known = builders.parse(process.capture(_ask(wider, builders.LIST))) if used else {}
        gone = builders.gone(shares, known)
        if not gone:
            raise
        message = (
            f"{error}\n{gone} does not answer any more. Nothing got a tag in a registry, and what the others built is "
            f"kept.\nWhen it is back, run the same command again. Look at it with: docker buildx inspect {used[0]}"
        )
        raise NoEngineError(message) from None


def _ask(wider: Wider, words: tuple[str, ...]) -> process.Command:
    return process.Command(argv=(*wider.buildx, *words), env=dict(wider.environment))


def _wide(wider: Wider, share: Share, wished: Caches, *, dry_run: bool) -> Wide:
    """Return what one machine builds, with the caches that answer it."""
    request = replace(wider.request, platforms=share.platforms)
    facts = replace(wider.facts, native=share.native)
    wide = Wide(request=request, facts=facts, share=share, registry=wider.registry)
    own = caches_of(wished, wider.request, request)
    if dry_run or not (own.read or own.write):
        return replace(wide, caches=own)
    usable, lines = cache_probe.usable(_engine(wider, share), own)
    for line in lines:
        _say(line)
    return replace(wide, caches=usable)


def caches_of(wished: Caches, every: Request, one: Request) -> Caches:
    """Return the caches of one machine's share: what it writes is named by its own platforms."""
    if every.platforms == one.platforms:
        return wished
    images = {image.name: image for image in one.images}
    write = {
        name: replace(cache, name=name_of(images[name], one.stage, one.bases, one.platforms))
        for name, cache in wished.write.items()
    }
    return replace(wished, write=write)


def _engine(wider: Wider, share: Share) -> Engine:
    variables = share.builder.variables if share.builder else {}
    environment = {**wider.environment, **variables}
    return Engine(buildx=wider.buildx, environment=environment, folder=wider.request.catalogue.folder)


def _work(wider: Wider, wide: Wide) -> Work:
    content = bake.bake(wide.request, wide.facts)
    texts = {name: file.read_text(encoding="utf-8") for name, file in distributed.dockerfiles(content).items()}
    return distributed.work(wide, content, texts, wider.environment, wider.buildx)


def _copy_sources(work: Work, *, dry_run: bool) -> None:
    """Copy the trees of sources out; what was copied before is no part of them."""
    if work.copying is None:
        return
    for folder in () if dry_run else work.copying.folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    process.execute(Plan(commands=(work.copying.command,)), dry_run=dry_run)


def _built(wider: Wider, every: list[Wide], works: list[Work], noting: Recorder, *, dry_run: bool) -> list[Work]:
    """Let every machine build; return the works that were done: other ones where a cache was at fault."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    try:
        _at_once(works, dry_run=dry_run)
    except CommandFailedError:
        faults = [cache_probe.reading_fault(_engine(wider, wide.share), wide.caches.read, since) for wide in every]
        if not any(faults):
            raise
        for fault in dict.fromkeys(filter(None, faults)):
            _say(f"{fault} The build goes on without it.")
        for wide in every:
            _forget(wider, wide)
        without = [replace(wide, caches=replace(wide.caches, read=())) for wide in every]
        again = _planned(wider, without, noting)
        _at_once(again)
        return again
    return works


def _at_once(works: list[Work], *, dry_run: bool = False) -> None:
    """Let every machine build at the same time, image by image; a single one has the terminal for itself."""
    for parts in zip(*(work.parts for work in works), strict=True):
        commands = {work.name: part.command for work, part in zip(works, parts, strict=True)}
        if dry_run or len(commands) == 1:
            process.execute(Plan(commands=tuple(commands.values())), dry_run=dry_run)
        else:
            process.run_parallel(commands)


def _forget(wider: Wider, wide: Wide) -> None:
    """Take the tags of images that came half from a cache: the engine names an image before it has all of it."""
    if wider.registry or (wide.share.builder and wide.share.builder.driver != DOCKER):
        return
    request = wide.request
    tags = (
        bake.tag(image, request.stage, request.bases, request.platforms, wide.facts.version) for image in request.images
    )
    environment = _engine(wider, wide.share).environment
    for tag in tags:
        process.query(process.Command(argv=("docker", "image", "rm", "--force", tag), env=environment), seconds=60)


def _said_of_caches(wider: Wider, wide: Wide, work: Work) -> None:
    """Say it in one line when a cache was not written; a build does not fail for that."""
    for part in work.parts:
        cache = wide.caches.write.get(part.image.name)
        made = distributed.made(part, part.metadata.read_text(encoding="utf-8"))
        reference = str(made.get("buildx.build.ref", ""))
        why = cache_probe.writing_fault(_engine(wider, wide.share), reference) if cache and reference else ""
        if cache and why:
            _say(f"The build cache {cache.reference} was not written: {why}. The image is built all the same.")


def _merge(wider: Wider, works: list[Work], *, dry_run: bool) -> None:
    """Give what every machine pushed one index and its tag, now that all of it is there."""
    digests = {
        image.name: tuple(_digest(image.name, work, dry_run=dry_run) for work in works)
        for image in wider.request.images
    }
    pushed = Pushed(request=wider.request, version=wider.facts.version, registry=wider.registry, digests=digests)
    commands = distributed.merges(pushed, wider.buildx, wider.environment)
    process.execute(Plan(commands=commands), dry_run=dry_run)


def _digest(image: str, work: Work, *, dry_run: bool) -> str:
    part: Part = next(part for part in work.parts if part.image.name == image)
    if dry_run:
        return f"(the digest in {part.metadata.name})"
    return str(distributed.made(part, part.metadata.read_text(encoding="utf-8"))[bake.DIGEST])


def _say(line: str) -> None:
    progress.say(line)
