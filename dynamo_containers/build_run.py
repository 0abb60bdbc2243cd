"""How is a request built? The order of the parts: whoever builds, with which caches, and what is said of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import (
    build,
    build_record,
    engine,
    file_lock,
    machine_file,
    prepare,
    reach,
    run,
    size_check,
    step_inputs,
)
from dynamo_containers.report import calls, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.build import Facts, Request
    from dynamo_containers.report.note import Note
    from dynamo_containers.run import Document
    from dynamo_containers.wider_run import Ways

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


def perform(request: Request, wish: Wish, *, dry_run: bool) -> None:
    """Build a request, note what was built, and check its size.

    Raises:
        FatalError: any of the foreseen failures.
    """
    with note.noted(request, wish.words, dry_run=dry_run) as noting:
        _perform(request, wish, noting, dry_run=dry_run)


def _perform(request: Request, wish: Wish, noting: Note, *, dry_run: bool) -> None:
    folder = request.catalogue.folder
    environment = engine.environment(folder)
    ways = _ways(request, wish)
    here = request.platforms if ways is None else ways.here
    if not dry_run and here:
        engine.ready_for(folder, here)
    facts = prepared(request, dry_run=dry_run)
    with _at_work(request, dry_run=dry_run):
        if ways is None:
            document: Document | None = ordinary(request, facts, environment, noting, dry_run=dry_run)
        else:
            document = ways.perform(facts, environment, noting, dry_run=dry_run)
    if dry_run:
        return
    noting.measuring()
    build_record.remember(request, facts)
    if document:
        size_check.check(request, facts, environment, document)


def _ways(request: Request, wish: Wish) -> Ways | None:
    """Return what is other than in an ordinary build, which imports none of it; None for such a one."""
    said = wish.read or wish.write or wish.push or os.environ.get(machine_file.BUILDX_BUILDER)
    files = (machine_file.CACHES, machine_file.BUILDERS)
    if not said and not any(machine_file.there(os.environ, *file) for file in files):
        return None
    from dynamo_containers import wider_run

    return wider_run.ways(request, wish, os.environ)


def prepared(request: Request, *, dry_run: bool) -> Facts:
    """Make what a request is built from, while no other build of this checkout does.

    Raises:
        FatalError: any of the foreseen failures.
    """
    file = request.catalogue.folder / PREPARES
    with _alone(file, "another build of this checkout, which makes what both need", dry_run=dry_run):
        return prepare.facts(request, dry_run=dry_run)


def build_prepared(request: Request, facts: Facts, environment: Mapping[str, str], *, dry_run: bool) -> None:
    """Build a request that was prepared as an ordinary one, and note what was built.

    Raises:
        FatalError: any of the foreseen failures.
    """
    with note.noted(request, dry_run=dry_run) as noting:
        with _at_work(request, dry_run=dry_run):
            ordinary(request, facts, environment, noting, dry_run=dry_run)
        if not dry_run:
            noting.measuring()
            build_record.remember(request, facts)


@contextmanager
def _at_work(request: Request, *, dry_run: bool) -> Iterator[None]:
    """Keep others from building the same meanwhile, and tell why an engine fails."""
    folder, path = request.catalogue.folder, build.document_path(request)
    with (
        _alone(path.with_suffix(".lock"), f"another build of {path.stem.removeprefix('bake-')}", dry_run=dry_run),
        engine.watched(folder),
        reach.explained(request, lambda: engine.client_buildx(folder)),
    ):
        yield


@contextmanager
def _alone(file: Path, holder: str, *, dry_run: bool) -> Iterator[None]:
    """Hold a lock; a dry run makes nothing that another one could be in the way of."""
    if dry_run:
        yield
        return
    with file_lock.held(file, holder):
        yield


def ordinary(
    request: Request, facts: Facts, environment: Mapping[str, str], noting: Note, *, dry_run: bool
) -> Document:
    """Build a request as one bake graph on the engine in use; return the bake document.

    Raises:
        CommandFailedError: a step failed.
    """
    records = step_inputs.records(request, facts)
    plan = build.plan(request, facts, environment, engine.buildx(environment), records)
    noting.building(facts, environment, (calls.ordinary(request, plan.documents[0]),))
    run.execute(plan, dry_run=dry_run)
    return plan.documents[0]
