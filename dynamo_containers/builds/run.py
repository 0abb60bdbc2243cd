"""`invoke build.*`: plan, build and record a request, and check the sizes of its images."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import engine, file_lock, process, progress, state
from dynamo_containers.builds import preflight, summary, up_to_date
from dynamo_containers.engine import bake_metadata
from dynamo_containers.errors import CheckFailedError, FatalError
from dynamo_containers.facts import user_config
from dynamo_containers.inspect.report import recorder
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.plan import bake
from dynamo_containers.plan.node_plan import NodePlan, ordinary_plan
from dynamo_containers.plan.request import BuildPart, parse_stages, request_for, requests_for
from dynamo_containers.prepare import build_secrets, disk_space, input_digests, inputs
from dynamo_containers.process import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.builds.distributed import Distribution
    from dynamo_containers.builds.preflight import Preflight
    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.inspect.report.recorder import Recorder
    from dynamo_containers.inspect.sizes.manifest import ImageSize
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.options import BuildOptions, ImageSelection
    from dynamo_containers.plan.request import Request
    from dynamo_containers.prepare.inputs import OfflineInputs


def build(
    catalogue: Catalogue, stages: Sequence[str], selection: ImageSelection, options: BuildOptions, *, dry_run: bool
) -> None:
    """Build stages of the selected images; without stages, every stage that they have.

    Raises:
        FatalError: any of the foreseen failures.
    """
    parsed = parse_stages(stages)
    if len(parsed) == 1:
        run((request_for(catalogue, parsed[0], selection),), options, dry_run=dry_run)
    else:
        run(requests_for(catalogue, parsed, selection), options, dry_run=dry_run)


def run(requests: Sequence[Request], options: BuildOptions, *, dry_run: bool) -> None:
    """Build one or several stages of images; record the build, and check the sizes of the images.

    Images that are up to date are left alone (docs/adr/0030). Several stages are one graph if no target changed.
    Otherwise each is built by itself: in one graph the engine would unpack shared layers once for each stage, at the
    same time (docs/adr/0028). Builds with caches, builders or a registry have one stage as well.

    Raises:
        FatalError: any of the foreseen failures.
    """
    start = time.perf_counter()
    before = None if _may_be_distributed(options) else preflight.examine(requests, dry_run=dry_run)
    if len(requests) > 1 and not (before and (before.is_up_to_date or before.is_one_graph)):
        for request in requests:
            run((request,), options, dry_run=dry_run)
        return
    with recorder.recording(*requests, options=options.arguments, dry_run=dry_run, started=start) as record:
        if before and before.plan and before.is_up_to_date and not dry_run:
            _report_up_to_date(before, before.plan, record)
        else:
            _build(requests, options, record, before, dry_run=dry_run)


def _build(
    requests: Sequence[Request], options: BuildOptions, record: Recorder, before: Preflight | None, *, dry_run: bool
) -> None:
    first = requests[0]
    folder = first.catalogue.folder
    docker = before.docker if before else preflight.docker_for(folder, dry_run=dry_run)
    distribution = _distribution(first, options)
    local_platforms = distribution.local_platforms if distribution else first.platforms
    if not dry_run and local_platforms:
        engine.ready_for(folder, local_platforms)
    parts = prepare_parts(requests, before.offline if before else (), dry_run=dry_run)
    plan = before.plan if before and before.plan and before.plan.parts == parts else bake.build_plan(*parts)
    with _exclusive(requests, dry_run=dry_run):
        if distribution is None:
            node_plans: tuple[NodePlan, ...] = (_build_on_engine(plan, docker, record, dry_run=dry_run),)
        else:
            from dynamo_containers.builds import distributed  # an ordinary build starts faster without it

            node_plans = distributed.build(distribution, plan, docker, record, dry_run=dry_run)
    if dry_run:
        return
    record.measuring()
    for part in parts:
        disk_space.record_request(*part)
    if record.pushed_tags:
        for pushed in record.pushed_tags:
            progress.say(summary.pushed_line(pushed.tag, pushed.digest, record.seconds))
    elif any(node_plan.node and node_plan.node.builder for node_plan in node_plans):
        _print_images(plan, _digests(node_plans), {}, record, built=True)
    else:
        _finish(plan, docker, _digests(node_plans), record, built=True)


def _digests(node_plans: Sequence[NodePlan]) -> dict[str, str]:
    """Return target -> digest of its image, from the metadata of bake."""
    calls = (call for node_plan in node_plans for call in node_plan.calls)
    return {target: digest for call in calls for target, digest in bake_metadata.digests(call.metadata).items()}


def _report_up_to_date(before: Preflight, plan: BuildPlan, record: Recorder) -> None:
    """Report images that are up to date, and check their sizes: a budget may have changed.

    Raises:
        CheckFailedError: an image is over its budget.
        LockError: the bases are strict, and a package drifted.
    """
    for part, drift in zip(plan.parts, before.drift, strict=True):
        inputs.print_drift(part.request, drift)
    record.up_to_date(before.docker, NodePlan(plan=plan, existing=before.existing))
    _finish(plan, before.docker, before.existing, record, built=False)


def _finish(plan: BuildPlan, docker: Docker, digests: Mapping[str, str], record: Recorder, *, built: bool) -> None:
    """Check images in the engine's own store against their budgets, and print a line about each.

    Raises:
        CheckFailedError: an image is over its budget.
    """
    faults = []
    for part in plan.parts:
        try:
            size_check.check(part, plan.graph, docker, digests)
        except CheckFailedError as error:
            faults.append(str(error))
    # The sizes of images that are up to date come from the cache: a no-op must not query the engine again.
    sizes = {
        image.target: size_measure.planned_size(image, plan.graph, docker, digests)
        if built
        else size_measure.cached_size(image, digests)
        for image in plan.graph.images
    }
    _print_images(plan, digests, sizes, record, built=built)
    if faults:
        raise CheckFailedError("\n".join(faults))


def _print_images(
    plan: BuildPlan, digests: Mapping[str, str], sizes: Mapping[str, ImageSize | None], record: Recorder, *, built: bool
) -> None:
    for image in plan.graph.images:
        digest, size = digests.get(image.target, ""), sizes.get(image.target)
        progress.say(summary.image_line(image, digest, size, record.seconds, built=built))


def _may_be_distributed(options: BuildOptions) -> bool:
    """Return whether options or files of this machine may request caches, builders or a registry."""
    files = (user_config.CACHES, user_config.BUILDERS)
    return (
        bool(options.arguments)
        or bool(os.environ.get(user_config.BUILDX_BUILDER))
        or any(user_config.exists(os.environ, *file) for file in files)
    )


def _distribution(request: Request, options: BuildOptions) -> Distribution | None:
    """Return the distribution of a request; None for an ordinary build, which imports nothing for it."""
    if not _may_be_distributed(options):
        return None
    from dynamo_containers.builds import distributed

    return distributed.distribution_for(request, options, os.environ)


def prepare_parts(
    requests: Sequence[Request], offline: Sequence[OfflineInputs] = (), *, dry_run: bool
) -> tuple[BuildPart, ...]:
    """Make the inputs of requests, while no other build of this checkout does.

    Args:
        requests: the requests to build.
        offline: their offline inputs, if the caller has them.
        dry_run: make nothing.

    Raises:
        FatalError: any of the foreseen failures.
    """
    file = requests[0].catalogue.folder / state.PREPARE_LOCK
    with _locked(
        file, "another build of this checkout, which makes root images, packages and binaries", dry_run=dry_run
    ):
        pairs = zip(requests, offline or inputs.offline_inputs(requests), strict=True)
        return tuple(
            BuildPart(request, inputs.build_inputs(request, request_inputs, dry_run=dry_run))
            for request, request_inputs in pairs
        )


def build_part(part: BuildPart, docker: Docker, *, dry_run: bool) -> None:
    """Build a prepared stage on the engine in use, and record the build.

    Raises:
        FatalError: any of the foreseen failures.
    """
    with recorder.recording(part.request, dry_run=dry_run) as record:
        with _exclusive((part.request,), dry_run=dry_run):
            plan = bake.build_plan(part)
            node_plan = _build_on_engine(plan, docker, record, dry_run=dry_run)
        if not dry_run:
            record.measuring()
            disk_space.record_request(*part)
            _print_images(plan, _digests([node_plan]), {}, record, built=True)


@contextmanager
def _exclusive(requests: Sequence[Request], *, dry_run: bool) -> Iterator[None]:
    """Hold the lock of a build, and explain its failures."""
    if dry_run:  # it writes nothing, and queries no engine
        yield
        return
    from dynamo_containers.builds import diagnosis  # a build of images that are up to date starts faster without it

    folder, path = requests[0].catalogue.folder, bake.document_path(*requests)
    with ExitStack() as stack:
        holder = f"another build of {path.stem.removeprefix('bake-')}"
        stack.enter_context(file_lock.hold(state.build_lock(path), holder))
        stack.enter_context(build_secrets.index_file(folder, os.environ))
        stack.enter_context(engine.watched(folder))
        for request in requests:
            stack.enter_context(diagnosis.explained(request, lambda: engine.client_buildx(folder)))
        yield


@contextmanager
def _locked(file: Path, holder: str, *, dry_run: bool) -> Iterator[None]:
    """Hold a lock; a dry run writes nothing, and needs none."""
    if dry_run:
        yield
        return
    with file_lock.hold(file, holder):
        yield


def _build_on_engine(plan: BuildPlan, docker: Docker, record: Recorder, *, dry_run: bool) -> NodePlan:
    """Build stages as one bake graph on the engine in use.

    Raises:
        CommandFailedError: a target failed.
    """
    ordinary = ordinary_plan(plan, docker)
    record.building(docker, [ordinary])
    commands = tuple(call.command for call in ordinary.calls)
    if dry_run:
        process.execute(Plan(documents=ordinary.documents, commands=commands), dry_run=True)
        return ordinary
    records, images = input_digests.record_documents(plan), _image_records(plan)
    process.execute(Plan(documents=ordinary.documents, commands=commands, records=records))
    for document in up_to_date.new_records(images, _image_records(plan), _digests([ordinary])):
        process.write(document)
    return ordinary


def _image_records(plan: BuildPlan) -> dict[str, up_to_date.ImageRecord]:
    """Return target -> tag and record of its image; {} if an input was deleted meanwhile."""
    try:
        return up_to_date.image_records(plan)
    except (OSError, FatalError):
        return {}
