"""Recorder of a running build: its report is written however the build ends.

A quick build does not query the engine: it keeps the names of BuildKit's records, and `invoke report` queries them
(docs/adr/0017).
"""

from __future__ import annotations

import os
import shlex
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dynamo_containers import progress, signals
from dynamo_containers.docker_cli import Docker
from dynamo_containers.engine import build_refs
from dynamo_containers.errors import FatalError, NoSpaceError, UnsupportedHostError
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.inspect.report import build_records, pushed_tags, record, redact, store
from dynamo_containers.inspect.report.pushed_tags import PushedTag
from dynamo_containers.inspect.report.record import (
    BUILDING,
    DONE,
    FAILED,
    MEASURING,
    PREPARING,
    BuildReport,
    Failure,
    RecordedImage,
    RecordedNode,
    RecordedTarget,
    RequestedBuild,
)
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.plan import bake, container
from dynamo_containers.plan.options import DEFAULT_BASES
from dynamo_containers.plan.target import build_order
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.bake import PlannedImage
    from dynamo_containers.plan.node_plan import NodePlan
    from dynamo_containers.plan.request import Request
    from dynamo_containers.plan.target import Targets

BUG = 1
"""The exit code of a traceback."""
SECONDS_PER_RECORD = 1.0
"""A build that took this long for each of BuildKit's records queries them at once: that adds a tenth."""


@contextmanager
def recording(
    *requests: Request, options: Sequence[str] = (), dry_run: bool, started: float | None = None
) -> Iterator[Recorder]:
    """Record a build and its outcome; a dry run leaves no report.

    Args:
        requests: the stages to build.
        options: further options of the command line.
        dry_run: whether nothing is built.
        started: the start of the build by `time.perf_counter`; None for now.
    """
    recorder = Recorder(requests, options, started)
    try:
        yield recorder
    except BaseException as error:
        recorder.fail(error)
        raise
    else:
        recorder.succeed()
    finally:
        if not dry_run:
            recorder.write()


class Recorder:
    """Recorder of one build."""

    def __init__(
        self, requests: tuple[Request, ...], options: Sequence[str] = (), started: float | None = None
    ) -> None:
        """Start the report of a build of one or several stages."""
        self._catalogue = requests[0].catalogue
        self._started = time.perf_counter() if started is None else started
        now = time.time()
        self._phase = PREPARING
        self._calls_started: float | None = None
        self._images_exist = False
        self._nodes: tuple[NodePlan, ...] = ()
        self._docker = Docker(environment={}, buildx=())
        self._pushed: dict[str, PushedTag] = {}
        self.report = BuildReport(
            name=f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}",
            request=_request(requests, options),
            started=now,
        )

    def building(self, docker: Docker, nodes: Sequence[NodePlan]) -> None:
        """Record that nodes start to build; `environment` lets docker find the engine in use."""
        self._phase, self._calls_started = BUILDING, time.time()
        self._docker, self._nodes = docker, tuple(nodes)
        plan = nodes[0].plan
        request = replace(self.report.request, revision=plan.parts[0].inputs.revision)
        graph = {name: target.links for name, target in plan.graph.targets.items()}
        self.report = replace(self.report, request=request, graph=graph)

    def up_to_date(self, docker: Docker, node: NodePlan) -> None:
        """Record that all images are up to date, so that nothing is built: every target counts as cached."""
        self.building(docker, [node])
        self.measuring()
        self._calls_started = None
        platforms, graph = self.report.request.platforms, node.plan.graph.targets
        names = dict.fromkeys(name for image in node.images for name in build_order(graph, image.target))
        targets = (
            RecordedTarget(name=name, platform=platform, state=record.CACHED, seconds=0.0, spans=(), instructions=())
            for name in names
            for platform in platforms
        )
        self.report = replace(self.report, targets=tuple(targets))

    def measuring(self) -> None:
        """Record that the images exist."""
        self._phase, self._images_exist = MEASURING, True

    def pushed(self, request: Request, version: str, registry: str) -> None:
        """Record the digest of each tag that was pushed into a registry."""
        for image in request.images:
            tag = bake.tag(image, request.stage, request.bases, request.platforms, version)
            self._pushed[image.name] = pushed_tags.read(f"{registry}/{tag}", self._docker)

    @property
    def pushed_tags(self) -> tuple[PushedTag, ...]:
        """Return the tags that were pushed, with the digests of their indexes."""
        return tuple(self._pushed.values())

    @property
    def seconds(self) -> float:
        """Return how long the build took until now."""
        return time.perf_counter() - self._started

    def succeed(self) -> None:
        """Record that the build succeeded."""
        self.report = replace(self.report, outcome=DONE)

    def fail(self, error: BaseException) -> None:
        """Record why the build failed or was interrupted."""
        if isinstance(error, KeyboardInterrupt):
            failure = Failure(phase=self._phase, message="Interrupted.", exit_code=signals.ending(error).exit_code)
            self.report = replace(self.report, outcome=record.INTERRUPTED, failure=failure)
            return
        foreseen = isinstance(error, FatalError)
        message = redact.text(str(error) if foreseen else f"a bug: {type(error).__name__}: {error}")
        code = error.exit_code if isinstance(error, FatalError) else BUG
        failure = Failure(phase=self._phase, message=message, exit_code=code)
        self.report = replace(self.report, outcome=FAILED, failure=failure)

    def write(self) -> None:
        """Write the report; a failure to write is printed and does not fail the build."""
        folder = self._catalogue.folder
        self.report = replace(self.report, seconds=round(self.seconds, 3))
        try:
            self._add_records()
            self.report = replace(self.report, images=tuple(self._images()))
            if self._is_worth_a_query():
                from dynamo_containers.inspect.report import backfill  # a no-op does not need it

                self.report = backfill.with_targets(self.report, self._docker)
            store.keep(folder, self.report, self._catalogue.reports_kept)
        except (NoSpaceError, UnsupportedHostError, OSError, ValueError) as error:
            progress.say(f"No report of this build was written: {error}")

    def _is_worth_a_query(self) -> bool:
        """Return whether querying the targets is quick compared with the build, or explains its failure."""
        stopped = self.report.outcome == FAILED and self._phase == BUILDING
        return bool(self.report.records) and (
            stopped or self.report.seconds >= SECONDS_PER_RECORD * len(self.report.records)
        )

    def _add_records(self) -> None:
        if self._calls_started is None:
            return
        state = build_refs.state_folder(self._docker.environment)
        rows = build_records.records(self._nodes, state, self._calls_started, succeeded=self._images_exist)
        nodes = (_node(node, records) for node, records in zip(self._nodes, rows, strict=True) if node.name)
        records = {ref: target for row in rows for ref, target in row.items()}
        self.report = replace(self.report, records=records, nodes=tuple(nodes))

    def _images(self) -> Iterator[RecordedImage]:
        for node in self._nodes if self._images_exist else ():
            digests = build_records.digests(node)
            for image in node.images if digests else ():
                pushed = self._pushed.get(image.image.name, PushedTag(tag="", digest=""))
                recorded = _image(image, node.plan.graph.targets, digests.get(image.target, ""))
                yield replace(recorded, pushed_tag=pushed.tag, pushed_digest=pushed.digest)


