"""Steps of a build with times, from BuildKit's records."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers.engine import history
from dynamo_containers.inspect.report import redact
from dynamo_containers.inspect.report.record import CACHED, CANCELED, DONE, FAILED, WAITING, Instruction, Step
from dynamo_containers.plan.merged_dockerfile import SEPARATOR
from dynamo_containers.process import SHOWN_LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.engine.history import Vertex

    Vertexes = Mapping[str, Vertex]

OF_DOCKERFILE = re.compile(
    r"\[(?:(?P<platform>linux/[\w/]+)\S* )?(?P<place>(?P<stage>\S+ +)?(?P<number>\d+)/\d+)\] (?P<words>.*)", re.DOTALL
)
"""How BuildKit names what a line of a Dockerfile does; with the platform where several are built."""
OF_CONTEXT = re.compile(r"\[context (?P<name>[^\s\]]+)\] ")
"""How it names what it does to have a named context."""
MOUNT = re.compile(r"--mount=\S+\s+")
WIDTH = 120
SHORTEST = 0.1
"""Seconds below which what is no line of a Dockerfile, such as the sending of a folder, is not listed."""


def steps(
    graph: Mapping[str, Sequence[str]],
    records: Mapping[str, Sequence[Vertexes]],
    platforms: Sequence[str],
    began: float,
    *,
    done: bool,
) -> tuple[Step, ...]:
    """Return the steps of a build, each after those that it needs.

    Args:
        graph: step -> the steps that it needs.
        records: step -> the records of its target, one for each node of the builder.
        platforms: what was built for.
        began: when the build began, in seconds since 1970.
        done: whether it ended well: then what was never begun was not needed.
    """
    every = history.merged(each for some in records.values() for each in some)
    said = {step: {digest for each in some for digest in each} for step, some in records.items()}
    found: list[Step] = []
    for name in in_order(graph):
        below = {digest for needed in graph[name] for digest in said.get(needed, ())}
        own = [every[digest] for digest in every if digest in said.get(name, ()) and digest not in below]
        rows = _by_platform(own, platforms[0] if len(platforms) == 1 else "")
        found += [_step(name, platform, vertexes, began, done=done) for platform, vertexes in rows.items()]
    return tuple(found)


def parted(graph: Mapping[str, Sequence[str]], target: str, vertexes: Vertexes) -> Mapping[str, Vertexes]:
    """Return step -> what it did, of a record in which the steps are stages of one Dockerfile.

    What is no line of a stage, such as the sending of folders, is the target's own.
    """
    found: dict[str, dict[str, Vertex]] = {}
    for digest, vertex in vertexes.items():
        line, context = OF_DOCKERFILE.match(vertex.name), OF_CONTEXT.match(vertex.name)
        place = (line["stage"] or "").strip() if line else context["name"] if context else ""
        step, _, stage = place.partition(SEPARATOR)
        if step not in graph:
            step, stage = target, ""
        name = vertex.name.replace(f"{step}{SEPARATOR}", "", 1) if stage else vertex.name
        found.setdefault(step, {})[digest] = replace(vertex, name=name)
    return found


def in_order(graph: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the steps of a graph, each after those that it needs."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in graph.get(name, ()):
            if needed not in found:
                add(needed)
        found[name] = None

    for name in sorted(graph):
        add(name)
    return tuple(name for name in found if name in graph)


def _by_platform(vertexes: Iterable[Vertex], otherwise: str) -> dict[str, list[Vertex]]:
    """Return platform -> what was done for it; what names none was done for all of them."""
    rows: dict[str, list[Vertex]] = {}
    for vertex in vertexes:
        line = OF_DOCKERFILE.match(vertex.name)
        rows.setdefault((line and line["platform"]) or "", []).append(vertex)
    common = rows.pop("", [])
    return {name: [*common, *rows[name]] for name in sorted(rows)} or {otherwise: common}


def _step(name: str, platform: str, vertexes: Sequence[Vertex], began: float, *, done: bool) -> Step:
    spans = _spans([vertex for vertex in vertexes if not vertex.cached], began)
    failed = next((vertex for vertex in vertexes if _state(vertex, done=done) == FAILED), None)
    log = redact.text(failed.log).splitlines()[-SHOWN_LINES:] if failed else ()
    return Step(
        name=name,
        platform=platform,
        state=_state_of(vertexes, done=done),
        seconds=round(sum(end - start for start, end in spans), 3),
        spans=spans,
        instructions=tuple(_instruction(vertex, done=done) for vertex in _listed(vertexes)),
        log=tuple(log),
    )


def _state_of(vertexes: Sequence[Vertex], *, done: bool) -> str:
    """Return the state of a step: a line of its Dockerfile counts, and what else failed."""
    states = [_state(vertex, done=done) for vertex in vertexes]
    lines = [_state(vertex, done=done) for vertex in vertexes if OF_DOCKERFILE.match(vertex.name)]
    if FAILED in states:
        return FAILED
    if CANCELED in states or (WAITING in lines and set(lines) - {WAITING, CACHED}):
        return CANCELED
    if DONE in lines or (states and not lines):
        return DONE
    return WAITING if WAITING in lines or not (lines or done) else CACHED


def _state(vertex: Vertex, *, done: bool) -> str:
    if vertex.error and not vertex.canceled:
        return FAILED
    if vertex.canceled and not done:
        return CANCELED
    if vertex.started is None:
        return CACHED if done else WAITING
    return CACHED if vertex.cached else DONE


def _listed(vertexes: Sequence[Vertex]) -> list[Vertex]:
    """Return what is worth a line, in the order of time; the lines of one stage stay together and in their own."""
    begun: dict[str, float] = {}
    for vertex in vertexes:
        stage = _stage(vertex)
        begun[stage] = min(begun.get(stage, float("inf")), float("inf") if vertex.started is None else vertex.started)
    return sorted(filter(_is_listed, vertexes), key=lambda each: (begun[_stage(each)], _stage(each), _number(each)))


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


def _instruction(vertex: Vertex, *, done: bool) -> Instruction:
    line = OF_DOCKERFILE.match(vertex.name)
    words = f"[{line['place']}] {MOUNT.sub('', line['words'])}" if line else vertex.name
    short = " ".join(redact.text(words).split())
    return Instruction(
        name=short if len(short) <= WIDTH else f"{short[: WIDTH - 1]}…",
        state=_state(vertex, done=done),
        seconds=round(_seconds(vertex), 3),
        error=redact.text(vertex.error) if _state(vertex, done=done) == FAILED else "",
    )


def _spans(vertexes: Iterable[Vertex], began: float) -> tuple[tuple[float, float], ...]:
    """Return when any of these was worked on, in seconds since the build began; what overlaps is one span."""
    times = sorted(
        (vertex.started - began, max(vertex.started, vertex.completed) - began)
        for vertex in vertexes
        if vertex.started is not None and vertex.completed is not None
    )
    found: list[tuple[float, float]] = []
    for start, end in times:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple((round(start, 3), round(end, 3)) for start, end in found)
