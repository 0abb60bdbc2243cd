"""Recorder of a running build: its report is written however the build ends.

A build that was quick asks the engine nothing: it keeps the names of BuildKit's records, and who reads the report asks
(docs/adr/0017).
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dynamo_containers.engine import build_refs
from dynamo_containers.errors import INTERRUPTED as BY_CTRL_C
from dynamo_containers.errors import FatalError, NoSpaceError
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.inspect.report import build_records, record, redact, store
from dynamo_containers.inspect.report.record import BUILDING, DONE, FAILED, MEASURING, PREPARING, Asked, Failure, Report
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.plan import bake, container
from dynamo_containers.plan.target import TARGET, needed
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.bake_calls import Machine

BUG = 1
"""The exit code of a traceback."""
SECONDS_PER_RECORD = 1.0
"""What a build must have taken for each of BuildKit's records to have them asked for at once: that takes a tenth."""


@contextmanager
def noted(*requests: Request, words: Sequence[str] = (), dry_run: bool, began: float | None = None) -> Iterator[Note]:
    """Write down what a build does, and how it ends; a dry run builds nothing and leaves no report.

    Args:
        requests: what is built.
        words: what the command line says beside that.
        dry_run: whether nothing is built.
        began: when that was, by `time.perf_counter`; None for now.
    """
    note = Note(requests, words, began)
    try:
        yield note
    except BaseException as error:
        note.failed(error)
        raise
    else:
        note.done()
    finally:
        if not dry_run:
            note.write()


class Note:
    """The report of a build that runs."""

    def __init__(self, requests: tuple[Request, ...], words: Sequence[str] = (), began: float | None = None) -> None:
        """Begin the report of a build of several stages of images, or of one."""
        self._catalogue = requests[0].catalogue
        self._began = time.perf_counter() if began is None else began
        now = time.time()
        self._phase = PREPARING
        self._at: float | None = None
        self._ended = False
        self._machines: tuple[Machine, ...] = ()
        self._environment: Mapping[str, str] = {}
        self.report = Report(
            name=f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}",
            asked=_asked(requests, words),
            started=now,
        )

    def building(self, facts: Facts, environment: Mapping[str, str], machines: tuple[Machine, ...]) -> None:
        """Say that machines begin; `environment` is what docker needs to find the engine in use."""
        self._phase, self._at = BUILDING, time.time()
        self._environment, self._machines = environment, machines
        asked = replace(self.report.asked, revision=facts.revision)
        self.report = replace(self.report, asked=asked, graph=graph_of(machines[0].targets))

    def up_to_date(self, facts: Facts, environment: Mapping[str, str], machines: tuple[Machine, ...]) -> None:
        """Say that all images are there, so that no machine is asked for anything: every step is as good as cached."""
        self.building(facts, environment, machines)
        self.measuring()
        self._at = None
        platforms, targets = self.report.asked.platforms, machines[0].targets
        tops = (top for machine in machines for top in machine.tops.values())
        order = dict.fromkeys(step for top in tops for step in needed(targets, top))
        steps = (
            record.Step(name=name, platform=platform, state=record.CACHED, seconds=0.0, spans=(), instructions=())
            for name in order
            for platform in platforms
        )
        self.report = replace(self.report, steps=tuple(steps))

    def measuring(self) -> None:
        """Say that the images are made."""
        self._phase, self._ended = MEASURING, True

    def done(self) -> None:
        """Say that the build ended well."""
        self.report = replace(self.report, outcome=DONE)

    def failed(self, error: BaseException) -> None:
        """Say why the build did not end well."""
        if isinstance(error, KeyboardInterrupt):
            failure = Failure(phase=self._phase, message="It was interrupted.", exit_code=BY_CTRL_C)
            self.report = replace(self.report, outcome=record.INTERRUPTED, failure=failure)
            return
        foreseen = isinstance(error, FatalError)
        message = redact.text(str(error) if foreseen else f"a bug: {type(error).__name__}: {error}")
        code = error.exit_code if isinstance(error, FatalError) else BUG
        failure = Failure(phase=self._phase, message=message, exit_code=code)
        self.report = replace(self.report, outcome=FAILED, failure=failure)

    def write(self) -> None:
        """Write the report; where that cannot be done, say so, and let the build be what it is."""
        folder = self._catalogue.folder
        self.report = replace(self.report, seconds=round(time.perf_counter() - self._began, 3))
        try:
            self._learn_records()
            self.report = replace(self.report, images=tuple(self._images()))
            if self._is_worth_asking():
                from dynamo_containers.inspect.report import backfill  # a no-op has no need of it

                self.report = backfill.with_steps(self.report, self._environment)
            store.keep(folder, self.report, self._catalogue.reports_kept)
        except (NoSpaceError, OSError, ValueError) as error:
            print(f"No report of this build was written: {error}", file=sys.stderr, flush=True)

    def _is_worth_asking(self) -> bool:
        """Say whether asking for the steps is little beside what the build took, or tells why it failed."""
        broke = self.report.outcome == FAILED and self._phase == BUILDING
        return bool(self.report.records) and (
            broke or self.report.seconds >= SECONDS_PER_RECORD * len(self.report.records)
        )

    def _learn_records(self) -> None:
        if self._at is None:
            return
        state = build_refs.state_folder(self._environment)
        found = build_records.records(self._machines, state, self._at, done=self._ended)
        records = {ref: step for each in found for ref, step in each.items()}
        machines = tuple(_machine(*each) for each in zip(self._machines, found, strict=True) if each[0].name)
        self.report = replace(self.report, records=records, machines=machines)

    def _images(self) -> Iterator[record.Image]:
        for machine in self._machines if self._ended else ():
            made = machine.made()
            yield from (_image(image, machine.request, machine, made) for image in machine.request.images if made)


