"""`invoke build.*`: a request is planned, built, recorded and checked against its budget."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import engine, file_lock, process, progress
from dynamo_containers.builds import diagnosis, preflight, up_to_date
from dynamo_containers.errors import CheckFailedError
from dynamo_containers.facts import user_config
from dynamo_containers.inspect.report import recorder
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.plan import all_stages, bake, bake_calls
from dynamo_containers.prepare import disk_space, input_digests, inputs
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.builds.distributed import Ways
    from dynamo_containers.builds.preflight import Seen
    from dynamo_containers.inspect.report.recorder import Recorder
    from dynamo_containers.plan.all_stages import Part
    from dynamo_containers.plan.bake import Request
    from dynamo_containers.prepare.inputs import Known

PREPARES = ".build/prepare.lock"
"""Held while root images, programs and packages are made: each of them once."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line says beside what is to be built."""

    read: Sequence[str] = ()
    """Where caches are read (`caches.wanted`)."""
    write: str | bool = ""
    """Where they are written; True: where the rows say."""
    push: str = ""
    """The registry that the images go to; '' for the engine's own store."""

    @property
    def words(self) -> tuple[str, ...]:
        """Return it as the command line says it."""
        read = (word for each in self.read for word in ("--cache-from", each))
        write = ("--cache-to",) if self.write is True else ("--cache-to", self.write) if self.write else ()
        return (*read, *write, *(("--push", self.push) if self.push else ()))


def perform(requests: Sequence[Request], wish: Wish, *, dry_run: bool) -> None:
    """Build a stage of images, or several; note what was built, and check its size.

    Images that are up to date are left alone (docs/adr/0030). Several stages are one graph where no step changed.
    Otherwise each is built by itself: an engine would unpack what they share once for each of them, at the same time
    (docs/adr/0028). So are those with caches, builders or a registry, which know of one stage.

    Raises:
        FatalError: any of the foreseen failures.
    """
    began = time.perf_counter()
    seen = None if _is_wider(wish) else preflight.look(requests, dry_run=dry_run)
    if len(requests) > 1 and not (seen and (seen.is_up_to_date or seen.is_one_graph)):
        for request in requests:
            perform((request,), wish, dry_run=dry_run)
        return
    with recorder.recording(*requests, options=wish.words, dry_run=dry_run, started=began) as noting:
        if seen and seen.is_up_to_date and not dry_run:
            _leave(seen, noting)
        else:
            _perform(requests, wish, noting, seen, dry_run=dry_run)


def _perform(requests: Sequence[Request], wish: Wish, noting: Recorder, seen: Seen | None, *, dry_run: bool) -> None:
    first = requests[0]
    folder = first.catalogue.folder
    environment = seen.environment if seen else engine.environment(folder)
    ways = _ways(first, wish)
    here = first.platforms if ways is None else ways.here
    if not dry_run and here:
        engine.ready_for(folder, here)
    parts = prepared(requests, seen.known if seen else (), dry_run=dry_run)
    with _at_work(requests, dry_run=dry_run):
        if ways is None:
            document: Document | None = _ordinary(parts, environment, noting, dry_run=dry_run)
        else:
            document = ways.perform(parts[0][1], environment, noting, dry_run=dry_run)
    if dry_run:
        return
    noting.measuring()
    for part in parts:
        disk_space.remember_request(*part)
    if document:
        made = bake.digests(document.path)
        _check_sizes(parts, environment, document, made)


def _leave(seen: Seen, noting: Recorder) -> None:
    """Say that images are up to date; their sizes may still be over a budget that changed.

    Raises:
        CheckFailedError: one is over its budget.
        LockError: the bases are strict, and something drifted.
    """
    for (request, _), drift in zip(seen.parts, seen.drift, strict=True):
        inputs.say_drift(request, drift)
    content = all_stages.bake(seen.parts)
    requests = [request for request, _ in seen.parts]
    document = Document(path=bake.document_path(*requests), text=bake.text_of(content))
    noting.up_to_date(seen.parts[0][1], seen.environment, bake_calls.ordinary(requests, document, seen.made))
    for tag in sorted(all_stages.tags(content)):
        progress.say(f"{tag} is up to date")
    _check_sizes(seen.parts, seen.environment, document, seen.made)


