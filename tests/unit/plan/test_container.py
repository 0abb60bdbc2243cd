"""The docker command that gives a person a shell in an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.plan import container
from dynamo_containers.plan.container import Wish
from tests.unit.planned import DOCKER

if TYPE_CHECKING:
    from dynamo_containers.plan.request import Request

ENVIRONMENT = {"DOCKER_HOST": "unix:///somewhere/docker.sock"}
DEV, RUNTIME = "dynamo-frontend-dev:1.4.2-debian-arm64", "dynamo-frontend:1.4.2-debian-arm64"
PARENT = Path("/home/me/src")
START = ("docker", "run", "--rm", "--interactive", "--pull", "never", "--platform", "linux/arm64")


def asked(stage: str = "") -> tuple[Request, ...]:
    return container.requests(load_catalogue(), "frontend", stage, ["linux/arm64"])


def argv(wish: Wish, *built: str, stage: str = "") -> tuple[str, ...]:
    (command,) = container.plan(asked(stage), "1.4.2", wish, replace(DOCKER, environment=ENVIRONMENT), built).commands
    assert command.env == ENVIRONMENT
    return command.argv


def test_the_uppermost_stage_that_is_built_is_started() -> None:
    wish = Wish(checkouts=PARENT)
    assert argv(wish, RUNTIME) == (*START, "--tty", RUNTIME, "/bin/bash")
    assert argv(wish, RUNTIME, DEV) == (*START, "--tty", "--volume", "/home/me/src:/workspace", DEV, "/bin/bash")


def test_the_stage_that_is_named_is_started() -> None:
    assert argv(Wish(checkouts=PARENT), RUNTIME, DEV, stage="runtime")[-2:] == (RUNTIME, "/bin/bash")


def test_a_source_is_mounted_in_any_stage_and_a_command_needs_no_terminal() -> None:
    wish = Wish(checkouts=PARENT, source=Path("/src"), command="pytest -x", terminal=False, gpu=True)
    mounted = ("--gpus", "all", "--volume", "/src:/workspace")
    assert argv(wish, RUNTIME) == (*START, *mounted, RUNTIME, "/bin/bash", "-c", "pytest -x")


def test_the_sources_of_root_are_roots_in_a_dev_image_alone() -> None:
    wish = Wish(checkouts=PARENT, source=Path("/src"), user=0)
    assert argv(wish, DEV)[len(START) + 1 :][:2] == ("--user", "0:0")
    assert "--user" not in argv(wish, RUNTIME)


def test_no_port_of_it_is_published_and_it_is_removed_in_the_end() -> None:
    words = argv(Wish(checkouts=PARENT), DEV)
    assert "--rm" in words
    assert not {"--publish", "-p", "-P", "--publish-all", "--network"} & set(words)


@pytest.mark.parametrize(
    ("stage", "tag", "line"),
    [
        ("", DEV, "invoke build.dev --image frontend --platform linux/arm64 --bases debian"),
        ("runtime", RUNTIME, "invoke build.runtime --image frontend --platform linux/arm64 --bases debian"),
    ],
    ids=["any stage", "one stage"],
)
def test_what_is_not_built_is_refused_with_the_command_that_builds_it(stage: str, tag: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        argv(Wish(checkouts=PARENT), "dynamo-base:1.4.2-debian-arm64", stage=stage)
    assert str(caught.value) == f"{tag} is not built, or the engine has forgotten it.\nBuild it: {line}"


def test_several_platforms_are_refused() -> None:
    requests = container.requests(load_catalogue(), "frontend", "dev", ["all"])
    with pytest.raises(UsageError, match="A container runs on one platform"):
        container.plan(requests, "1.4.2", Wish(checkouts=PARENT), DOCKER, (DEV,))


def test_an_image_without_a_stage_is_refused() -> None:
    catalogue = load_catalogue()
    none = replace(catalogue.images["trtllm"], stages=())
    with pytest.raises(UsageError, match="trtllm has no stage yet"):
        container.requests(replace(catalogue, images={"trtllm": none}), "trtllm")
