"""The same commit gives the same image on another machine with another folder, host name, umask and file order."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import inputs
from tests.reproducible.conftest import targets
from tests.reproducible.saved import difference, manifest_digest
from tests.second_machine import TAKEN_OVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.facts.catalogue import Stage

FOLDER = ROOT / ".build" / "reproducible"
MACHINES = {"one": ("builder", "0022"), "elsewhere/deeper/two": ("another.example", "0077")}
"""Folder of the checkout -> host name and umask."""


@pytest.fixture(scope="session")
def saved(request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """Build all images on one machine and then on the other; yield the folders of saved images, kept on failure."""
    images = [f"{stage.value}={image}={tag(stage, image)}" for stage, image in targets(request.config)]
    shutil.rmtree(FOLDER, ignore_errors=True)
    first, second = (_build(place, *machine, images) for place, machine in MACHINES.items())
    yield first, second
    if not request.session.testsfailed:
        shutil.rmtree(FOLDER)


def _build(place: str, name: str, mask: str, images: list[str]) -> Path:
    saved_folder = FOLDER / "saved" / place
    saved_folder.mkdir(parents=True)
    script = str(Path(__file__).with_name("elsewhere.sh"))
    checkout = FOLDER / place
    machine = (str(ROOT), str(checkout), name, mask, sys.executable, str(saved_folder), " ".join(TAKEN_OVER))
    try:
        process.run(process.Command(argv=("unshare", "--mount", "--uts", "sh", script, *machine, *images)))
    finally:
        shutil.rmtree(checkout, ignore_errors=True)
    return saved_folder


@cache
def tag(stage: Stage, image: str) -> str:
    """Return the tag of an image."""
    request = request_for(load_catalogue(), stage, ImageSelection(images=[image]))
    version = inputs.build_inputs(request, dry_run=True).version
    return bake.tag(request.images[0], stage, request.bases, request.platforms, version)


@pytest.mark.engine
def test_another_machine_makes_the_same_image(saved: tuple[Path, Path], stage: Stage, image: str) -> None:
    name = f"{tag(stage, image).translate(str.maketrans('/:', '__'))}.tar"
    first, second = (folder / name for folder in saved)
    print(f"{tag(stage, image)}: {manifest_digest(first)}")
    assert difference(first, second) == ""
