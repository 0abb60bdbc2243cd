"""Recorder of a build: the digest that a pushed tag names, beside a buildx that is a script."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import state
from dynamo_containers.docker_cli import Docker
from dynamo_containers.engine import bake_metadata
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.inspect.report import recorder, store
from dynamo_containers.inspect.report.recorder import recording
from dynamo_containers.plan import bake, node_plan
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.inspect.report.record import RecordedImage
    from dynamo_containers.plan.request import BuildInputs

PART, INDEX = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
REPOSITORY = "registry.example/team/dynamo-frontend"
TAG = f"{REPOSITORY}:1.4.2-debian-arm64"
BUILDX = f"""\
#!/bin/sh
[ "$*" = "imagetools inspect --format={{{{json .Manifest}}}} {TAG}" ] && cat "$(dirname "$0")/manifest"
"""


def push(catalogue: Catalogue, facts: BuildInputs, plugins: Path, manifest: str) -> RecordedImage:
    """Record a build that pushes an image; return the image in its report."""
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").write_text(BUILDX, encoding="utf-8")
    (plugins / "docker-buildx").chmod(0o755)
    (plugins / "manifest").write_text(manifest, encoding="utf-8")
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/arm64"]))
    plan = bake.build_plan(BuildPart(request, facts))
    images = tuple(replace(image, repository=REPOSITORY) for image in plan.graph.images)
    plan = replace(plan, graph=replace(plan.graph, images=images))
    variables = {"DOCKER_CONFIG": str(plugins.parent)}
    docker = Docker(environment=variables, buildx=(str(plugins / "docker-buildx"),))
    node = node_plan.ordinary_plan(plan, docker)
    metadata = node.calls[0].metadata
    metadata.parent.mkdir(parents=True, exist_ok=True)
    metadata.write_text(json.dumps({images[0].target: {bake_metadata.DIGEST: PART}}), encoding="utf-8")
    with recording(request, dry_run=False) as recorder:
        recorder.building(docker, [node])
        recorder.measuring()
        recorder.pushed(request, facts.version, "registry.example/team")
    (report,) = store.read(catalogue.folder)
    (image,) = report.images
    return image


def test_the_report_has_the_digest_that_a_pushed_tag_names(
    catalogue: Catalogue, facts: BuildInputs, tmp_path: Path
) -> None:
    image = push(catalogue, facts, tmp_path / "docker/cli-plugins", json.dumps({"digest": INDEX}))
    assert image.pushed == f"{REPOSITORY}@{PART}"
    assert (image.pushed_tag, image.pushed_digest) == (TAG, INDEX)
    last = json.loads((catalogue.folder / state.LAST_REPORT).read_text(encoding="utf-8"))
    assert last["images"][0]["pushed_digest"] == INDEX


def test_a_registry_without_an_answer_fails_no_build(
    catalogue: Catalogue, facts: BuildInputs, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = push(catalogue, facts, tmp_path / "docker/cli-plugins", "")
    assert (image.pushed_tag, image.pushed_digest) == (TAG, "")
    assert f"The registry did not return the digest of {TAG}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("platforms", "name", "budget"),
    [
        (["linux/amd64"], "base-base-debian-amd64", {"compressed-mb": 1}),
        (["linux/arm64"], "base-base-debian-arm64", {}),
        (["all"], "base-base-debian-amd64-arm64", {}),
    ],
    ids=["the platform with a budget", "another platform", "both"],
)
def test_the_report_has_the_budget_of_the_one_platform_that_was_built(
    catalogue: Catalogue, facts: BuildInputs, platforms: list[str], name: str, budget: dict[str, int]
) -> None:
    limited = replace(catalogue.images["base"], budget={Platform.AMD64: {"compressed-mb": 1}})
    own = replace(catalogue, images={**catalogue.images, "base": limited})
    part = BuildPart(request_for(own, Stage.BASE, ImageSelection(platforms=platforms)), facts)
    graph = bake.bake_graph(part)
    image = recorder._image(graph.images[0], graph.targets, "")
    assert (image.name, image.budget) == (name, budget)
