"""Targets and sizes of earlier builds that their reports lack, queried from the engine.

BuildKit keeps the records of the last 50 builds of targets for two days (moby/buildkit: docs/buildkitd.toml.md), and an
image has a name until the next one gets it. What is gone by then stays unknown, with the reason.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers import engine, file_reader, process, progress
from dynamo_containers.engine import build_refs
from dynamo_containers.engine import history as engine_history
from dynamo_containers.errors import CommandFailedError, NoEngineError
from dynamo_containers.inspect.report import redact, store
from dynamo_containers.inspect.report import steps as target_history
from dynamo_containers.inspect.report.record import DONE, MEASURING, RecordedNode
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import manifest as sizes_manifest
from dynamo_containers.inspect.sizes import measure as size_measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.engine.history import Vertex
    from dynamo_containers.inspect.report.record import BuildReport, RecordedImage, RecordedTarget
    from dynamo_containers.inspect.sizes.manifest import ImageSize

MANIFEST = ("imagetools", "inspect", "--raw")
CONFIG = ("imagetools", "inspect", "--format={{json .Image}}")
"""The queries of buildx about an image in a registry."""
PARALLEL = 4
"""How many records are queried at once."""
SECONDS = 60
"""How long the engine may take to answer."""
GONE = "the engine no longer has BuildKit's records of this build"
UNREADABLE = "the engine did not return BuildKit's records of this build"
OTHER_BYTES = "its tag names another image now"


def complete(folder: Path, reports: Sequence[BuildReport]) -> tuple[BuildReport, ...]:
    """Return reports with what the engine still knows; it is written into their files too."""
    incomplete = [report for report in reports if _lacks_targets(report) or any(map(_lacks_size, report.images))]
    if not incomplete:
        return tuple(reports)
    try:
        docker = engine.docker(folder)
    except NoEngineError as error:
        progress.say(f"The engine was NOT QUERIED about {len(incomplete)} builds: {error}")
        return tuple(reports)
    progress.say(f"Querying the engine about {len(incomplete)} builds")
    refs = _refs(docker)
    completed = {report.name: _completed(folder, report, docker, refs) for report in incomplete}
    return tuple(completed.get(report.name, report) for report in reports)


def _lacks_targets(report: BuildReport) -> bool:
    return report.targets is None and bool(report.records) and not report.unknown_reason


def _lacks_size(image: RecordedImage) -> bool:
    return image.size is None and not image.unmeasured_reason


def _refs(docker: Docker) -> frozenset[str]:
    """Return the records that the engine has; none where it keeps none."""
    argv = (*docker.buildx, "history", "ls", "--format=json")
    answer = process.query(process.Command(argv=argv, env=docker.environment), seconds=SECONDS)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
    return frozenset(str(file_reader.parse_json(line).get("ref")) for line in lines)


def _completed(folder: Path, report: BuildReport, docker: Docker, refs: frozenset[str]) -> BuildReport:
    completed = report
    if _lacks_targets(report):
        available = bool(report.nodes or refs & set(report.records))
        completed = with_targets(report, docker) if available else replace(report, unknown_reason=GONE)
    images = tuple(_measured(folder, docker, image) for image in completed.images)
    completed = replace(completed, images=images)
    if completed != report:
        store.renew(folder, completed)
    return completed


def with_targets(report: BuildReport, docker: Docker) -> BuildReport:
    """Return a report with its targets, or with the reason why they are unknown."""
    platforms = report.request.platforms
    alone = RecordedNode(name="", platforms=platforms, variables={}, merged=False, records=(*report.records,))
    nodes, records = [], dict(report.records)
    targets: list[RecordedTarget] = []
    for node in report.nodes or (alone,):
        own = {ref: report.records[ref] for ref in node.records}
        reaching = replace(docker, environment={**docker.environment, **node.variables})
        try:
            own, built = _targets(report, node, own, reaching)
        except (CommandFailedError, ValueError) as error:
            nodes.append(replace(node, unknown_reason=redact.text(str(error))))
            continue
        nodes.append(replace(node, records=tuple(own)))
        targets += built
        records |= own
    unknown = [node for node in nodes if node.unknown_reason]
    report = replace(
        report,
        unknown_reason="; ".join(f"{node.name}: {node.unknown_reason}".removeprefix(": ") for node in unknown),
        nodes=tuple(nodes) if report.nodes else (),
    )
    if len(unknown) == len(nodes):
        return report
    order = {name: index for index, name in enumerate(target_history.in_order(report.graph))}
    return replace(report, targets=tuple(sorted(targets, key=lambda target: order[target.name])), records=records)


def _targets(
    report: BuildReport, node: RecordedNode, own: Mapping[str, str], docker: Docker
) -> tuple[dict[str, str], tuple[RecordedTarget, ...]]:
    """Query a node for the targets of its records; return the records of all its BuildKit nodes, and the targets.

    Raises:
        CommandFailedError: it has no such record, or does not answer.
        ValueError: its answer has an unknown form.
    """
    if not own:
        message = "no target was started there"
        raise CommandFailedError(message)
    records = build_refs.with_nodes(build_refs.state_folder(docker.environment), own)
    commands = [docker.buildx_command(*engine_history.log_arguments(ref)) for ref in records]
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(_vertexes, commands))
    histories: dict[str, list[Mapping[str, Vertex]]] = {}
    for target, vertexes in zip(records.values(), answers, strict=True):
        stages = target_history.by_stage(report.graph, target, vertexes) if node.merged else {target: vertexes}
        for name, stage in stages.items():
            histories.setdefault(name, []).append(stage)
    # An image that is over its budget was built completely.
    is_complete = report.outcome == DONE or (report.failure is not None and report.failure.phase == MEASURING)
    targets = target_history.targets(report.graph, histories, node.platforms, report.started, succeeded=is_complete)
    return records, tuple(replace(target, node=node.name) for target in targets)


def _vertexes(command: process.Command) -> dict[str, Vertex]:
    """Query one record.

    Raises:
        CommandFailedError: the engine has no such record, or does not answer.
        ValueError: its answer has an unknown form.
    """
    answer = process.query(command, seconds=SECONDS)
    if answer.returncode:
        message = f"{UNREADABLE}: {_last_line(answer.stderr.splitlines())}"
        raise CommandFailedError(message)
    # Its version decides whether its progress is on standard output or standard error.
    return engine_history.parse(f"{answer.stdout}\n{answer.stderr}")


def _last_line(lines: Iterable[str]) -> str:
    return next((line for line in reversed([*lines]) if line.strip()), "no reason given")


def _measured(folder: Path, docker: Docker, image: RecordedImage) -> RecordedImage:
    if not _lacks_size(image):
        return image
    size = size_cache.recall(folder, image.digest)
    if size:
        return replace(image, size=size)
    try:
        measured = _measure(folder, docker, image)
    except CommandFailedError:
        return replace(image, unmeasured_reason="neither the engine nor a registry still has it")
    except (ValueError, KeyError):
        return replace(image, unmeasured_reason="its history does not have one line for each layer")
    if measured is None:
        return replace(image, unmeasured_reason="only the private engine shows the sizes of compressed layers")
    digest, size = measured
    return replace(image, size=size) if digest == image.digest else replace(image, unmeasured_reason=OTHER_BYTES)


def _measure(folder: Path, docker: Docker, image: RecordedImage) -> tuple[str, ImageSize] | None:
    """Return the digest and the size of an image; None where no engine and no registry shows it.

    Raises:
        CommandFailedError: the engine has no such image, or the registry no such manifest.
        ValueError: its history does not match its layers.
    """
    if not image.pushed:
        return size_measure.size_of(folder, docker, image.tag, image.package_targets)
    manifest, config = (
        file_reader.parse_json(
            process.capture(process.Command(argv=(*docker.buildx, *query, image.pushed), env=docker.environment))
        )
        for query in (MANIFEST, CONFIG)
    )
    # A registry does not know how big an unpacked layer is, nor does an engine that only pushed it.
    history = [(0, str(row["created_by"])) for row in config["history"]]
    size = sizes_manifest.measured(manifest, config["rootfs"]["diff_ids"], history, image.package_targets)
    return image.digest, size
