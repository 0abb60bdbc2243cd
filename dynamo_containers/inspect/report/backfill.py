"""Steps and sizes of earlier builds that their reports lack, queried from the engine.

BuildKit keeps the records of the last 50 builds of targets, two days long (moby/buildkit: docs/buildkitd.toml.md), and
an image has a name until the next one gets it: what is gone by then stays unknown, with the reason.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.engine import build_refs
from dynamo_containers.engine import history as engine_history
from dynamo_containers.errors import CommandFailedError, NoEngineError
from dynamo_containers.inspect.report import redact, store
from dynamo_containers.inspect.report import steps as report_steps
from dynamo_containers.inspect.report.record import DONE, MEASURING, Machine
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import manifest as sizes_manifest
from dynamo_containers.inspect.sizes import measure as size_measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.engine.history import Vertex
    from dynamo_containers.inspect.report.record import Image, Report, Step
    from dynamo_containers.inspect.sizes.manifest import ImageSize

MANIFEST = ("imagetools", "inspect", "--raw")
CONFIG = ("imagetools", "inspect", "--format={{json .Image}}")
"""What buildx is asked about an image in a registry."""
AT_ONCE = 4
"""How many records are asked for side by side."""
SECONDS = 60
"""How long the engine may take for an answer."""
GONE = "the engine no longer has BuildKit's records of this build"
UNSAID = "the engine did not hand out BuildKit's records of this build"
OTHER_BYTES = "its tag names another image by now"


def of(folder: Path, reports: Sequence[Report]) -> tuple[Report, ...]:
    """Return reports with what could still be learned; what was learned is written down."""
    lacking = [each for each in reports if _lacks_steps(each) or any(map(_lacks_size, each.images))]
    if not lacking:
        return tuple(reports)
    try:
        environment = engine.environment(folder)
    except NoEngineError as error:
        print(f"What the engine knows of {len(lacking)} builds was NOT ASKED: {error}", file=sys.stderr, flush=True)
        return tuple(reports)
    print(f"Asking the engine about {len(lacking)} builds", file=sys.stderr, flush=True)
    there = _there(environment)
    found = {each.name: _completed(folder, each, environment, there) for each in lacking}
    return tuple(found.get(each.name, each) for each in reports)


def _lacks_steps(report: Report) -> bool:
    return report.steps is None and bool(report.records) and not report.unknown


def _lacks_size(image: Image) -> bool:
    return image.size is None and not image.unmeasured


def _there(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the records that the engine has; none where it keeps none."""
    argv = (*engine.buildx(environment), "history", "ls", "--format=json")
    listed = process.query(process.Command(argv=argv, env=environment), seconds=SECONDS)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("{")]
    return frozenset(str(json.loads(line).get("ref")) for line in lines)


def _completed(folder: Path, report: Report, environment: Mapping[str, str], there: frozenset[str]) -> Report:
    known = report
    if _lacks_steps(report):
        asked = bool(report.machines or there & set(known.records))
        known = with_steps(known, environment) if asked else replace(known, unknown=GONE)
    known = replace(known, images=tuple(_measured(folder, environment, image) for image in known.images))
    if known != report:
        store.renew(folder, known)
    return known


def with_steps(report: Report, environment: Mapping[str, str]) -> Report:
    """Return a report with its steps, or with the reason why they are not known."""
    alone = Machine(name="", platforms=report.asked.platforms, variables={}, joined=False, records=(*report.records,))
    machines, records = [], dict(report.records)
    steps: list[Step] = []
    for machine in report.machines or (alone,):
        own = {ref: report.records[ref] for ref in machine.records}
        variables = {**environment, **machine.variables}
        try:
            own, found = _steps(report, machine, own, variables)
        except (CommandFailedError, ValueError) as error:
            machines.append(replace(machine, unknown=redact.text(str(error))))
            continue
        machines.append(replace(machine, records=tuple(own)))
        steps += found
        records |= own
    unknown = "; ".join(f"{each.name}: {each.unknown}".removeprefix(": ") for each in machines if each.unknown)
    if len(machines) == sum(bool(each.unknown) for each in machines):
        return replace(report, unknown=unknown, machines=tuple(machines) if report.machines else ())
    place = {name: number for number, name in enumerate(report_steps.in_order(report.graph))}
    return replace(
        report,
        steps=tuple(sorted(steps, key=lambda step: place[step.name])),
        unknown=unknown,
        records=records,
        machines=tuple(machines) if report.machines else (),
    )


