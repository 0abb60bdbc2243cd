"""Labels of an image, compared with the files of this checkout."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.facts.bases import RegistryRoot
from dynamo_containers.facts.catalogue import ROOT, Catalogue, Image, Stage
from dynamo_containers.facts.locks import requirements
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildInputs, request_for
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.platforms import Platform
    from tests.smoke.containers import Engine

OCI = "org.opencontainers.image"


def stage(row: Image) -> Stage:
    return Stage.BASE if Stage.BASE in row.stages else Stage.RUNTIME


@pytest.fixture(scope="module")
def facts(catalogue: Catalogue, row: Image, bases: Bases, platform: Platform) -> BuildInputs:
    """Return the inputs of the labels of this image; the build has prepared all of them."""
    request = request_for(
        catalogue, stage(row), ImageSelection(images=[row.name], platforms=[platform.value], bases=bases.name)
    )
    return inputs.offline_build_inputs(request)


def test_the_version_is_the_locked_one_of_dynamo(
    labels: dict[str, str], catalogue: Catalogue, bases: Bases, platform: Platform
) -> None:
    text = (ROOT / f"constraints/base-{bases.name}-{platform.arch}.txt").read_text(encoding="utf-8")
    locked = {package.name: package.version for package in requirements.read(text)}
    assert labels[f"{OCI}.version"] == locked[catalogue.version_package]


def test_the_base_image_is_named_with_its_pinned_digest(
    labels: dict[str, str], catalogue: Catalogue, bases: Bases, row: Image, platform: Platform
) -> None:
    role = "builder" if stage(row) is Stage.BASE else "runtime"
    pin, root = catalogue.pins.roots[bases.name, role], bases.roots[role]
    if isinstance(root, RegistryRoot):
        assert labels[f"{OCI}.base.name"] == root.reference(platform)
        assert labels[f"{OCI}.base.digest"] == (pin.index or pin.platforms[platform])
        return
    assert labels[f"{OCI}.base.name"] == f"{bases.name}-{role}:{root.suite}"
    if "ai.dynamo.drift" not in labels:
        assert labels[f"{OCI}.base.digest"] == pin.index


def test_it_was_created_when_the_locks_last_moved(
    labels: dict[str, str], inspected: dict[str, Any], catalogue: Catalogue
) -> None:
    when = datetime.fromtimestamp(catalogue.pins.epoch, UTC)
    assert datetime.fromisoformat(labels[f"{OCI}.created"]) == when
    assert datetime.fromisoformat(inspected["Created"]) == when


def test_the_revision_is_the_commit_of_this_checkout(labels: dict[str, str], facts: BuildInputs) -> None:
    here = facts.revision.removesuffix("-dirty")
    assert labels[f"{OCI}.revision"].removesuffix("-dirty") == here, "the image is of another commit: rebuild it"


def test_it_says_what_it_is_and_where_it_comes_from(labels: dict[str, str], row: Image, catalogue: Catalogue) -> None:
    assert labels[f"{OCI}.title"] == row.title
    assert labels[f"{OCI}.description"] == row.description
    assert labels[f"{OCI}.licenses"] == catalogue.licenses
    assert labels[f"{OCI}.source"] == catalogue.source


def test_it_names_its_backend_bases_stage_and_locks(
    labels: dict[str, str], row: Image, bases: Bases, facts: BuildInputs
) -> None:
    assert labels["ai.dynamo.backend"] == (row.backend or "none")
    assert labels["ai.dynamo.bases"] == bases.name
    assert labels["ai.dynamo.stage"] == stage(row).value
    assert labels["ai.dynamo.lock"] == f"sha256:{facts.locks[row.name]}", "built from other locks"


def test_the_engine_knows_it_as_an_image_for_the_platform(inspected: dict[str, Any], engine: Engine) -> None:
    assert f"{inspected['Os']}/{inspected['Architecture']}" == engine.platform.value