def _machine(machine: Machine, records: Mapping[str, str]) -> record.Machine:
    return record.Machine(
        name=machine.name,
        platforms=tuple(platform.value for platform in machine.platforms),
        variables=machine.variables,
        joined=machine.joined,
        records=tuple(records),
    )


def _image(image: Image, request: Request, machine: Machine, made: Mapping[str, Any]) -> record.Image:
    tag = machine.tags[image.name]
    target = machine.tops[image.name]
    digest = str(made.get(target, {}).get(bake.DIGEST, ""))
    return record.Image(
        name=size_measure.key(request, image),
        stage=request.stage.value,
        tag=tag,
        digest=digest,
        trees=tuple(step for step, _ in size_measure.steps_of(machine.targets, target)),
        budget=image.budget.get(request.platforms[0], {}) if request.stage in size_check.STAGES else {},
        size=size_cache.recall(request.catalogue.folder, digest),
        unmeasured=_why_not(request, image),
        pushed=f"{machine.pushed[image.name]}@{digest}" if machine.pushed else "",
    )


def _why_not(request: Request, image: Image) -> str:
    if len(request.platforms) > 1:
        return "an image of several platforms is measured when one of them is built alone"
    return (
        "whose engine publishes an image writes its history as it likes"
        if image.install_from is InstallFrom.IMAGE
        else ""
    )


def _asked(requests: Sequence[Request], words: Sequence[str]) -> Asked:
    first = requests[0]
    return Asked(
        command=redact.text(" ".join([_command(requests), *map(shlex.quote, words)])),
        stage=", ".join(request.stage.value for request in requests),
        images=tuple(dict.fromkeys(image.name for request in requests for image in request.images)),
        bases=first.bases.name,
        platforms=tuple(platform.value for platform in first.platforms),
    )


def _command(requests: Sequence[Request]) -> str:
    """Return the command that builds the same on this machine, without options that have their default."""
    first = requests[0]
    line = container.build_line(*requests).removesuffix(f" --bases {bake.DEFAULT_BASES}")
    if first.platforms == (native_platform(),):
        line = line.replace(f" --platform {first.platforms[0].value}", "")
    strict = first.bases.strict and not first.catalogue.bases[first.bases.name].strict
    sources = [f"--{name}-source {shlex.quote(source.context)}" for name, source in first.sources.items()]
    return " ".join([line, *(["--strict"] if strict else []), *sources])


def graph_of(targets: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return step -> the steps that it needs, given the targets of a bake document."""
    return {
        name: tuple(
            dict.fromkeys(each.removeprefix(TARGET) for each in row["contexts"].values() if each.startswith(TARGET))
        )
        for name, row in targets.items()
    }
