"""The ci image of a runtime: test tools on exactly the layers of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.facts.catalogue import ROOT
from tests.smoke.any.test_layers import leaks
from tests.smoke.conftest import run_probe
from tests.smoke.locks import locked_environment, pip_complaints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.platforms import Platform
    from tests.smoke.containers import Engine
    from tests.smoke.layers import SavedImage


@pytest.fixture(scope="module")
def ci_probe(engine: Engine, ci_image: str, pip_mount: tuple[str, str]) -> dict[str, Any]:
    return run_probe(
        engine, ci_image, "probe-ci", *pip_mount, questions=("user", "distributions", "pip_check", "test_tools")
    )


def test_its_first_layers_are_those_of_the_runtime(ci_layers: SavedImage, layers: SavedImage) -> None:
    assert ci_layers.diff_ids[: len(layers.diff_ids)] == layers.diff_ids
    assert len(ci_layers.diff_ids) > len(layers.diff_ids)


def test_what_it_adds_holds_no_string_of_the_machine_that_built_it(ci_layers: SavedImage) -> None:
    assert leaks(ci_layers) == set()
    assert ci_layers.config_leaks == ()


def test_its_stage_is_ci_and_all_else_is_the_runtimes(engine: Engine, ci_image: str, inspected: dict[str, Any]) -> None:
    ci, runtime = engine.inspect(ci_image)["Config"], inspected["Config"]
    assert ci["Labels"]["ai.dynamo.stage"] == "ci"
    assert {key: ci[key] for key in ("Env", "User", "WorkingDir", "Entrypoint", "Cmd")} == {
        key: runtime[key] for key in ("Env", "User", "WorkingDir", "Entrypoint", "Cmd")
    }


def test_its_environment_is_the_runtimes_and_the_test_tools(
    ci_probe: Mapping[str, Any], row: Image, bases: Bases, platform: Platform
) -> None:
    installed = [(name, version) for name, version in ci_probe["distributions"]]
    locked = locked_environment(ROOT, row.name, bases.name, platform.arch)
    added = locked_environment(ROOT, f"{row.name}-ci", bases.name, platform.arch)
    assert installed == sorted(locked | added)


def test_pip_finds_nothing_missing_or_in_conflict_in_it(ci_probe: Mapping[str, Any], catalogue: Catalogue) -> None:
    assert pip_complaints(ci_probe["pip_check"], catalogue) == []


def test_the_test_tools_can_be_imported(ci_probe: Mapping[str, Any]) -> None:
    assert ci_probe["test_tools"]["code"] == 0, ci_probe["test_tools"]["output"]
