"""Targets of a build with times, from BuildKit's records."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers.engine import history
from dynamo_containers.inspect.report import redact
from dynamo_containers.inspect.report.record import (
    CACHED,
    CANCELED,
    DONE,
    FAILED,
    WAITING,
    RecordedInstruction,
    RecordedTarget,
)
from dynamo_containers.plan.merged_dockerfile import SEPARATOR
from dynamo_containers.process import SHOWN_LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.engine.history import Vertex

    Vertexes = Mapping[str, Vertex]

OF_DOCKERFILE = re.compile(
    r"\[(?:(?P<platform>linux/[\w/]+)\S* )?(?P<place>(?P<stage>\S+ +)?(?P<number>\d+)/\d+)\] (?P<instruction>.*)",
    re.DOTALL,
)
"""BuildKit's name of an instruction of a Dockerfile; it has the platform where several are built."""
OF_CONTEXT = re.compile(r"\[context (?P<name>[^\s\]]+)\] ")
"""BuildKit's name of the work for a named context."""
MOUNT = re.compile(r"--mount=\S+\s+")
WIDTH = 120
SHORTEST = 0.1
"""Seconds below which other work than instructions, such as sending a folder, is not listed."""


def targets(
    graph: Mapping[str, Sequence[str]],
    records: Mapping[str, Sequence[Vertexes]],
    platforms: Sequence[str],
    started: float,
    *,
    succeeded: bool,
) -> tuple[RecordedTarget, ...]:
    """Return the targets of a build, each after those that it needs.

    Args:
        graph: target -> the targets that it needs.
        records: target -> its records, one for each node of the builder.
        platforms: the platforms of the build.
        started: the start of the build, in seconds since 1970.
        succeeded: whether it succeeded: then nothing that did not start was needed.
    """
    merged = history.merge(vertexes for rows in records.values() for vertexes in rows)
    digests = {target: {digest for vertexes in rows for digest in vertexes} for target, rows in records.items()}
    recorded: list[RecordedTarget] = []
    for name in in_order(graph):
        lower = {digest for needed in graph[name] for digest in digests.get(needed, ())}
        own = [vertex for digest, vertex in merged.items() if digest in digests.get(name, ()) and digest not in lower]
        rows = _by_platform(own, platforms[0] if len(platforms) == 1 else "")
        recorded += [
            _target(name, platform, vertexes, started, succeeded=succeeded) for platform, vertexes in rows.items()
        ]
    return tuple(recorded)


def by_stage(graph: Mapping[str, Sequence[str]], target: str, vertexes: Vertexes) -> Mapping[str, Vertexes]:
    """Return target -> its work, of a record in which the targets are stages of a single Dockerfile.

    Work that belongs to no stage, such as sending folders, is that of the target itself.
    """
    parts: dict[str, dict[str, Vertex]] = {}
    for digest, vertex in vertexes.items():
        line, context = OF_DOCKERFILE.match(vertex.name), OF_CONTEXT.match(vertex.name)
        place = (line["stage"] or "").strip() if line else context["name"] if context else ""
        owner, _, stage = place.partition(SEPARATOR)
        if owner not in graph:
            owner, stage = target, ""
        name = vertex.name.replace(f"{owner}{SEPARATOR}", "", 1) if stage else vertex.name
        parts.setdefault(owner, {})[digest] = replace(vertex, name=name)
    return parts