def _check_sizes(
    parts: Sequence[Part], environment: Mapping[str, str], document: Document, made: Mapping[str, str]
) -> None:
    faults = []
    for part in parts:
        try:
            size_check.check(*part, environment, document.text, made)
        except CheckFailedError as error:
            faults.append(str(error))
    if faults:
        raise CheckFailedError("\n".join(faults))


def _is_wider(wish: Wish) -> bool:
    """Say whether anything is other than in an ordinary build."""
    said = wish.read or wish.write or wish.push or os.environ.get(user_config.BUILDX_BUILDER)
    files = (user_config.CACHES, user_config.BUILDERS)
    return bool(said) or any(user_config.there(os.environ, *file) for file in files)


def _ways(request: Request, wish: Wish) -> Ways | None:
    """Return what is other than in an ordinary build, which imports none of it; None for such a one."""
    if not _is_wider(wish):
        return None
    from dynamo_containers.builds import distributed as distributed_run

    return distributed_run.ways(request, wish, os.environ)


def prepared(requests: Sequence[Request], known: Sequence[Known] = (), *, dry_run: bool) -> tuple[Part, ...]:
    """Make what requests are built from, while no other build of this checkout does.

    Args:
        requests: what is to be built.
        known: what is known of each already; nothing to find out.
        dry_run: make nothing.

    Raises:
        FatalError: any of the foreseen failures.
    """
    file = requests[0].catalogue.folder / PREPARES
    with _alone(file, "another build of this checkout, which makes what both need", dry_run=dry_run):
        each = zip(requests, known or inputs.known_of(requests), strict=True)
        return tuple((request, inputs.facts(request, known, dry_run=dry_run)) for request, known in each)


def build_prepared(part: Part, environment: Mapping[str, str], *, dry_run: bool) -> None:
    """Build a stage that was prepared as an ordinary one, and note what was built.

    Raises:
        FatalError: any of the foreseen failures.
    """
    request, facts = part
    with recorder.recording(request, dry_run=dry_run) as noting:
        with _at_work((request,), dry_run=dry_run):
            _ordinary((part,), environment, noting, dry_run=dry_run)
        if not dry_run:
            noting.measuring()
            disk_space.remember_request(request, facts)


@contextmanager
def _at_work(requests: Sequence[Request], *, dry_run: bool) -> Iterator[None]:
    """Keep others from building the same meanwhile, and tell why an engine fails."""
    folder, path = requests[0].catalogue.folder, bake.document_path(*requests)
    with ExitStack() as stack:
        holder = f"another build of {path.stem.removeprefix('bake-')}"
        stack.enter_context(_alone(path.with_suffix(".lock"), holder, dry_run=dry_run))
        stack.enter_context(engine.watched(folder))
        for request in requests:
            stack.enter_context(diagnosis.explained(request, lambda: engine.client_buildx(folder)))
        yield


@contextmanager
def _alone(file: Path, holder: str, *, dry_run: bool) -> Iterator[None]:
    """Hold a lock; a dry run makes nothing that another one could be in the way of."""
    if dry_run:
        yield
        return
    with file_lock.held(file, holder):
        yield


def _ordinary(parts: Sequence[Part], environment: Mapping[str, str], noting: Recorder, *, dry_run: bool) -> Document:
    """Build stages as one bake graph on the engine in use; return the bake document.

    Raises:
        CommandFailedError: a step failed.
    """
    content = all_stages.bake(parts)
    records = input_digests.records(*parts[-1], content)
    plan = all_stages.plan(parts, content, environment, engine.buildx(environment), records)
    document = plan.documents[0]
    noting.building(parts[0][1], environment, bake_calls.ordinary([request for request, _ in parts], document))
    before = _images(parts)
    process.execute(plan, dry_run=dry_run)
    if not dry_run:
        for record in up_to_date.remembered(before, _images(parts), bake.digests(document.path)):
            process.write(record)
    return document


def _images(parts: Sequence[Part]) -> dict[str, up_to_date.Record]:
    """Return target -> tag and record of each image; nothing where files that they are made of are gone."""
    try:
        return {target: record for part in parts for target, record in up_to_date.records(*part).items()}
    except OSError:
        return {}
