"""Images that are built twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import Stage

if TYPE_CHECKING:
    import pytest

ALWAYS = ((Stage.BASE, "base"), (Stage.RUNTIME, "frontend"), (Stage.CI, "frontend"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reproducible", "images that are built twice")
    group.addoption("--image", action="append", default=[], help="build this image's runtime twice instead")


def targets(config: pytest.Config) -> tuple[tuple[Stage, str], ...]:
    """Return (stage, image) of the images that are built twice."""
    return tuple((Stage.RUNTIME, image) for image in config.getoption("--image")) or ALWAYS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [f"{image}-{stage.value}" for stage, image in targets(metafunc.config)]
    metafunc.parametrize(("stage", "image"), targets(metafunc.config), ids=names)
