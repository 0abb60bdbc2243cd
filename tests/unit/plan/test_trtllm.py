"""TensorRT-LLM: its plan on the cuda bases, its package from its own index, and errors without that index."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.builds import smoke
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.locks import python_lock
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.plan import smoke_tests
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import current_locks, inputs, layer_pins
from tests.unit import planned
from tests.unit.conftest import leave_locks_on_images

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request

INDEX = "https://pypi.nvidia.com"
HASH = f"    --hash=sha256:{'a' * 64}\n"
NEVER_LOCKED = """\
The image trtllm was never locked, so it cannot be built here: tensorrt-llm is only on https://pypi.nvidia.com, which \
could not be reached.
Missing: constraints/trtllm-cuda-amd64.txt, constraints/trtllm-cuda-arm64.txt.
Where that index can be reached, run: invoke lock --image trtllm
and then this again. The build itself then also pulls root images from nvcr.io, quay.io.
Not locked, knowingly, because tensorrt-llm is only on the index of NVIDIA, which was never reached where these locks \
are made (containers/images.toml: lock.not-locked.tensorrt-llm). Until `invoke lock --image trtllm` runs on a machine \
that reaches that index or a mirror."""


@pytest.fixture
def catalogue(own_checkout: Path) -> Catalogue:
    """Return a copy of this project's data."""
    for lock in (own_checkout / "constraints").glob("trtllm-*"):
        lock.unlink()
    images = own_checkout / IMAGES_FILE  # a plan writes nothing of what they say that a build would
    text = re.sub(r"^disk-mb = .*$", "disk-mb = 1", images.read_text(encoding="utf-8"), flags=re.MULTILINE)
    images.write_text(text, encoding="utf-8")
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    return catalogue


def request_of(catalogue: Catalogue, stage: Stage, *platforms: str, image: str = "trtllm") -> Request:
    return request_for(
        catalogue, stage, ImageSelection(images=[image], platforms=platforms or ["linux/amd64"], bases="cuda")
    )


# Without its lock


def test_a_build_without_a_lock_names_the_index_the_registries_and_the_command(catalogue: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        inputs.build_inputs(request_of(catalogue, Stage.RUNTIME))
    assert str(caught.value) == NEVER_LOCKED
    assert caught.value.exit_code == 4


def test_a_smoke_test_without_a_lock_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        smoke.check_locks(smoke_tests.requests(catalogue, "trtllm", Platform.AMD64))
    assert str(caught.value) == f"Could not check the image trtllm; no test was run.\n{NEVER_LOCKED}"


def test_an_image_that_is_locked_can_be_checked(catalogue: Catalogue) -> None:
    smoke.check_locks(smoke_tests.requests(catalogue, "frontend", Platform.AMD64))


# Its bases


@pytest.mark.parametrize(("image", "bases"), [("trtllm", "cuda"), ("frontend", "debian")])
def test_an_image_is_tested_on_the_default_bases_or_on_those_that_it_has(
    catalogue: Catalogue, image: str, bases: str
) -> None:
    assert {request.bases.name for request in smoke_tests.requests(catalogue, image, Platform.AMD64)} == {bases}


def test_on_bases_that_it_lacks_it_is_refused_with_those_that_it_has(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError) as caught:
        request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["trtllm"], bases="debian"))
    assert str(caught.value) == "trtllm is built on the cuda bases only.\nAdd: --bases cuda"


@pytest.mark.parametrize(
    ("image", "stage", "problem"),
    [
        pytest.param("frontend", Stage.DEV, "packages.dev, which a dev image gets", id="dev"),
        pytest.param("vllm", Stage.CI, "packages.compiler, which images.vllm.os-packages names", id="a row's own"),
    ],
)
def test_a_set_of_os_packages_that_the_bases_lack_is_refused(
    catalogue: Catalogue, image: str, stage: Stage, problem: str
) -> None:
    bare = replace(catalogue, bases={**catalogue.bases, "cuda": replace(catalogue.bases["cuda"], packages={})})
    with pytest.raises(UsageError) as caught:
        current_locks.check(request_of(bare, stage, image=image))
    assert str(caught.value) == f"{IMAGES_FILE}: bases.cuda has no {problem}.\nBases that have it: debian."


# Its plan, with its lock


@pytest.fixture
def locked(catalogue: Catalogue) -> Catalogue:
    """Return the catalogue with locks for a plan: two packages of the runtime, and one of each other stage."""
    own = {"trtllm": ("tensorrt-llm", "mpi4py"), "trtllm-ci": ("pytest",), "trtllm-dev": ("mypy",)}
    for lock in python_lock.locks(catalogue):
        if lock.layer.name in own:
            text = python_lock.header(lock, python_lock.read_texts(lock, catalogue.folder), {})
            pins = "".join(f"{name}==1.0 \\\n{HASH}    # via trtllm\n" for name in sorted(own[lock.layer.name]))
            (catalogue.folder / lock.path).write_text(text + pins, encoding="utf-8")
    return catalogue


