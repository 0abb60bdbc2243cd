"""Plan of `invoke run`: the docker command of a shell in an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.plan import container
from dynamo_containers.plan.container import ContainerOptions
from tests.unit.planned import DOCKER

if TYPE_CHECKING:
    from dynamo_containers.plan.request import Request

ENVIRONMENT = {"DOCKER_HOST": "unix:///somewhere/docker.sock"}
DEV, RUNTIME = "dynamo-frontend-dev:1.4.2-debian-arm64", "dynamo-frontend:1.4.2-debian-arm64"
PARENT = Path("/home/me/src")
START = ("docker", "run", "--rm", "--interactive", "--pull", "never", "--platform", "linux/arm64")


def requests_of(stage: str = "") -> tuple[Request, ...]:
    return container.requests(load_catalogue(), "frontend", stage, ["linux/arm64"])


def argv(options: ContainerOptions, *built: str, stage: str = "") -> tuple[str, ...]:
    docker = replace(DOCKER, environment=ENVIRONMENT)
    (command,) = container.plan(requests_of(stage), "1.4.2", options, docker, built).commands
    assert command.env == ENVIRONMENT
    return command.argv


def test_the_uppermost_stage_that_is_built_is_started() -> None:
    options = ContainerOptions(checkouts=PARENT)
    assert argv(options, RUNTIME) == (*START, "--tty", RUNTIME, "/bin/bash")
    assert argv(options, RUNTIME, DEV) == (*START, "--tty", "--volume", "/home/me/src:/workspace", DEV, "/bin/bash")


def test_the_stage_that_is_named_is_started() -> None:
    assert argv(ContainerOptions(checkouts=PARENT), RUNTIME, DEV, stage="runtime")[-2:] == (RUNTIME, "/bin/bash")


def test_a_source_is_mounted_in_any_stage_and_a_command_needs_no_terminal() -> None:
    options = ContainerOptions(checkouts=PARENT, source=Path("/src"), command="pytest -x", terminal=False, gpu=True)
    mounted = ("--gpus", "all", "--volume", "/src:/workspace")
    assert argv(options, RUNTIME) == (*START, *mounted, RUNTIME, "/bin/bash", "-c", "pytest -x")


def test_the_sources_of_root_are_roots_in_a_dev_image_alone() -> None:
    options = ContainerOptions(checkouts=PARENT, source=Path("/src"), user=0)
    assert argv(options, DEV)[len(START) + 1 :][:2] == ("--user", "0:0")
    assert "--user" not in argv(options, RUNTIME)


def test_a_container_publishes_no_port_and_is_removed_in_the_end() -> None:
    arguments = argv(ContainerOptions(checkouts=PARENT), DEV)
    assert "--rm" in arguments
    assert not {"--publish", "-p", "-P", "--publish-all", "--network"} & set(arguments)


@pytest.mark.parametrize(
    ("stage", "tag", "line"),
    [
        ("", DEV, "invoke build.dev --image frontend --platform linux/arm64 --bases debian"),
        ("runtime", RUNTIME, "invoke build.runtime --image frontend --platform linux/arm64 --bases debian"),
    ],
    ids=["any stage", "one stage"],
)
def test_an_image_that_is_not_built_is_refused_with_the_command_that_builds_it(stage: str, tag: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        argv(ContainerOptions(checkouts=PARENT), "dynamo-base:1.4.2-debian-arm64", stage=stage)
    assert str(caught.value) == f"{tag} is not in the engine's store.\nBuild it: {line}"


def test_several_platforms_are_refused() -> None:
    requests = container.requests(load_catalogue(), "frontend", "dev", ["all"])
    with pytest.raises(UsageError, match="A container runs on one platform"):
        container.plan(requests, "1.4.2", ContainerOptions(checkouts=PARENT), DOCKER, (DEV,))


def test_an_image_without_a_stage_is_refused() -> None:
    catalogue = load_catalogue()
    none = replace(catalogue.images["trtllm"], stages=())
    with pytest.raises(UsageError, match="trtllm has no stage yet"):
        container.requests(replace(catalogue, images={"trtllm": none}), "trtllm")
