"""Targets of a build on several nodes: each is queried, and one that does not answer hides no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.docker_cli import Docker
from dynamo_containers.inspect.report import backfill
from dynamo_containers.inspect.report.record import (
    BUILDING,
    DONE,
    FAILED,
    BuildReport,
    Failure,
    RecordedImage,
    RecordedNode,
    RequestedBuild,
)

if TYPE_CHECKING:
    from pathlib import Path

HERE, NODE, DEAD = "the engine of this machine", "the builder node", "the builder dead"
BUILDX = """\
#!/bin/sh
case "$1 $2 $3" in
"imagetools inspect --raw") cat "$(dirname "$0")/manifest"; exit ;;
"imagetools inspect "*) cat "$(dirname "$0")/config"; exit ;;
esac
case "$DOCKER_CONTEXT" in
dead) echo "ERROR: Cannot connect" >&2; exit 1 ;;
*) cat "$(dirname "$0")/answer-${DOCKER_CONTEXT:-here}" ;;
esac
"""


def answer(name: str, error: str = "") -> str:
    times = {"started": "2026-11-24T17:59:01Z", "completed": "2026-11-24T17:59:03Z"}
    vertex = {"digest": f"sha256:{name}", "name": name, "error": error, **times}
    return json.dumps({"vertexes": [vertex]}) + "\n"


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """Return a docker CLI whose buildx is a script that answers for each machine."""
    plugins = tmp_path / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").write_text(BUILDX, encoding="utf-8")
    (plugins / "docker-buildx").chmod(0o755)
    (plugins / "answer-here").write_text(answer("[wheels 1/1] RUN x"), encoding="utf-8")
    (plugins / "answer-node").write_text(answer("[wheels 1/1] RUN x", "exit code: 1"), encoding="utf-8")
    variables = {"DOCKER_CONFIG": str(tmp_path / "docker"), "BUILDX_CONFIG": str(tmp_path)}
    return Docker(environment=variables, buildx=(str(plugins / "docker-buildx"),))


def node(name: str, platform: str, context: str = "", *records: str, joined: bool = False) -> RecordedNode:
    variables = {"DOCKER_CONTEXT": context} if context else {}
    return RecordedNode(name=name, platforms=(platform,), variables=variables, merged=joined, records=records)


def report(*nodes: RecordedNode) -> BuildReport:
    return BuildReport(
        name="1",
        request=RequestedBuild(command="", stage="base", images=("base",), bases="debian", platforms=()),
        started=1795543140.0,
        outcome=FAILED,
        failure=Failure(phase=BUILDING, message="", exit_code=7),
        graph={"base": ()},
        records={ref: "base" for node in nodes for ref in node.records},
        nodes=nodes,
    )


def test_a_pair_of_which_one_half_failed_has_the_steps_of_both(docker: Docker) -> None:
    pair = report(node(HERE, "linux/amd64", "", "default/default/1"), node(NODE, "linux/arm64", "node", "node/node/2"))
    completed = backfill.with_targets(pair, docker)
    assert [(target.node, target.platform, target.state) for target in completed.targets or ()] == [
        (HERE, "linux/amd64", DONE),
        (NODE, "linux/arm64", FAILED),
    ]
    assert completed.failed_target is not None
    assert completed.failed_target.node == NODE
    assert completed.unknown_reason == ""


def test_a_machine_that_is_away_is_named_and_hides_no_steps_of_another_one(docker: Docker) -> None:
    pair = report(node(HERE, "linux/amd64", "", "default/default/1"), node(DEAD, "linux/arm64", "dead", "dead/dead/2"))
    completed = backfill.with_targets(pair, docker)
    assert [(target.node, target.state) for target in completed.targets or ()] == [(HERE, DONE)]
    assert [node.unknown_reason for node in completed.nodes] == [
        "",
        "the engine did not return BuildKit's records of this build: ERROR: Cannot connect",
    ]


def test_where_no_machine_answers_no_steps_are_known_and_each_says_why(docker: Docker) -> None:
    completed = backfill.with_targets(report(node(DEAD, "linux/arm64", "dead", "dead/dead/2")), docker)
    assert completed.targets is None
    assert completed.unknown_reason.startswith(f"{DEAD}: ")


def test_a_machine_on_which_nothing_began_is_not_asked(docker: Docker) -> None:
    pair = report(node(HERE, "linux/amd64", "", "default/default/1"), node(NODE, "linux/arm64", "node"))
    completed = backfill.with_targets(pair, docker)
    assert [node.unknown_reason for node in completed.nodes] == ["", "no target was started there"]


def test_what_was_pushed_is_measured_by_its_registry(docker: Docker, tmp_path: Path) -> None:
    plugins = tmp_path / "docker/cli-plugins"
    layers = [{"digest": "sha256:a", "size": 40}, {"digest": "sha256:b", "size": 60}]
    (plugins / "manifest").write_text(json.dumps({"layers": layers}), encoding="utf-8")
    history = [{"created_by": "mmdebstrap --variant=x"}, {"created_by": "ENV A=1"}, {"created_by": "COPY /tree /"}]
    config = {"rootfs": {"diff_ids": ["sha256:1", "sha256:2"]}, "history": history}
    (plugins / "config").write_text(json.dumps(config), encoding="utf-8")
    pushed = RecordedImage(
        name="base",
        stage="base",
        tag="part",
        digest="sha256:c",
        package_targets=("base",),
        pushed="r.example/base@sha256:c",
    )
    size = backfill._measured(tmp_path, docker, pushed).size
    assert size is not None
    assert [(layer.name, layer.packed, layer.unpacked) for layer in size.layers] == [
        ("root image", 40, 0),
        ("base", 60, 0),
    ]
    (plugins / "config").write_text("{}", encoding="utf-8")
    assert backfill._measured(tmp_path, docker, pushed).unmeasured_reason.startswith("its history does not have")
