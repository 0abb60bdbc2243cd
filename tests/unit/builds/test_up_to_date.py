"""Tests of up-to-date images: only an image from the present inputs is left alone."""

from __future__ import annotations

from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.builds import run, up_to_date
from dynamo_containers.builds.up_to_date import BuiltImage
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.prepare import inputs, oci_layout
from dynamo_containers.prepare.inputs import CompleteInputs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.request import BuildInputs, Request

TAG = "dynamo-frontend:1.4.2-debian-amd64"
TARGET = "frontend-runtime"
DIGEST = f"sha256:{'1' * 64}"
BUILT = {TARGET: BuiltImage(tag=TAG, digest=DIGEST)}


@pytest.fixture
def runtime_request(own_checkout: Path) -> Request:
    """Return a request for the frontend's runtime in a copy of this project, which was built."""
    request = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    record_build(request, inputs.offline_build_inputs(request))
    return request


def record_build(request: Request, facts: BuildInputs) -> None:
    before = up_to_date.image_records(plan(request, facts))
    digests = {TARGET: DIGEST, "base": "sha256:of no image"}
    process.execute(
        process.Plan(records=up_to_date.new_records(before, up_to_date.image_records(plan(request, facts)), digests))
    )


def plan(request: Request, facts: BuildInputs) -> BuildPlan:
    return bake.build_plan(BuildPart(request, facts))


def existing(request: Request) -> dict[str, BuiltImage] | None:
    return up_to_date.existing_images(plan(request, inputs.offline_build_inputs(request)))


def append(file: Path, text: str = "# one more\n") -> None:
    with file.open("a", encoding="utf-8") as content:
        content.write(text)


def test_an_image_from_the_present_inputs_has_its_tag_and_digest(runtime_request: Request) -> None:
    assert existing(runtime_request) == BUILT


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: append(folder / "containers/os/entrypoint"),
        lambda folder: append(folder / "containers/frontend/Dockerfile"),
        lambda folder: append(folder / "containers/bin/online"),
        lambda folder: (folder / "containers/bin/online").chmod(0o644),
        lambda folder: append(folder / "constraints/builder-debian-amd64.txt"),
    ],
    ids=["a file", "a Dockerfile", "a script that is mounted", "a script that is none any more", "a lock"],
)
def test_a_changed_file_of_any_target_below_causes_a_build(
    runtime_request: Request, change: Callable[[Path], None]
) -> None:
    before = existing(runtime_request)
    change(runtime_request.catalogue.folder)
    assert (before, existing(runtime_request)) == (BUILT, None)


def test_a_changed_file_of_another_image_causes_no_build(runtime_request: Request) -> None:
    append(runtime_request.catalogue.folder / "containers/vllm/Dockerfile")
    assert existing(runtime_request) == BUILT


def test_another_commit_causes_a_build_because_it_is_in_a_label(runtime_request: Request) -> None:
    facts = inputs.offline_build_inputs(runtime_request)
    assert up_to_date.existing_images(plan(runtime_request, replace(facts, revision="another"))) is None


def test_a_strict_build_does_not_use_the_image_of_another_build(runtime_request: Request) -> None:
    assert existing(replace(runtime_request, bases=replace(runtime_request.bases, strict=True))) is None


def test_drift_causes_a_build_because_it_is_in_a_label(runtime_request: Request) -> None:
    facts = replace(inputs.offline_build_inputs(runtime_request), drift=("bash=5",))
    assert up_to_date.existing_images(plan(runtime_request, facts)) is None


def test_inputs_that_changed_during_the_build_leave_no_record(runtime_request: Request) -> None:
    append(runtime_request.catalogue.folder / "containers/frontend/Dockerfile")
    facts = inputs.offline_build_inputs(runtime_request)
    before = up_to_date.image_records(plan(runtime_request, facts))
    append(runtime_request.catalogue.folder / "containers/os/entrypoint")
    assert (
        up_to_date.new_records(before, up_to_date.image_records(plan(runtime_request, facts)), {TARGET: DIGEST}) == ()
    )
    assert up_to_date.new_records(before, {}, {TARGET: DIGEST}) == ()
    (record,) = up_to_date.new_records(before, before, {TARGET: DIGEST})
    assert record.text == DIGEST


def test_a_request_with_missing_files_has_no_existing_inputs(runtime_request: Request) -> None:
    (offline,) = inputs.offline_inputs((runtime_request,))
    assert inputs.existing_inputs(runtime_request, offline) == CompleteInputs(inputs=offline.inputs, drift=())
    rmtree(oci_layout.layout(runtime_request.catalogue.folder))
    assert inputs.existing_inputs(runtime_request, inputs.offline_inputs((runtime_request,))[0]) is None


def test_an_image_of_a_higher_stage_is_another_one(runtime_request: Request) -> None:
    above = replace(runtime_request, stage=Stage.CI)
    assert existing(above) is None


def test_an_image_from_a_checkout_has_no_record(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))
    from_sources = replace(request, sources={"dynamo": Source(context="/home/me/dynamo", local=True)})
    assert up_to_date.image_records(plan(from_sources, facts)) == {}
    assert up_to_date.existing_images(plan(from_sources, facts)) is None


def test_an_input_that_is_deleted_during_the_build_leaves_no_record_and_fails_nothing(runtime_request: Request) -> None:
    made = plan(runtime_request, inputs.offline_build_inputs(runtime_request))
    assert run._image_records(made)
    (runtime_request.catalogue.folder / "containers/frontend/Dockerfile").unlink()
    assert run._image_records(made) == {}


@pytest.mark.parametrize("content", [b"\xff", b"", b"sha256:1", b"../../x"])
def test_a_damaged_record_of_an_image_counts_as_absent(content: bytes, runtime_request: Request) -> None:
    made = plan(runtime_request, inputs.offline_build_inputs(runtime_request))
    assert up_to_date.existing_images(made) == BUILT
    for _, file in up_to_date.image_records(made).values():
        file.write_bytes(content)
    assert up_to_date.existing_images(made) is None
