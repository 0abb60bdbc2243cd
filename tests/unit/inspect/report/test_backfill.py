"""The steps of a build that several machines did: each is asked for its own, and one that is away hides no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.inspect.report import backfill
from dynamo_containers.inspect.report.record import BUILDING, DONE, FAILED, Asked, Failure, Image, Machine, Report

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
*) cat "$(dirname "$0")/said-${DOCKER_CONTEXT:-here}" ;;
esac
"""


def said(name: str, error: str = "") -> str:
    times = {"started": "2026-11-24T17:59:01Z", "completed": "2026-11-24T17:59:03Z"}
    vertex = {"digest": f"sha256:{name}", "name": name, "error": error, **times}
    return json.dumps({"vertexes": [vertex]}) + "\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which buildx is a script that answers for each machine."""
    plugins = tmp_path / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").write_text(BUILDX, encoding="utf-8")
    (plugins / "docker-buildx").chmod(0o755)
    (plugins / "said-here").write_text(said("[wheels 1/1] RUN x"), encoding="utf-8")
    (plugins / "said-node").write_text(said("[wheels 1/1] RUN x", "exit code: 1"), encoding="utf-8")
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "BUILDX_CONFIG": str(tmp_path)}


def machine(name: str, platform: str, context: str = "", *records: str, joined: bool = False) -> Machine:
    variables = {"DOCKER_CONTEXT": context} if context else {}
    return Machine(name=name, platforms=(platform,), variables=variables, joined=joined, records=records)


def report(*machines: Machine) -> Report:
    return Report(
        name="1",
        asked=Asked(command="", stage="base", images=("base",), bases="debian", platforms=()),
        started=1795543140.0,
        outcome=FAILED,
        failure=Failure(phase=BUILDING, message="", exit_code=7),
        graph={"base": ()},
        records={ref: "base" for each in machines for ref in each.records},
        machines=machines,
    )


def test_a_pair_of_which_one_half_failed_has_the_steps_of_both(environment: dict[str, str]) -> None:
    pair = report(
        machine(HERE, "linux/amd64", "", "default/default/1"), machine(NODE, "linux/arm64", "node", "node/node/2")
    )
    found = backfill.with_steps(pair, environment)
    assert [(step.machine, step.platform, step.state) for step in found.steps or ()] == [
        (HERE, "linux/amd64", DONE),
        (NODE, "linux/arm64", FAILED),
    ]
    assert found.failed_step is not None
    assert found.failed_step.machine == NODE
    assert found.unknown == ""


def test_a_machine_that_is_away_is_named_and_hides_no_steps_of_another_one(environment: dict[str, str]) -> None:
    pair = report(
        machine(HERE, "linux/amd64", "", "default/default/1"), machine(DEAD, "linux/arm64", "dead", "dead/dead/2")
    )
    found = backfill.with_steps(pair, environment)
    assert [(step.machine, step.state) for step in found.steps or ()] == [(HERE, DONE)]
    assert [each.unknown for each in found.machines] == [
        "",
        "the engine did not hand out BuildKit's records of this build: ERROR: Cannot connect",
    ]


def test_where_no_machine_answers_no_steps_are_known_and_each_says_why(environment: dict[str, str]) -> None:
    found = backfill.with_steps(report(machine(DEAD, "linux/arm64", "dead", "dead/dead/2")), environment)
    assert found.steps is None
    assert found.unknown.startswith(f"{DEAD}: ")


def test_a_machine_on_which_nothing_began_is_not_asked(environment: dict[str, str]) -> None:
    pair = report(machine(HERE, "linux/amd64", "", "default/default/1"), machine(NODE, "linux/arm64", "node"))
    found = backfill.with_steps(pair, environment)
    assert [each.unknown for each in found.machines] == ["", "nothing was begun there"]


def test_what_was_pushed_is_measured_by_its_registry(environment: dict[str, str], tmp_path: Path) -> None:
    plugins = tmp_path / "docker/cli-plugins"
    layers = [{"digest": "sha256:a", "size": 40}, {"digest": "sha256:b", "size": 60}]
    (plugins / "manifest").write_text(json.dumps({"layers": layers}), encoding="utf-8")
    history = [{"created_by": "mmdebstrap --variant=x"}, {"created_by": "ENV A=1"}, {"created_by": "COPY /tree /"}]
    config = {"rootfs": {"diff_ids": ["sha256:1", "sha256:2"]}, "history": history}
    (plugins / "config").write_text(json.dumps(config), encoding="utf-8")
    pushed = Image(
        name="base", stage="base", tag="part", digest="sha256:c", trees=("base",), pushed="r.example/base@sha256:c"
    )
    size = backfill._measured(tmp_path, environment, pushed).size
    assert size is not None
    assert [(layer.name, layer.packed, layer.unpacked) for layer in size.layers] == [
        ("root image", 40, 0),
        ("base", 60, 0),
    ]
    (plugins / "config").write_text("{}", encoding="utf-8")
    assert backfill._measured(tmp_path, environment, pushed).unmeasured.startswith("its history has not")