def _steps(
    report: Report, machine: Machine, own: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[dict[str, str], tuple[Step, ...]]:
    """Ask a machine for the steps of its records; return those, of all its nodes, and the steps.

    Raises:
        CommandFailedError: it has no such record, or does not answer.
        ValueError: it says them in another form than known here.
    """
    if not own:
        message = "nothing was begun there"
        raise CommandFailedError(message)
    records = build_refs.with_nodes(build_refs.state_folder(environment), own)
    words = engine.buildx(environment)
    commands = [process.Command(argv=(*words, *engine_history.asking(ref)), env=environment) for ref in records]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(_vertexes, commands))
    of_step: dict[str, list[Mapping[str, Vertex]]] = {}
    for step, vertexes in zip(records.values(), said, strict=True):
        for name, some in (
            report_steps.parted(report.graph, step, vertexes) if machine.joined else {step: vertexes}
        ).items():
            of_step.setdefault(name, []).append(some)
    # What is over its budget was built whole.
    whole = report.outcome == DONE or (report.failure is not None and report.failure.phase == MEASURING)
    steps = report_steps.steps(report.graph, of_step, machine.platforms, report.started, done=whole)
    return records, tuple(replace(step, machine=machine.name) for step in steps)


def _vertexes(command: process.Command) -> dict[str, Vertex]:
    """Ask for one record.

    Raises:
        CommandFailedError: the engine has no such record, or does not answer.
        ValueError: it is of another form than known here.
    """
    finished = process.query(command, seconds=SECONDS)
    if finished.returncode:
        message = f"{UNSAID}: {_last_line(finished.stderr.splitlines())}"
        raise CommandFailedError(message)
    return engine_history.parse(f"{finished.stdout}\n{finished.stderr}")  # it prints its progress on either, by version


def _last_line(lines: Iterable[str]) -> str:
    return next((line for line in reversed([*lines]) if line.strip()), "no reason given")


def _measured(folder: Path, environment: Mapping[str, str], image: Image) -> Image:
    if not _lacks_size(image):
        return image
    size = size_cache.recall(folder, image.digest)
    if size:
        return replace(image, size=size)
    try:
        found = _size_of(folder, environment, image)
    except CommandFailedError:
        return replace(image, unmeasured="neither the engine nor a registry has it any more")
    except (ValueError, KeyError):
        return replace(image, unmeasured="its history has not one line for each of its layers")
    if found is None:
        return replace(image, unmeasured="only the private engine shows the sizes of compressed layers")
    return replace(image, size=found[1]) if found[0] == image.digest else replace(image, unmeasured=OTHER_BYTES)


def _size_of(folder: Path, environment: Mapping[str, str], image: Image) -> tuple[str, ImageSize] | None:
    """Return the digest and the size of an image; None where no engine and no registry shows it.

    Raises:
        CommandFailedError: the engine has no such image, or the registry no such manifest.
        ValueError: its history is not that of its layers.
    """
    if not image.pushed:
        return size_measure.size_of(folder, environment, image.tag, image.trees)
    manifest, config = (
        json.loads(
            process.capture(process.Command(argv=(*engine.buildx(environment), *words, image.pushed), env=environment))
        )
        for words in (MANIFEST, CONFIG)
    )
    # How big a layer is when it is unpacked a registry does not know, and an engine that only pushed it neither.
    history = [(0, str(row["created_by"])) for row in config["history"]]
    return image.digest, sizes_manifest.measured(manifest, config["rootfs"]["diff_ids"], history, image.trees)
