"""TensorRT-LLM: its plan on the cuda bases, its package from an index of its own, and what is said without that."""

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
and then this again. The build itself then also pulls root images from nvcr.io, quay.io."""


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


def asked(catalogue: Catalogue, stage: Stage, *platforms: str, image: str = "trtllm") -> Request:
    return request_for(
        catalogue, stage, ImageSelection(images=[image], platforms=platforms or ["linux/amd64"], bases="cuda")
    )


# Where it was never locked


def test_a_build_says_which_index_and_registries_it_needs_and_what_to_run(catalogue: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        inputs.build_inputs(asked(catalogue, Stage.RUNTIME))
    assert str(caught.value) == NEVER_LOCKED
    assert caught.value.exit_code == 4


def test_a_smoke_test_says_that_it_could_not_check(catalogue: Catalogue) -> None:
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
    assert {each.bases.name for each in smoke_tests.requests(catalogue, image, Platform.AMD64)} == {bases}


def test_on_other_bases_than_its_own_it_is_refused_with_what_to_ask_for(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError) as caught:
        request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["trtllm"], bases="debian"))
    assert str(caught.value) == "trtllm is built on the cuda bases only.\nAdd: --bases cuda"


@pytest.mark.parametrize(
    ("image", "stage", "said"),
    [
        pytest.param("frontend", Stage.DEV, "packages.dev, which a dev image gets", id="dev"),
        pytest.param("vllm", Stage.CI, "packages.compiler, which images.vllm.os-packages names", id="a row's own"),
    ],
)
def test_a_set_of_os_packages_that_the_bases_lack_is_refused_where_the_image_is_asked_for(
    catalogue: Catalogue, image: str, stage: Stage, said: str
) -> None:
    bare = replace(catalogue, bases={**catalogue.bases, "cuda": replace(catalogue.bases["cuda"], packages={})})
    with pytest.raises(UsageError) as caught:
        current_locks.check(asked(bare, stage, image=image))
    assert str(caught.value) == f"{IMAGES_FILE}: bases.cuda has no {said}.\nBases that have it: debian."


# Its plan, where it is locked


@pytest.fixture
def locked(catalogue: Catalogue) -> Catalogue:
    """Lock it as far as a plan goes: its package and one more, and one more in each of its other forms."""
    own = {"trtllm": ("tensorrt-llm", "mpi4py"), "trtllm-ci": ("pytest",), "trtllm-dev": ("mypy",)}
    for lock in python_lock.locks(catalogue):
        if lock.layer.name in own:
            text = python_lock.header(lock, python_lock.read_texts(lock, catalogue.folder), {})
            pins = "".join(f"{name}==1.0 \\\n{HASH}    # via trtllm\n" for name in sorted(own[lock.layer.name]))
            (catalogue.folder / lock.path).write_text(text + pins, encoding="utf-8")
    return catalogue


def targets(request: Request) -> dict[str, Any]:
    """Return the targets of the bake document, after all that a build asks before it."""
    facts = inputs.build_inputs(request, dry_run=True)
    layer_pins.ensure(part for parts in facts.package_layers.values() for part in parts)
    document, *_ = planned.execution(request, facts).documents
    content: dict[str, Any] = json.loads(document.text)["target"]
    return content


def pins(target: dict[str, Any], arch: str) -> list[str]:
    text = (Path(target["contexts"]["lock"]) / f"{arch}.txt").read_text(encoding="utf-8")
    return [line.removesuffix(" \\") for line in text.splitlines() if "==" in line]


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_its_own_package_is_a_step_that_knows_only_its_own_index(locked: Catalogue, arch: str) -> None:
    made = targets(asked(locked, Stage.CI, f"linux/{arch}"))
    steps = {name: each for name, each in made.items() if "lock" in each["contexts"] and not name.startswith("base-")}
    assert {name: (target["args"].get("INDEX"), pins(target, arch)) for name, target in steps.items()} == {
        "trtllm-nvidia": (INDEX, ["tensorrt-llm==1.0"]),
        "trtllm-rest": (None, ["mpi4py==1.0"]),
        "trtllm-ci-rest": (None, ["pytest==1.0"]),
    }


def test_its_own_index_is_asked_at_a_mirror_that_the_machine_has_for_it(locked: Catalogue) -> None:
    request = asked(locked, Stage.RUNTIME)
    mirrors = Mirrors(addresses={"https://pypi.nvidia.com/": "https://mirror.example/nvidia/"})
    made = planned.document(request, replace(inputs.build_inputs(request, dry_run=True), mirrors=mirrors))["target"]
    assert made["trtllm-nvidia"]["args"]["INDEX"] == "https://mirror.example/nvidia"


def test_its_runtime_stands_on_the_cuda_image_with_dynamo_above_its_engine(locked: Catalogue) -> None:
    made = targets(asked(locked, Stage.RUNTIME))
    assert made["root-runtime"]["contexts"]["root-amd64"].startswith("docker-image://nvcr.io/nvidia/cuda@sha256:")
    assert made["root-runtime-packages"]["contexts"]["below"] == "target:root-runtime"
    assert made["os"]["contexts"]["root-amd64"] == "target:root-runtime-packages"
    assert made["os-compiler"]["contexts"]["below"] == "target:os"
    assert made["os-mpi"]["contexts"]["below"] == "target:os-compiler"
    assert made["trtllm-nvidia"]["contexts"]["below"] == "target:os-mpi"
    assert made["trtllm-rest"]["contexts"]["below"] == "target:trtllm-nvidia"
    assert made["trtllm-dynamo"]["contexts"]["below"] == "target:trtllm-rest"
    assert made["trtllm-runtime"]["contexts"]["dynamo"] == "target:trtllm-dynamo"
    assert made["trtllm-runtime"]["tags"] == ["tensorrtllm-runtime:1.4.2-cuda-amd64"]


def test_its_backend_stands_on_the_devel_image(locked: Catalogue) -> None:
    made = targets(asked(locked, Stage.BACKEND, "all"))
    assert sorted(name for name in made["trtllm-backend"]["contexts"] if name.startswith("root-")) == [
        "root-amd64",
        "root-arm64",
    ]


# What would let its package be taken from elsewhere


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param('["tensorrt-llm"]', '["tensorrt_llm"]', r"indexes\.nvidia\.packages", id="another spelling"),
        pytest.param('["tensorrt-llm"]', '["tensorrt-*"]', r"indexes\.nvidia\.packages", id="a pattern"),
        pytest.param(
            'indexes = ["nvidia"]',
            'indexes = ["nvidia"]\npackage-layers = { nvidia = ["nvidia-*"] }',
            r"images\.trtllm\.indexes",
            id="a piece of its name",
        ),
        pytest.param(
            'indexes = ["nvidia"]',
            'indexes = ["nvidia"]\ncommon-layer = "common"',
            r"images\.trtllm\.common-layer",
            id="a shared layer",
        ),
    ],
)
def test_what_would_let_it_come_from_another_index_is_refused(
    own_checkout: Path, old: str, new: str, said: str
) -> None:
    file = own_checkout / IMAGES_FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        load_catalogue(own_checkout)
