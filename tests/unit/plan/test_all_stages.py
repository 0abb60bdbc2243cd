"""Builds of several stages: one graph, whose images are the same as in builds of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, node_plan, source_policy
from dynamo_containers.plan.container import build_line
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, parse_stages, requests_for
from tests.unit.planned import DOCKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.request import BuildInputs, Request

AMD64 = "linux/amd64"
OUTPUT = ("labels", "output", "tags")


def requests_of(
    catalogue: Catalogue, *images: str, stages: Sequence[str] = (), platform: str = AMD64
) -> tuple[Request, ...]:
    members = parse_stages(stages)
    return requests_for(catalogue, members, ImageSelection(images=images, platforms=[platform], bases="debian"))


def targets(*requests: Request, facts: BuildInputs) -> dict[str, Any]:
    return {name: target.document() for name, target in built(requests, facts).graph.targets.items()}


def built(requests: Sequence[Request], facts: BuildInputs) -> BuildPlan:
    return bake.build_plan(*(BuildPart(request, facts) for request in requests))


def shape(requests: tuple[Request, ...]) -> list[tuple[str, list[str]]]:
    return [(request.stage.value, [image.name for image in request.images]) for request in requests]


def test_every_stage_of_an_image_is_built_and_the_base_below(catalogue: Catalogue) -> None:
    assert shape(requests_of(catalogue, "frontend")) == [
        ("base", ["base"]),
        ("runtime", ["frontend"]),
        ("ci", ["frontend"]),
    ]


def test_without_a_name_all_images_are_built(catalogue: Catalogue) -> None:
    assert shape(requests_of(catalogue, stages=["runtime", "ci"])) == [
        ("runtime", ["frontend", "small"]),
        ("ci", ["frontend"]),
    ]


def test_stages_are_built_from_below_whatever_their_order_on_the_line(catalogue: Catalogue) -> None:
    assert [stage for stage, _ in shape(requests_of(catalogue, stages=["ci", "base"]))] == ["base", "ci"]


def test_all_platforms_are_those_that_every_image_of_every_stage_has(catalogue: Catalogue) -> None:
    both = requests_of(catalogue, "frontend", platform="all")
    single = requests_of(catalogue, "frontend", "small", platform="all")
    assert {len(request.platforms) for request in both} == {2}
    assert {len(request.platforms) for request in single} == {1}


@pytest.mark.parametrize(
    ("images", "stages", "message"),
    [
        (("nobody",), (), 'unknown image "nobody"'),
        (("small",), ("nonsense",), 'unknown stage "nonsense"'),
        (("small",), ("ci",), "None of the images has one of the stages ci on the debian bases"),
    ],
)
def test_an_unknown_name_is_refused(
    catalogue: Catalogue, images: tuple[str, ...], stages: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        requests_of(catalogue, *images, stages=stages)
    assert message in str(caught.value)


def test_each_image_is_the_same_as_in_a_build_of_its_own(catalogue: Catalogue, facts: BuildInputs) -> None:
    requests = requests_of(catalogue, "frontend")
    together = targets(*requests, facts=facts)
    for request in requests:
        for name, target in targets(request, facts=facts).items():
            combined = {key: value for key, value in together[name].items() if key not in OUTPUT or key in target}
            assert combined == target


def test_an_image_and_the_stage_above_it_have_labels_of_the_same_names(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    together = targets(*requests_of(catalogue, "frontend"), facts=facts)
    assert set(together["frontend-runtime"]["labels"]) == set(together["frontend-ci"]["labels"])


def test_one_command_builds_all_stages(catalogue: Catalogue, facts: BuildInputs) -> None:
    plan = built(requests_of(catalogue, "frontend"), facts)
    command, (document,) = plan.command(DOCKER), plan.documents
    assert document.path.name == "bake-base-runtime-ci-base-frontend-debian-amd64.json"
    assert str(document.path) in command.argv
    assert json.loads(document.text)["group"]["default"]["targets"] == ["base", "frontend-runtime", "frontend-ci"]
    ordinary = node_plan.ordinary_plan(plan, DOCKER)
    assert [(image.request.stage.value, image.target, image.tag) for image in ordinary.images] == [
        ("base", "base", "dynamo-base:1.4.2-debian-amd64"),
        ("runtime", "frontend-runtime", "dynamo-frontend:1.4.2-debian-amd64"),
        ("ci", "frontend-ci", "dynamo-frontend-ci:1.4.2-debian-amd64"),
    ]
    assert [call.images for call in ordinary.calls] == [ordinary.images]


def test_the_graph_of_a_single_stage_is_that_of_its_own_task(catalogue: Catalogue, facts: BuildInputs) -> None:
    (request,) = requests_of(catalogue, stages=["base"])
    assert built((request,), facts).graph == bake.bake_graph(BuildPart(request, facts))


def test_the_tags_of_a_build_are_those_of_its_stages_alone(catalogue: Catalogue, facts: BuildInputs) -> None:
    requests = requests_of(catalogue, "frontend", stages=("base", "runtime", "ci"))
    named = built(requests, facts).tags
    assert named == {f"{name}:1.4.2-debian-amd64" for name in ("dynamo-base", "dynamo-frontend", "dynamo-frontend-ci")}


def test_a_strict_build_denies_all_sources_that_no_stage_needs(catalogue: Catalogue, facts: BuildInputs) -> None:
    requests = requests_of(catalogue, "frontend")
    strict = [replace(request, bases=replace(request.bases, strict=True)) for request in requests]
    merged = source_policy.merge(source_policy.policy(request, facts) for request in strict)
    assert merged["rules"][0]["action"] == "DENY"
    assert [rule["action"] for rule in merged["rules"]].count("DENY") == 1
    assert all(rule in merged["rules"] for request in strict for rule in source_policy.policy(request, facts)["rules"])


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ((), "invoke build.all --image frontend --stage base --stage runtime --stage ci"),
        (("ci",), "invoke build.ci --image frontend"),
    ],
)
def test_the_command_line_of_a_build_names_its_stages(catalogue: Catalogue, stages: tuple[str, ...], line: str) -> None:
    requests = requests_of(catalogue, "frontend", stages=stages)
    assert build_line(*requests) == f"{line} --platform {AMD64} --bases debian"
    assert [request.stage for request in requests][-1] is Stage.CI
