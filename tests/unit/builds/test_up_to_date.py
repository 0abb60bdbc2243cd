"""An image is left alone only where the engine has the very one that a build would make now."""

from __future__ import annotations

from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.builds import up_to_date
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
MADE = {TARGET: BuiltImage(tag=TAG, digest=DIGEST)}


@pytest.fixture
def asked(own_checkout: Path) -> Request:
    """Return a build of the frontend's runtime in a copy of this project, which was built."""
    request = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    remember(request, inputs.offline_build_inputs(request))
    return request


def remember(request: Request, facts: BuildInputs) -> None:
    before = up_to_date.image_records(plan(request, facts))
    made = {TARGET: DIGEST, "base": "sha256:of no image"}
    process.execute(
        process.Plan(records=up_to_date.new_records(before, up_to_date.image_records(plan(request, facts)), made))
    )


def plan(request: Request, facts: BuildInputs) -> BuildPlan:
    return bake.build_plan(BuildPart(request, facts))


def made(request: Request) -> dict[str, BuiltImage] | None:
    return up_to_date.existing_images(plan(request, inputs.offline_build_inputs(request)))


def append(file: Path, text: str = "# one more\n") -> None:
    with file.open("a", encoding="utf-8") as content:
        content.write(text)


def test_what_was_built_of_what_is_there_now_is_known_by_name_and_digest(asked: Request) -> None:
    assert made(asked) == MADE


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
def test_whatever_a_step_below_it_reads_decides(asked: Request, change: Callable[[Path], None]) -> None:
    before = made(asked)
    change(asked.catalogue.folder)
    assert (before, made(asked)) == (MADE, None)


def test_a_file_that_no_step_reads_decides_nothing(asked: Request) -> None:
    append(asked.catalogue.folder / "containers/vllm/Dockerfile")
    assert made(asked) == MADE


def test_a_commit_decides_for_it_stands_in_a_label(asked: Request) -> None:
    facts = inputs.offline_build_inputs(asked)
    assert up_to_date.existing_images(plan(asked, replace(facts, revision="another"))) is None


def test_what_was_made_when_anything_might_drift_is_not_what_a_strict_build_makes(asked: Request) -> None:
    assert made(replace(asked, bases=replace(asked.bases, strict=True))) is None


def test_what_drifted_decides_for_it_stands_in_a_label(asked: Request) -> None:
    facts = replace(inputs.offline_build_inputs(asked), drift=("bash=5",))
    assert up_to_date.existing_images(plan(asked, facts)) is None


def test_of_what_changed_while_the_engine_built_nothing_is_remembered(asked: Request) -> None:
    append(asked.catalogue.folder / "containers/frontend/Dockerfile")
    facts = inputs.offline_build_inputs(asked)
    before = up_to_date.image_records(plan(asked, facts))
    append(asked.catalogue.folder / "containers/os/entrypoint")
    assert up_to_date.new_records(before, up_to_date.image_records(plan(asked, facts)), {TARGET: DIGEST}) == ()
    assert up_to_date.new_records(before, {}, {TARGET: DIGEST}) == ()
    (kept,) = up_to_date.new_records(before, before, {TARGET: DIGEST})
    assert kept.text == DIGEST


def test_where_something_has_to_be_made_first_nobody_knows_what_a_build_would_make(asked: Request) -> None:
    (known,) = inputs.offline_inputs((asked,))
    assert inputs.existing_inputs(asked, known) == CompleteInputs(inputs=known.inputs, drift=())
    rmtree(oci_layout.layout(asked.catalogue.folder))
    assert inputs.existing_inputs(asked, inputs.offline_inputs((asked,))[0]) is None


def test_an_image_of_a_stage_above_is_another_one(asked: Request) -> None:
    above = replace(asked, stage=Stage.CI)
    assert made(above) is None


def test_what_is_built_from_a_checkout_is_for_the_engine_to_judge(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))
    from_sources = replace(request, sources={"dynamo": Source(context="/home/me/dynamo", local=True)})
    assert up_to_date.image_records(plan(from_sources, facts)) == {}
    assert up_to_date.existing_images(plan(from_sources, facts)) is None
