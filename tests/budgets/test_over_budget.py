"""A real image over its budget: the message of the build, and the kept image. The frontend, in a copy of this checkout.

Its sizes are read in the store of the private engine; with another engine the test fails.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine, process
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, Stage, load_catalogue
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.inspect.sizes.shared_layers import NOWHERE, Origin
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import inputs
from tests import checkout_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

NATIVE = native_platform()
NAME = f"frontend-runtime-debian-{NATIVE.arch}"
REPOSITORY = "over-budget"
MINUTES = 30
"""Time limit of a first build with a slow connection."""


def edit(copy: Path, pattern: str, after: str) -> None:
    before = (copy / IMAGES_FILE).read_text(encoding="utf-8")
    text, count = re.subn(pattern, after, before)
    assert count == 1
    (copy / IMAGES_FILE).write_text(text, encoding="utf-8")


def invoke(copy: Path, *arguments: str) -> process.CompletedCommand:
    return process.query(checkout_copy.invoke(copy, *arguments), seconds=60 * MINUTES)


def build(copy: Path) -> process.CompletedCommand:
    return invoke(copy, "build.runtime", "--image", "frontend")


def docker(*arguments: str) -> process.CompletedCommand:
    command = process.Command(argv=("docker", *arguments), env=engine.environment(ROOT))
    return process.query(command, seconds=60)


@pytest.fixture
def copy() -> Iterator[Path]:
    """Yield a copy whose frontend has its own repository, and which uses the store of this checkout's engine."""
    place = checkout_copy.clone("over-budget")
    (place / ".engine").mkdir()
    (place / ".engine/data").symlink_to(ROOT / ".engine/data")
    edit(place, '(?<=repository = )"dynamo-frontend"', f'"{REPOSITORY}"')
    yield place
    listed = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", REPOSITORY).stdout.split()
    docker("image", "rm", *listed)
    shutil.rmtree(place)


def test_a_build_over_its_budget_fails_with_what_grew_and_keeps_the_image(copy: Path) -> None:
    within = build(copy)
    assert within.returncode == 0, within.stderr[-4000:]
    assert f"{NAME} is within its budget\n" in within.stderr
    accepted = invoke(copy, "build.accept-sizes", "--image", "frontend")
    assert (accepted.returncode, accepted.stdout.partition("\n")[0]) == (0, f"# {NAME}")

    sizes = accepted_sizes.read(copy)
    accepted_size = sizes[NAME]
    contents = {**accepted_size.contents, "python numpy": 1_000_000, "python jax": 500_000_000}
    process.write(accepted_sizes.document(copy, {**sizes, NAME: replace(accepted_size, contents=contents)}))
    edit(copy, rf'(?<=\[images\.frontend\.budget\."{NATIVE.value}"\]\ncompressed-mb = )\d+', "1")
    for _ in range(2):  # the second build checks it again
        over = build(copy)
        assert over.returncode == 1
        assert re.search(
            rf"^error: {NAME} is over its budget:\n"
            r"  compressed-mb +\d+ over +1\n"
            r"By layer, compressed: none grew\.\n"
            r"Growth by package and file, uncompressed \(compared with the accepted sizes\):\n"
            r" +-500\.0 MB  python jax \(removed\)\n"
            r" +\+\d+\.\d MB  python numpy \(1\.0 -> \d+\.\d MB\)\n"
            r"Find the reason, or raise images\.NAME\.budget in containers/images\.toml\. "
            r"The images were kept\.\n",
            over.stderr,
            re.MULTILINE,
        ), over.stderr[-4000:]
    assert docker("image", "ls", "--format={{.Repository}}", REPOSITORY).stdout == f"{REPOSITORY}\n"


def test_an_image_that_is_in_the_engine_is_what_another_one_is_pulled_beside(copy: Path) -> None:
    finished = build(copy)
    assert finished.returncode == 0, finished.stderr[-4000:]
    catalogue = load_catalogue(copy)
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=[NATIVE.value]))
    facts, frontend = inputs.offline_build_inputs(request), catalogue.images["frontend"]
    lock, docker = f"sha256:{facts.locks['frontend']}", engine.docker(ROOT)
    present = size_measure.other_backend(request, facts, frontend, Origin(lock="of the one that is pulled"), docker)
    assert present.source == "its image in the engine"
    assert len(present.layers) == 12
    drifted = size_measure.other_backend(request, facts, frontend, Origin(lock=lock, drift="bash=5.2-3"), docker)
    assert (drifted.layers, drifted.source) == (frozenset(), NOWHERE)