def in_order(graph: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the targets of a graph, each after those that it needs."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in graph.get(name, ()):
            if needed not in order:
                add(needed)
        order[name] = None

    for name in sorted(graph):
        add(name)
    return tuple(name for name in order if name in graph)


def _by_platform(vertexes: Iterable[Vertex], otherwise: str) -> dict[str, list[Vertex]]:
    """Return platform -> the work for it; work without a platform counts for each."""
    rows: dict[str, list[Vertex]] = {}
    for vertex in vertexes:
        line = OF_DOCKERFILE.match(vertex.name)
        rows.setdefault((line and line["platform"]) or "", []).append(vertex)
    common = rows.pop("", [])
    return {name: [*common, *rows[name]] for name in sorted(rows)} or {otherwise: common}


def _target(name: str, platform: str, vertexes: Sequence[Vertex], started: float, *, succeeded: bool) -> RecordedTarget:
    spans = _spans([vertex for vertex in vertexes if not vertex.cached], started)
    failed = next((vertex for vertex in vertexes if _state(vertex, succeeded=succeeded) == FAILED), None)
    log = redact.text(failed.log).splitlines()[-SHOWN_LINES:] if failed else ()
    return RecordedTarget(
        name=name,
        platform=platform,
        state=_state_of_target(vertexes, succeeded=succeeded),
        seconds=round(sum(end - start for start, end in spans), 3),
        spans=spans,
        instructions=tuple(_instruction(vertex, succeeded=succeeded) for vertex in _listed(vertexes)),
        log=tuple(log),
    )


def _state_of_target(vertexes: Sequence[Vertex], *, succeeded: bool) -> str:
    """Return the state of a target: its instructions count, and other work that failed."""
    states = [_state(vertex, succeeded=succeeded) for vertex in vertexes]
    lines = [_state(vertex, succeeded=succeeded) for vertex in vertexes if OF_DOCKERFILE.match(vertex.name)]
    if FAILED in states:
        return FAILED
    if CANCELED in states or (WAITING in lines and set(lines) - {WAITING, CACHED}):
        return CANCELED
    if DONE in lines or (states and not lines):
        return DONE
    return WAITING if WAITING in lines or not (lines or succeeded) else CACHED


def _state(vertex: Vertex, *, succeeded: bool) -> str:
    if vertex.error and not vertex.canceled:
        return FAILED
    if vertex.canceled and not succeeded:
        return CANCELED
    if vertex.started is None:
        return CACHED if succeeded else WAITING
    return CACHED if vertex.cached else DONE


def _listed(vertexes: Sequence[Vertex]) -> list[Vertex]:
    """Return the work that gets a line, by time; the instructions of a stage stay together and in their order."""
    starts: dict[str, float] = {}
    for vertex in vertexes:
        stage = _stage(vertex)
        start = float("inf") if vertex.started is None else vertex.started
        starts[stage] = min(starts.get(stage, float("inf")), start)
    return sorted(
        filter(_is_listed, vertexes), key=lambda vertex: (starts[_stage(vertex)], _stage(vertex), _number(vertex))
    )


def _stage(vertex: Vertex) -> str:
    line = OF_DOCKERFILE.match(vertex.name)
    return (line["stage"] or "") if line else vertex.name


def _number(vertex: Vertex) -> int:
    line = OF_DOCKERFILE.match(vertex.name)
    return int(line["number"]) if line else 0


def _is_listed(vertex: Vertex) -> bool:
    return bool(OF_DOCKERFILE.match(vertex.name)) or bool(vertex.error) or _seconds(vertex) >= SHORTEST


def _seconds(vertex: Vertex) -> float:
    if vertex.cached or vertex.started is None or vertex.completed is None:
        return 0.0
    return max(0.0, vertex.completed - vertex.started)


def _instruction(vertex: Vertex, *, succeeded: bool) -> RecordedInstruction:
    line = OF_DOCKERFILE.match(vertex.name)
    text = f"[{line['place']}] {MOUNT.sub('', line['instruction'])}" if line else vertex.name
    short = " ".join(redact.text(text).split())
    return RecordedInstruction(
        name=short if len(short) <= WIDTH else f"{short[: WIDTH - 1]}…",
        state=_state(vertex, succeeded=succeeded),
        seconds=round(_seconds(vertex), 3),
        error=redact.text(vertex.error) if _state(vertex, succeeded=succeeded) == FAILED else "",
    )


def _spans(vertexes: Iterable[Vertex], started: float) -> tuple[tuple[float, float], ...]:
    """Return (start, end) of work, in seconds since the build started; what overlaps is a single span."""
    times = sorted(
        (vertex.started - started, max(vertex.started, vertex.completed) - started)
        for vertex in vertexes
        if vertex.started is not None and vertex.completed is not None
    )
    spans: list[tuple[float, float]] = []
    for start, end in times:
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return tuple((round(start, 3), round(end, 3)) for start, end in spans)