def _node(node: NodePlan, records: Mapping[str, str]) -> RecordedNode:
    return RecordedNode(
        name=node.name,
        platforms=tuple(platform.value for platform in node.plan.request.platforms),
        variables=node.variables,
        merged=node.merged,
        records=tuple(records),
    )


def _image(planned: PlannedImage, targets: Targets, digest: str) -> RecordedImage:
    request, image = planned.request, planned.image
    return RecordedImage(
        name=size_measure.key(request, image),
        stage=request.stage.value,
        tag=planned.tag,
        digest=digest,
        package_targets=tuple(name for name, _ in size_measure.package_targets(targets, planned.target)),
        budget=_budget(request, image),
        size=size_cache.recall(request.catalogue.folder, digest),
        unmeasured_reason=_unmeasured_reason(request, image),
        pushed=f"{planned.repository}@{digest}" if planned.repository else "",
    )


def _budget(request: Request, image: Image) -> Mapping[str, int]:
    """Return the limits for an image; each platform has its own, so an image of several has none."""
    if len(request.platforms) > 1 or request.stage not in size_check.STAGES:
        return {}
    return image.budget.get(request.platforms[0], {})


def _unmeasured_reason(request: Request, image: Image) -> str:
    if len(request.platforms) > 1:
        return "images of several platforms are only measured in a build of one platform"
    if image.install_from is InstallFrom.IMAGE:
        return "the history of a published engine image does not match its layers"
    return ""


def _request(requests: Sequence[Request], options: Sequence[str]) -> RequestedBuild:
    first = requests[0]
    return RequestedBuild(
        command=redact.text(" ".join([_command(requests), *map(shlex.quote, options)])),
        stage=", ".join(request.stage.value for request in requests),
        images=tuple(dict.fromkeys(image.name for request in requests for image in request.images)),
        bases=first.bases.name,
        platforms=tuple(platform.value for platform in first.platforms),
    )


def _command(requests: Sequence[Request]) -> str:
    """Return the shortest command that repeats the build on this machine."""
    first = requests[0]
    line = container.build_line(*requests).removesuffix(f" --bases {DEFAULT_BASES}")
    if first.platforms == (native_platform(),):
        line = line.replace(f" --platform {first.platforms[0].value}", "")
    strict = first.bases.strict and not first.catalogue.bases[first.bases.name].strict
    sources = [f"--{name}-source {shlex.quote(source.context)}" for name, source in first.sources.items()]
    return " ".join([line, *(["--strict"] if strict else []), *sources])
