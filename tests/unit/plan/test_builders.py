"""Builders: each platform is built on a machine of its own, and never emulated if there is one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import FatalError, NoEngineError, UsageError
from dynamo_containers.plan import builders
from dynamo_containers.plan.builders import Builder, BuilderNode, Node
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

AMD64, ARM64 = Platform.AMD64, Platform.ARM64
BOTH = (AMD64, ARM64)


def builder(name: str, *nodes: tuple[str, ...], driver: str = "remote") -> Builder:
    builder_nodes = (BuilderNode(name=f"{name}{number}", platforms=platforms) for number, platforms in enumerate(nodes))
    return Builder(name=name, driver=driver, nodes=tuple(builder_nodes))


ARM = builder("arm", ("linux/arm64", "linux/arm/v7"))
EMULATING = builder("emulating", ("linux/amd64", "linux/amd64/v2", "linux/arm64"))


def test_without_rows_the_engine_in_use_builds_everything() -> None:
    groups = builders.group_platforms(BOTH, {}, "")
    assert groups == {"": BOTH}
    assert builders.nodes(groups, {}, AMD64) == (Node(builder=None, platforms=BOTH, native=AMD64),)


def test_each_platform_with_a_row_is_built_by_its_builder_natively() -> None:
    groups = builders.group_platforms(BOTH, {ARM64: "arm"}, "")
    assert builders.nodes(groups, {"arm": ARM}, AMD64) == (
        Node(builder=None, platforms=(AMD64,), native=AMD64),
        Node(builder=ARM, platforms=(ARM64,), native=ARM64),
    )


def test_a_platform_that_is_not_built_needs_no_builder() -> None:
    assert builders.group_platforms((AMD64,), {ARM64: "arm"}, "") == {"": (AMD64,)}


def test_the_variable_of_buildx_names_the_builder_of_platforms_without_a_row() -> None:
    pair = builder("pair", ("linux/amd64",), ("linux/arm64",))
    assert builders.group_platforms(BOTH, {}, "pair") == {"pair": BOTH}
    assert builders.group_platforms(BOTH, {ARM64: "arm"}, "pair") == {"pair": (AMD64,), "arm": (ARM64,)}
    assert builders.nodes({"pair": BOTH}, {"pair": pair}, AMD64) == (
        Node(builder=pair, platforms=(AMD64,), native=AMD64),
        Node(builder=pair, platforms=(ARM64,), native=ARM64),
    ), "one node for each machine: the tools of a step run on the machine that builds"


def test_a_platform_without_a_machine_may_be_emulated() -> None:
    groups = builders.group_platforms(BOTH, {ARM64: "emulating"}, "")
    assert builders.nodes(groups, {"emulating": EMULATING}, AMD64) == (
        Node(builder=None, platforms=(AMD64,), native=AMD64),
        Node(builder=EMULATING, platforms=(ARM64,), native=AMD64),
    )


@pytest.mark.parametrize(
    ("groups", "available", "native", "kind", "message"),
    [
        pytest.param(
            {"arn": (ARM64,)},
            {"arm": ARM},
            AMD64,
            UsageError,
            r'unknown builder of buildx "arn" [(]choose from: arm[)]\nDid you mean arm[?]\nCreate it',
            id="a builder that buildx does not have",
        ),
        pytest.param(
            {"arm": (AMD64,)},
            {"arm": ARM},
            AMD64,
            NoEngineError,
            r"The builder arm does not build linux/amd64. No image was built",
            id="a builder for other platforms",
        ),
        pytest.param(
            {"dead": (ARM64,)},
            {
                "dead": Builder(
                    name="dead", driver="remote", nodes=(BuilderNode(name="dead0", platforms=(), error="no route"),)
                )
            },
            AMD64,
            NoEngineError,
            r"The builder dead does not build linux/arm64 \(dead0: no route\). No image was built",
            id="a builder that does not answer: nothing is emulated instead",
        ),
        pytest.param(
            {"emulating": (ARM64,), "arm": (AMD64,)},
            {"emulating": EMULATING, "arm": builder("arm", ("linux/arm64", "linux/amd64"))},
            AMD64,
            UsageError,
            "The builder emulating would emulate linux/arm64, although the builder arm is a linux/arm64 machine",
            id="rows the wrong way round",
        ),
        pytest.param(
            {"": (ARM64,), "arm": (AMD64,)},
            {"arm": builder("arm", ("linux/arm64", "linux/amd64"))},
            AMD64,
            UsageError,
            "The engine of this machine would emulate linux/arm64, although the builder arm is a linux/arm64 machine",
            id="a native node that is given something else",
        ),
        pytest.param(
            {"pair": (ARM64,)},
            {"pair": builder("pair", ("linux/amd64", "linux/arm64"), ("linux/arm64",))},
            AMD64,
            UsageError,
            "buildx would emulate linux/arm64 on pair0, although pair1 of the same builder is a linux/arm64 machine",
            id="a builder whose first node emulates what the second one is",
        ),
        pytest.param(
            {"emulating": (ARM64,)},
            {"emulating": EMULATING},
            ARM64,
            UsageError,
            "The builder emulating is a linux/amd64 machine, so it would emulate every platform of this build",
            id="emulation of the platform of this very machine",
        ),
    ],
)
def test_a_platform_that_cannot_be_built_natively_is_refused(
    groups: dict[str, tuple[Platform, ...]],
    available: dict[str, Builder],
    native: Platform,
    kind: type[FatalError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        builders.nodes(groups, available, native)


def test_the_list_of_buildx_is_parsed() -> None:
    rows = [
        {
            "Name": "arm",
            "Driver": "kubernetes",
            "Nodes": [
                {"Name": "arm0", "Status": "running", "Platforms": ["linux/arm64", "linux/arm/v7"]},
                {"Name": "arm1", "Status": "stopped", "Platforms": ["linux/arm64"]},
                {"Name": "arm2", "Err": "no such host"},
            ],
        },
        {"Name": "default", "Driver": "docker", "Nodes": None},
    ]
    assert builders.parse("\n".join(map(json.dumps, rows)) + "\n\n") == {
        "arm": Builder(
            name="arm",
            driver="kubernetes",
            nodes=(
                BuilderNode(name="arm0", platforms=("linux/arm64", "linux/arm/v7")),
                BuilderNode(name="arm1", platforms=(), error="it is stopped"),
                BuilderNode(name="arm2", platforms=(), error="no such host"),
            ),
        ),
        "default": Builder(name="default", driver="docker", nodes=()),
    }


def test_a_builder_that_is_gone_is_named() -> None:
    nodes = (
        Node(builder=None, platforms=(AMD64,), native=AMD64),
        Node(builder=ARM, platforms=(ARM64,), native=ARM64),
    )
    dead = Builder(name="arm", driver="remote", nodes=(BuilderNode(name="arm0", platforms=(), error="refused"),))
    assert builders.missing_builder(nodes, {"arm": ARM}) == ""
    assert builders.missing_builder(nodes, {"arm": dead}) == "The builder arm"
    assert builders.missing_builder(nodes, {}) == "The builder arm"


def test_an_engine_is_named_as_a_context_and_any_other_builder_by_its_name() -> None:
    assert builder("arm").variables == {"BUILDX_BUILDER": "arm"}
    assert builder("node", driver="docker").variables == {
        "DOCKER_CONTEXT": "node",
        "DOCKER_HOST": "",
        "BUILDX_BUILDER": "",
    }


def test_rows_are_read_and_a_wrong_one_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "builders.toml"

    def load(text: str) -> dict[Platform, str]:
        file.write_text(text, encoding="utf-8")
        return builders.load({builders.VARIABLE: str(file)})

    assert builders.load({"XDG_CONFIG_HOME": str(tmp_path)}) == {}
    assert load('[builders]\n"linux/arm64" = "arm"') == {ARM64: "arm"}
    for text, message in {
        '[builders]\n"linux/arm46" = "arm"': r"builders: found the key 'linux/arm46', allowed is one of",
        '[builders]\n"linux/arm64" = ""': r'builders."linux/arm64": found \'\', allowed is a builder of',
        '[builder]\n"linux/arm64" = "arm"': "builders is missing",
        "[builders]\n[nodes]": "nodes: unknown key",
    }.items():
        with pytest.raises(UsageError, match=message):
            load(text)
