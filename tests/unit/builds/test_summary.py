"""Tests of the closing lines of a build."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import summary
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import PlannedImage
    from dynamo_containers.plan.request import BuildInputs

DIGEST = f"sha256:{'7928b9665ed3' * 5}0123"
SIZE = ImageSize(layers=(MeasuredLayer(name="os", packed=268_400_000, unpacked=988_000_000, digest="", content=""),))


def planned(catalogue: Catalogue, facts: BuildInputs, stage: Stage, platform: str = "") -> PlannedImage:
    name = "base" if stage is Stage.BASE else "frontend"
    platforms = [platform or native_platform().value]
    request = request_for(catalogue, stage, ImageSelection(images=[name], platforms=platforms))
    (image,) = bake.bake_graph(BuildPart(request, facts)).images
    return image


def test_the_line_of_a_built_image_has_digest_sizes_time_and_the_next_command(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    image = planned(catalogue, facts, Stage.RUNTIME)
    assert summary.image_line(image, DIGEST, SIZE, 34.04, built=True) == (
        f"Built {image.tag}, sha256:7928b9665ed3, 268 MB to pull, 988 MB on disk, 34.0 s. "
        "Next: invoke run frontend --stage runtime"
    )


def test_unknown_values_are_left_out(catalogue: Catalogue, facts: BuildInputs) -> None:
    image = planned(catalogue, facts, Stage.RUNTIME)
    line = summary.image_line(image, "", None, 0.4, built=False)
    assert line == f"{image.tag} is up to date, 0.4 s. Next: invoke run frontend --stage runtime"


def test_a_pushed_tag_is_pulled_by_the_digest_of_its_index() -> None:
    tag = "registry.example/team/dynamo-frontend:1.4.2-debian"
    assert summary.pushed_line(tag, DIGEST, 60).endswith(f"Next: docker pull {tag}@{DIGEST}")
    assert summary.pushed_line(tag, "", 60) == f"Pushed {tag}, 60.0 s. Next: docker pull {tag}"


@pytest.mark.parametrize(
    ("stage", "command"),
    [(Stage.BASE, 'nox -s "smoke-base({arch})"'), (Stage.CI, 'nox -s "smoke-frontend({arch})"')],
    ids=["base", "ci"],
)
def test_an_image_for_tests_is_tested_next(
    catalogue: Catalogue, facts: BuildInputs, stage: Stage, command: str
) -> None:
    image = planned(catalogue, facts, stage)
    line = summary.image_line(image, "", None, 1, built=True)
    assert line.endswith(f"Next: {command.format(arch=native_platform().arch)}")


def test_the_next_command_names_a_foreign_platform_and_other_bases(catalogue: Catalogue, facts: BuildInputs) -> None:
    foreign = "linux/arm64" if native_platform().value == "linux/amd64" else "linux/amd64"
    image = planned(catalogue, facts, Stage.RUNTIME, foreign)
    request = replace(image.request, bases=replace(image.request.bases, name="cuda"))
    line = summary.image_line(replace(image, request=request), "", None, 1, built=True)
    assert line.endswith(f"Next: invoke run frontend --stage runtime --platform {foreign} --bases cuda")
