"""BuildKit's records of a build, as the targets of its graph."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import process
from dynamo_containers.engine import build_refs, history
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.inspect.report import build_records
from dynamo_containers.inspect.report import steps as target_history
from dynamo_containers.inspect.report.record import CACHED, CANCELED, DONE, FAILED, WAITING
from dynamo_containers.plan.bake import BakeGraph, BuildPlan, PlannedImage
from dynamo_containers.plan.builders import Builder, BuilderNode, Node
from dynamo_containers.plan.node_plan import BakeCall, NodePlan
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildInputs, BuildPart, request_for
from dynamo_containers.plan.target import Target
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

BEGAN = 1795543140.0  # 2026-11-24T17:59:00Z
AMD64 = ("linux/amd64",)
GRAPH = {"top": ("below",), "below": ()}


def at(second: float) -> str:
    return f"2026-11-24T17:59:{second:012.9f}Z"


def vertex(name: str, start: float | None = None, end: float | None = None, **more: object) -> dict[str, Any]:
    times = {"started": start, "completed": end}
    stamps = {key: at(second) for key, second in times.items() if second is not None}
    return {"digest": f"sha256:{name}", "name": name, **stamps, **more}


def wrote(name: str, text: str) -> dict[str, Any]:
    return {"vertex": f"sha256:{name}", "stream": 1, "data": base64.b64encode(text.encode()).decode()}


def stream(*vertexes: dict[str, Any], logs: tuple[dict[str, Any], ...] = ()) -> dict[str, history.Vertex]:
    """Return the vertexes of a stream that first names all of them, as BuildKit does."""
    named = [{"digest": row["digest"], "name": row["name"]} for row in vertexes]
    lines = [{"vertexes": named}, {"vertexes": list(vertexes)}, {"logs": list(logs)}]
    return history.parse("\n".join(json.dumps(line) for line in lines))


def states(
    top: dict[str, history.Vertex], base: dict[str, history.Vertex], *, succeeded: bool = True
) -> dict[str, tuple[str, float]]:
    targets = target_history.targets(GRAPH, {"top": [top], "below": [base]}, AMD64, BEGAN, succeeded=succeeded)
    return {target.name: (target.state, target.seconds) for target in targets}


def test_a_target_has_the_work_of_its_record_without_that_of_the_targets_below() -> None:
    os_run, top_run = vertex("[1/1] RUN os", 1, 3), vertex("[2/2] COPY top", 3, 3.5)
    assert states(stream(os_run, top_run), stream(os_run)) == {"below": (DONE, 2.0), "top": (DONE, 0.5)}


def test_the_record_that_ran_an_instruction_wins_over_one_that_found_it_cached() -> None:
    ran, cached = vertex("[1/1] RUN os", 1, 3), vertex("[1/1] RUN os", 3, 3, cached=True)
    assert states(stream(cached), stream(ran))["below"] == (DONE, 2.0)
    assert states(stream(ran), stream(cached))["below"] == (DONE, 2.0)


def test_a_target_whose_instructions_are_all_cached_is_cached_whatever_was_sent() -> None:
    sent, line = vertex("[internal] load build context", 1, 1.25), vertex("[1/1] RUN os", 2, 2, cached=True)
    assert states({}, stream(sent, line))["below"] == (CACHED, 0.25)


def test_work_that_never_started_was_not_needed_in_a_good_build_and_waits_in_a_failed_one() -> None:
    line = vertex("[1/1] RUN os")
    assert states({}, stream(line)) == {"below": (CACHED, 0.0), "top": (CACHED, 0.0)}
    assert states({}, stream(line), succeeded=False) == {"below": (WAITING, 0.0), "top": (WAITING, 0.0)}


def test_a_failed_instruction_fails_its_target_and_cancels_what_runs_beside_it() -> None:
    broken = vertex("[1/2] RUN pip install", 1, 4, error='process "/bin/sh -c pip" did not complete: exit code: 1')
    stopped = vertex("[1/1] RUN long", 1, 4, error="failed to solve: Canceled: context canceled")
    log = "".join(f"line {number}\n" for number in range(1, 101))
    base = stream(broken, vertex("[2/2] RUN next"), logs=(wrote("[1/2] RUN pip install", log),))
    top, failed = (
        target
        for target in target_history.targets(
            {"top": (), "below": ()}, {"top": [stream(stopped)], "below": [base]}, AMD64, BEGAN, succeeded=False
        )[::-1]
    )
    assert (top.state, top.log) == (CANCELED, ())
    assert (failed.state, failed.seconds) == (FAILED, 3.0)
    assert failed.log == tuple(f"line {number}" for number in range(61, 101))
    assert [(line.name, line.state, line.error) for line in failed.instructions] == [
        ("[1/2] RUN pip install", FAILED, 'process "/bin/sh -c pip" did not complete: exit code: 1'),
        ("[2/2] RUN next", WAITING, ""),
    ]


def test_work_that_starts_and_never_ends_is_canceled() -> None:
    assert states({}, stream(vertex("[1/1] RUN os", 1)), succeeded=False)["below"] == (CANCELED, 0.0)


def test_times_that_overlap_count_once() -> None:
    rows = (vertex("[a 1/2] RUN x", 1, 3), vertex("[b 1/2] RUN y", 2, 5), vertex("[c 1/2] RUN z", 7, 8))
    (target,) = target_history.targets({"os": ()}, {"os": [stream(*rows)]}, AMD64, BEGAN, succeeded=True)
    assert (target.spans, target.seconds) == (((1.0, 5.0), (7.0, 8.0)), 5.0)


def test_each_platform_is_a_row() -> None:
    rows = (
        vertex("[internal] load build context", 1, 2),
        vertex("[linux/amd64 wheels 1/2] RUN x", 2, 3),
        vertex("[linux/arm64 wheels 1/2] RUN x", 2, 9),
    )
    targets = target_history.targets(
        {"os": ()}, {"os": [stream(*rows)]}, ("linux/amd64", "linux/arm64"), BEGAN, succeeded=True
    )
    assert [(target.platform, target.seconds) for target in targets] == [("linux/amd64", 2.0), ("linux/arm64", 8.0)]


def test_the_instructions_of_a_stage_keep_their_order() -> None:
    rows = (
        vertex("[stage-1 1/1] COPY", 4, 5),
        vertex("[wheels 10/10] RUN", 2, 2, cached=True),
        vertex("[wheels 9/10] RUN", 2.5, 2.5, cached=True),
        vertex("[internal] load build context", 1, 3),
    )
    (target,) = target_history.targets({"os": ()}, {"os": [stream(*rows)]}, AMD64, BEGAN, succeeded=True)
    assert [line.name for line in target.instructions] == [
        "[internal] load build context",
        "[wheels 9/10] RUN",
        "[wheels 10/10] RUN",
        "[stage-1 1/1] COPY",
    ]


def test_a_line_is_shown_without_its_mounts_and_its_logins() -> None:
    long = (
        "[wheels 2/4] RUN --mount=type=bind,from=bin,target=/run/bin     --mount=type=cache,id=x pip https://a:b@c\nx"
    )
    (target,) = target_history.targets({"os": ()}, {"os": [stream(vertex(long, 1, 2))]}, AMD64, BEGAN, succeeded=True)
    assert [line.name for line in target.instructions] == ["[wheels 2/4] RUN pip https://***@c x"]


def test_another_form_of_the_stream_is_an_error_and_other_lines_are_ignored() -> None:
    with pytest.raises(ValueError, match="has an unknown form"):
        history.parse('{"vertexes": [{"colour": "red"}]}')
    assert history.parse("#1 a line of plain progress\n") == {}


def test_the_stages_of_a_merged_dockerfile_are_its_targets_again() -> None:
    rows = (
        vertex("[internal] load build context", 1, 2),
        vertex("[linux/amd64 below--wheels 1/2] RUN x", 2, 3),
        vertex("[linux/amd64 below 1/1] COPY x", 3, 4),
        vertex("[top 2/2] COPY y", 4, 5),
        vertex("[context below--bin] load from client", 1, 2),
        vertex("[context below] load from client", 1, 2),
        vertex("[context elsewhere] load from client", 1, 2),
        vertex("[other--stage 1/1] RUN z", 4, 5),
    )
    parts = target_history.by_stage(GRAPH, "top", stream(*rows))
    assert {target: [row.name for row in vertexes.values()] for target, vertexes in parts.items()} == {
        "top": [
            "[internal] load build context",
            "[top 2/2] COPY y",
            "[context elsewhere] load from client",
            "[other--stage 1/1] RUN z",
        ],
        "below": [
            "[linux/amd64 wheels 1/2] RUN x",
            "[linux/amd64 below 1/1] COPY x",
            "[context bin] load from client",
            "[context below] load from client",
        ],
    }


def test_a_graph_is_walked_from_what_is_needed() -> None:
    assert target_history.in_order({"c": ("b", "a"), "b": ("a",), "a": ()}) == ("a", "b", "c")


def note(state: Path, group: str, targets: dict[str, tuple[str, str]], moment: float, node: str = "default") -> None:
    """Note a build as buildx does: ref -> (target, folder)."""
    (state / "default" / node).mkdir(parents=True, exist_ok=True)
    (state / "__group__").mkdir(exist_ok=True)
    for ref, (target, folder) in targets.items():
        content = {"Target": target, "LocalPath": folder, "GroupRef": group}
        (state / "default" / node / ref).write_text(json.dumps(content), encoding="utf-8")
    refs = [*json.loads((state / "__group__" / group).read_text(encoding="utf-8"))["Refs"]] if moment < 0 else []
    (state / "__group__" / group).write_text(json.dumps({"Refs": [*refs, *targets]}), encoding="utf-8")
    os.utime(state / "__group__" / group, (abs(moment), abs(moment)))


def begun(state: Path, since: float, *, place: str = "*/*", assigned: tuple[str, ...] = ()) -> dict[str, str]:
    contexts = {"top": "/c/top", "below": "/c/below"}
    return build_refs.find_started(
        state, build_refs.StartedBuild(since=since, contexts=contexts, target="top", node=place), assigned
    )


def test_the_records_of_a_failed_build_are_the_first_ones_after_its_start(tmp_path: Path) -> None:
    mine = {"m1": ("top", "/c/top"), "m2": ("below", "/c/below")}
    note(tmp_path, "before", {"b1": ("top", "/c/top")}, 100)
    note(tmp_path, "other", {"o1": ("top", "/elsewhere/top")}, 201)
    note(tmp_path, "mine", mine, 202)
    note(tmp_path, "after", {"a1": ("top", "/c/top")}, 300)
    expected = {"default/default/m1": "top", "default/default/m2": "below"}
    assert begun(tmp_path, 200) == expected
    assert begun(tmp_path, 400) == {}
    assert begun(tmp_path / "nowhere", 200) == {}


COMMAND = process.Command(argv=("true",))
DEFAULT = Builder(name="default", driver="remote", nodes=(BuilderNode(name="node", platforms=("linux/amd64",)),))


def test_each_machine_has_its_own_records_where_builds_start_at_the_same_time(
    catalogue: Catalogue, facts: BuildInputs, tmp_path: Path
) -> None:
    request = request_for(catalogue, Stage.BASE, ImageSelection(platforms=["linux/amd64"]))
    note(tmp_path, "there", {"t1": ("top", "/c/top")}, 202, node="node")
    note(tmp_path, "here", {"h1": ("top", "/c/top")}, 203)
    note(tmp_path, "below", {"u1": ("below", "/c/below")}, 201)
    assert begun(tmp_path, 200, place="default/node") == {"default/node/t1": "top"}
    assert begun(tmp_path, 200, assigned=("default/node/t1",)) == {"default/default/h1": "top"}
    graph = BakeGraph(targets={"top": Target(context="/c/top", args={}, contexts={})}, images=())
    plan = BuildPlan(parts=(BuildPart(request, facts),), graph=graph, policy={})
    image = PlannedImage(image=request.images[0], request=request, target="top", tag="base:1")
    call = BakeCall(images=(image,), document=process.Document(path=tmp_path / "none.json", text=""), command=COMMAND)
    builder_node = Node(builder=DEFAULT, platforms=(Platform.AMD64,), native=Platform.AMD64)
    nodes = [NodePlan(plan=plan, calls=(call,), node=node) for node in (None, builder_node)]
    records = build_records.records(nodes, tmp_path, 200, succeeded=False)
    assert records == ({"default/default/h1": "top"}, {"default/node/t1": "top"})


def test_each_node_of_a_builder_has_a_record(tmp_path: Path) -> None:
    note(tmp_path, "mine", {"m1": ("top", "/c/top")}, 100)
    note(tmp_path, "mine", {"m2": ("top", "/c/top")}, -100, node="arm")
    refs = build_refs.from_metadata({"top": {"buildx.build.ref": "default/default/m1"}, "warnings": [], "other": {}})
    assert refs == {"default/default/m1": "top"}
    assert build_refs.with_nodes(tmp_path, refs) == {"default/default/m1": "top", "default/arm/m2": "top"}
    assert build_refs.with_nodes(tmp_path / "nowhere", refs) == refs


def test_the_state_of_buildx_is_where_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDX_CONFIG", raising=False)
    assert str(build_refs.state_folder({"DOCKER_CONFIG": "/d"})) == "/d/buildx/refs"
    assert str(build_refs.state_folder({"DOCKER_CONFIG": "/d", "BUILDX_CONFIG": "/b"})) == "/b/refs"