def targets(request: Request) -> dict[str, Any]:
    """Return the targets of the bake document, from the inputs of a real build."""
    facts = inputs.build_inputs(request, dry_run=True)
    layer_pins.ensure(part for parts in facts.package_layers.values() for part in parts)
    document, *_ = planned.execution(request, facts).documents
    content: dict[str, Any] = json.loads(document.text)["target"]
    return content


def pins(target: dict[str, Any], arch: str) -> list[str]:
    text = (Path(target["contexts"]["lock"]) / f"{arch}.txt").read_text(encoding="utf-8")
    return [line.removesuffix(" \\") for line in text.splitlines() if "==" in line]


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_its_own_package_is_installed_from_its_own_index_alone(locked: Catalogue, arch: str) -> None:
    bake_targets = targets(request_of(locked, Stage.CI, f"linux/{arch}"))
    steps = {
        name: target
        for name, target in bake_targets.items()
        if "lock" in target["contexts"] and not name.startswith("base-")
    }
    assert {name: (target["args"].get("INDEX"), pins(target, arch)) for name, target in steps.items()} == {
        "trtllm-nvidia": (INDEX, ["tensorrt-llm==1.0"]),
        "trtllm-rest": (None, ["mpi4py==1.0"]),
        "trtllm-ci-rest": (None, ["pytest==1.0"]),
    }


def test_its_own_index_is_replaced_by_its_mirror(locked: Catalogue) -> None:
    request = request_of(locked, Stage.RUNTIME)
    mirrors = Mirrors(addresses={"https://pypi.nvidia.com/": "https://mirror.example/nvidia/"})
    bake_targets = planned.document(request, replace(inputs.build_inputs(request, dry_run=True), mirrors=mirrors))[
        "target"
    ]
    assert bake_targets["trtllm-nvidia"]["args"]["INDEX"] == "https://mirror.example/nvidia"


def test_its_runtime_is_based_on_the_cuda_image_with_dynamo_above_its_engine(locked: Catalogue) -> None:
    bake_targets = targets(request_of(locked, Stage.RUNTIME))
    assert bake_targets["root-runtime"]["contexts"]["root-amd64"].startswith(
        "docker-image://nvcr.io/nvidia/cuda@sha256:"
    )
    assert bake_targets["root-runtime-packages"]["contexts"]["below"] == "target:root-runtime"
    assert bake_targets["os"]["contexts"]["root-amd64"] == "target:root-runtime-packages"
    assert bake_targets["os-compiler"]["contexts"]["below"] == "target:os"
    assert bake_targets["os-mpi"]["contexts"]["below"] == "target:os-compiler"
    assert bake_targets["trtllm-nvidia"]["contexts"]["below"] == "target:os-mpi"
    assert bake_targets["trtllm-rest"]["contexts"]["below"] == "target:trtllm-nvidia"
    assert bake_targets["trtllm-dynamo"]["contexts"]["below"] == "target:trtllm-rest"
    assert bake_targets["trtllm-runtime"]["contexts"]["dynamo"] == "target:trtllm-dynamo"
    assert bake_targets["trtllm-runtime"]["tags"] == ["tensorrtllm-runtime:1.4.2-cuda-amd64"]


def test_its_backend_is_based_on_the_devel_image(locked: Catalogue) -> None:
    bake_targets = targets(request_of(locked, Stage.BACKEND, "all"))
    assert sorted(name for name in bake_targets["trtllm-backend"]["contexts"] if name.startswith("root-")) == [
        "root-amd64",
        "root-arm64",
    ]


# Rows that would take its package from another index


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param('["tensorrt-llm"]', '["tensorrt_llm"]', r"indexes\.nvidia\.packages", id="another spelling"),
        pytest.param('["tensorrt-llm"]', '["tensorrt-*"]', r"indexes\.nvidia\.packages", id="a pattern"),
        pytest.param(
            'indexes = ["nvidia"]',
            'indexes = ["nvidia"]\npackage-layers = { nvidia = ["nvidia-*"] }',
            r"images\.trtllm\.indexes",
            id="an image layer of its name",
        ),
        pytest.param(
            'indexes = ["nvidia"]',
            'indexes = ["nvidia"]\ncommon-layer = "common"',
            r"images\.trtllm\.common-layer",
            id="a shared layer",
        ),
    ],
)
def test_a_row_that_would_use_another_index_is_refused(own_checkout: Path, old: str, new: str, key: str) -> None:
    file = own_checkout / IMAGES_FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=key):
        load_catalogue(own_checkout)
