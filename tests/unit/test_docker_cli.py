"""Calls of docker and buildx: the command lines, their environment, and what is read from their output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine, process
from dynamo_containers.docker_cli import Docker
from dynamo_containers.engine import endpoint
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.process import Command

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {"DOCKER_HOST": "unix:///run/docker.sock"}
DOCKER = Docker(environment=VARIABLES, buildx=("/usr/libexec/docker/cli-plugins/docker-buildx",))


@pytest.fixture
def fake(tmp_path: Path) -> Docker:
    """Return a docker whose CLI prints two images, and whose buildx prints its arguments or fails."""
    cli, plugin = tmp_path / "docker", tmp_path / "docker-buildx"
    cli.write_text('#!/bin/sh\necho "vllm-runtime:dev sha256:a"; echo "frontend:dev sha256:b"\n')
    plugin.write_text('#!/bin/sh\necho "$DOCKER_HOST: $*"; [ "$1" != fail ]\n')
    for program in (cli, plugin):
        program.chmod(0o755)
    return Docker(environment={**VARIABLES, "PATH": f"{tmp_path}:/usr/bin:/bin"}, buildx=(str(plugin),))


def test_a_command_of_docker_has_the_variables_of_the_engine() -> None:
    assert DOCKER.command("image", "rm", "a:b", hint="Run: invoke clean") == Command(
        argv=("docker", "image", "rm", "a:b"), env=VARIABLES, hint="Run: invoke clean"
    )


def test_a_command_of_buildx_begins_with_the_plugin() -> None:
    assert DOCKER.buildx_command("bake", "--print", quiet=True, title="bake") == Command(
        argv=("/usr/libexec/docker/cli-plugins/docker-buildx", "bake", "--print"),
        env=VARIABLES,
        quiet=True,
        title="bake",
    )


def test_the_output_of_buildx_is_returned(fake: Docker) -> None:
    assert fake.capture_buildx("du", "--verbose") == "unix:///run/docker.sock: du --verbose\n"


def test_a_call_that_fails_is_an_error_with_its_output_and_the_hint(fake: Docker) -> None:
    with pytest.raises(CommandFailedError, match=r"(?s)fail now.*Run: invoke engine\.status"):
        fake.capture_buildx("fail", "now", hint="Run: invoke engine.status")


def test_the_output_of_a_run_goes_to_the_terminal(fake: Docker, capfd: pytest.CaptureFixture[str]) -> None:
    process.run(fake.buildx_command("prune"))
    fake.run("image", "ls")
    assert capfd.readouterr().out.splitlines()[:2] == [
        "unix:///run/docker.sock: prune",
        "vllm-runtime:dev sha256:a",
    ]


def test_images_are_listed_by_tag(fake: Docker) -> None:
    assert fake.images() == {"vllm-runtime:dev": "sha256:a", "frontend:dev": "sha256:b"}


def test_the_engine_in_use_gives_the_variables_and_the_call_of_buildx(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(endpoint, "environment", lambda _: VARIABLES)
    monkeypatch.setattr(endpoint, "buildx_call", lambda variables: ("buildx", variables["DOCKER_HOST"]))
    assert engine.docker(tmp_path) == Docker(environment=VARIABLES, buildx=("buildx", "unix:///run/docker.sock"))
