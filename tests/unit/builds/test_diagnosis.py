"""Tests of the diagnosis of a build that failed because an image of a registry was unavailable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import diagnosis
from dynamo_containers.errors import CommandFailedError, DownloadError
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.plan.request import Request

RUNTIME = "nvcr.io/nvidia/cuda@sha256:6a0e31b59e70890446f2c17356d6efc0d54260090a8c63d6ca7c2ad049db95d2"
DIGEST_OF_THE_REFERENCE = 'digest="${5##*@}"'


def answering(folder: Path, script: str) -> tuple[str, ...]:
    """Return a buildx that runs a script for every command."""
    program = folder / "buildx"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return (str(program),)


@pytest.fixture
def request_on_cuda() -> Request:
    return request_for(
        load_catalogue(), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"], bases="cuda")
    )


def fail(request: Request, buildx: tuple[str, ...]) -> None:
    with diagnosis.explained(request, lambda: buildx):
        message = "the engine's own words"
        raise CommandFailedError(message)


def failed(request: Request, buildx: tuple[str, ...]) -> str:
    with pytest.raises(DownloadError) as error:
        fail(request, buildx)
    return str(error.value)


def test_an_unreachable_registry_is_named_with_the_purpose_of_its_image(
    tmp_path: Path, request_on_cuda: Request
) -> None:
    script = "echo 'ERROR: failed to do request: Head \"https://x/\": dial tcp: no such host' >&2; exit 1"
    message = failed(request_on_cuda, answering(tmp_path, script))
    assert message.startswith("the engine's own words\n")
    assert (
        f"No registry served {RUNTIME}: dial tcp: no such host.\nIt is the runtime root image of the cuda bases."
    ) in message
    assert message.endswith("or name a mirror that has the same image: docs/how-to/mirrors.md")


def test_an_image_that_a_registry_no_longer_has_is_named(tmp_path: Path, request_on_cuda: Request) -> None:
    message = failed(request_on_cuda, answering(tmp_path, 'echo "ERROR: $5: not found" >&2; exit 1'))
    assert f"The registry does not have {RUNTIME}.\n" in message


def test_a_registry_with_other_bytes_is_named_with_both_digests(tmp_path: Path, request_on_cuda: Request) -> None:
    script = f"echo 'ERROR: failed commit on ref \"\": unexpected digest: sha256:{'0' * 64} != {RUNTIME}' >&2; exit 1"
    message = failed(request_on_cuda, answering(tmp_path, script))
    assert f"The registry has other bytes for {RUNTIME}: sha256:{'0' * 64}.\n" in message


def test_a_failed_build_with_available_images_keeps_its_own_error(tmp_path: Path, request_on_cuda: Request) -> None:
    script = f'{DIGEST_OF_THE_REFERENCE}; echo "{{\\"digest\\": \\"$digest\\"}}"'
    with pytest.raises(CommandFailedError, match=r"^the engine's own words$"):
        fail(request_on_cuda, answering(tmp_path, script))


def test_only_the_images_of_the_stage_are_checked() -> None:
    request = request_for(load_catalogue(), Stage.BASE, ImageSelection(platforms=["linux/amd64"], bases="cuda"))
    assert set(diagnosis.registry_images(request).values()) == {"the builder root image of the cuda bases"}


def test_bases_without_a_registry_have_no_image_to_check() -> None:
    request = request_for(
        load_catalogue(), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    assert diagnosis.registry_images(request) == {}
