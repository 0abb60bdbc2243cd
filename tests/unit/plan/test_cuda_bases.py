"""Builds on root images of registries: the bake document names them by digest, and no file is written for them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs
from tests.unit import planned
from tests.unit.conftest import leave_locks_on_images

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request

AMD64 = "0c87ccb5996dab6c3b7612ee4fda7b80c4ab3c44a86c2541e4a872afdf4f131b"
ARM64 = "561427136aabf3787bffb294b3515748241e0962d1527ae28bea1e076bfb9d99"
RUNTIME = "6a0e31b59e70890446f2c17356d6efc0d54260090a8c63d6ca7c2ad049db95d2"
MANYLINUX = "docker-image://quay.io/pypa/manylinux_2_28"
OCI = "org.opencontainers.image.base"


@pytest.fixture
def cuda(own_checkout: Path) -> Catalogue:
    """Return a copy of this project's data, with stand-ins for the locks that take NVIDIA's and Ubuntu's servers."""
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    return catalogue


def request_of(catalogue: Catalogue, stage: Stage, *platforms: str) -> Request:
    images = [] if stage is Stage.BASE else ["frontend"]
    return request_for(catalogue, stage, ImageSelection(images=images, platforms=platforms, bases="cuda"))


def targets(request: Request) -> dict[str, Any]:
    """Return the targets of the bake document, from the inputs of a real build."""
    document, *_ = planned.execution(request, inputs.build_inputs(request, dry_run=True)).documents
    content: dict[str, Any] = json.loads(document.text)["target"]
    return content


def test_a_base_on_cuda_is_based_on_the_image_of_each_platform_by_digest(cuda: Catalogue) -> None:
    builder = targets(request_of(cuda, Stage.BASE, "all"))["builder"]["contexts"]
    assert builder["root-amd64"] == f"{MANYLINUX}_x86_64@sha256:{AMD64}"
    assert builder["root-arm64"] == f"{MANYLINUX}_aarch64@sha256:{ARM64}"


def test_a_runtime_on_cuda_is_based_on_the_index_where_no_manifest_is_pinned(cuda: Catalogue) -> None:
    system = targets(request_of(cuda, Stage.RUNTIME, "linux/arm64"))["root-runtime"]["contexts"]
    assert system["root-arm64"] == f"docker-image://nvcr.io/nvidia/cuda@sha256:{RUNTIME}"
    assert "root-amd64" not in system


def test_an_image_of_one_platform_is_labelled_with_that_platform_s_builder(cuda: Catalogue) -> None:
    labels = targets(request_of(cuda, Stage.BASE, "linux/arm64"))["base"]["labels"]
    assert labels[f"{OCI}.name"] == "quay.io/pypa/manylinux_2_28_aarch64:2026.08.15-1"
    assert labels[f"{OCI}.digest"] == f"sha256:{ARM64}"


def test_an_image_of_several_platforms_names_no_digest_where_no_index_is_over_them(cuda: Catalogue) -> None:
    labels = targets(request_of(cuda, Stage.BASE, "all"))["base"]["labels"]
    assert labels[f"{OCI}.name"] == "quay.io/pypa/manylinux_2_28_{machine}:2026.08.15-1"
    assert f"{OCI}.digest" not in labels


@pytest.mark.parametrize("platforms", [("all",), ("linux/amd64",)], ids=["both", "one"])
def test_a_runtime_is_labelled_with_the_readable_reference_and_its_index(
    cuda: Catalogue, platforms: tuple[str, ...]
) -> None:
    labels = targets(request_of(cuda, Stage.RUNTIME, *platforms))["frontend-runtime"]["labels"]
    assert labels[f"{OCI}.name"] == "nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04"
    assert labels[f"{OCI}.digest"] == f"sha256:{RUNTIME}"


def test_each_root_image_has_a_python_of_its_own(cuda: Catalogue) -> None:
    targets_by_name = targets(request_of(cuda, Stage.RUNTIME, "linux/amd64"))
    assert (
        targets_by_name["builder"]["args"]["PYTHON"]
        == targets_by_name["tools"]["args"]["PYTHON"]
        == "/opt/python/cp312-cp312/bin/python"
    )
    assert targets_by_name["frontend-runtime"]["args"]["PYTHON"] == "/usr/bin/python3"


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "build"])
def test_no_file_is_written_for_images_of_registries(cuda: Catalogue, dry_run: bool) -> None:  # noqa: FBT001 - a parameter
    def files() -> set[Path]:
        return {path for path in (cuda.folder / ".build").glob("*/*") if path.parent.name != "pieces"}

    before = files()
    facts = inputs.build_inputs(request_of(cuda, Stage.BASE, "all"), dry_run=dry_run)
    assert facts.roots == {}
    assert facts.drift == ()
    assert files() == before


def test_the_lock_label_moves_with_the_digest_of_a_root_image(cuda: Catalogue) -> None:
    before = inputs.build_inputs(request_of(cuda, Stage.BASE, "linux/arm64")).locks["base"]
    pins = cuda.folder / PINS_FILE
    pins.write_text(pins.read_text(encoding="utf-8").replace(AMD64, "0" * 64), encoding="utf-8")
    assert (
        inputs.build_inputs(request_of(load_catalogue(cuda.folder), Stage.BASE, "linux/arm64")).locks["base"] != before
    )


def test_a_build_refuses_a_root_image_of_another_tag_than_the_data_names(cuda: Catalogue) -> None:
    images = cuda.folder / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace("2026.08.15-1", "2026.11.15-1")
    images.write_text(text, encoding="utf-8")
    with pytest.raises(LockError) as caught:
        inputs.build_inputs(request_of(load_catalogue(cuda.folder), Stage.BASE, "linux/amd64"))
    assert str(caught.value) == (
        "containers/pins.toml is stale: "
        "roots.cuda.builder is for quay.io/pypa/manylinux_2_28_{machine}:2026.08.15-1, "
        "but containers/images.toml has quay.io/pypa/manylinux_2_28_{machine}:2026.11.15-1.\n"
        "Pin it with: invoke lock --only images --bases cuda"
    )


def test_a_build_refuses_a_root_image_that_is_not_pinned(cuda: Catalogue) -> None:
    pins = cuda.folder / PINS_FILE
    text = pins.read_text(encoding="utf-8")
    builder = "[roots.cuda.builder]" + text.partition("[roots.cuda.builder]")[2].partition("\n\n")[0]
    pins.write_text(text.replace(builder, ""), encoding="utf-8")
    with pytest.raises(LockError, match=r"pins\.toml has no roots\.cuda\.builder\.\nPin it with: invoke lock"):
        inputs.build_inputs(request_of(load_catalogue(cuda.folder), Stage.BASE, "linux/amd64"))


def test_bases_without_a_root_image_that_is_needed_are_refused(cuda: Catalogue) -> None:
    bare = replace(cuda, bases={**cuda.bases, "cuda": replace(cuda.bases["cuda"], roots={})})
    with pytest.raises(UsageError) as caught:
        inputs.build_inputs(request_of(bare, Stage.BASE, "linux/amd64"))
    assert str(caught.value) == (
        "containers/images.toml: bases.cuda has no roots.builder, on which a base image is based."
    )


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("nvcr.io/nvidia/cuda:13", "nvcr.io/nvidia/cuda"),
        ("127.0.0.1:5000/cuda:13", "127.0.0.1:5000/cuda"),
        ("debian:bookworm", "debian"),
    ],
)
def test_a_reference_loses_its_tag_and_keeps_its_port(reference: str, repository: str) -> None:
    assert image_reference.repository(reference) == repository


def test_an_unknown_platform_of_a_known_index_is_its_index(cuda: Catalogue) -> None:
    assert cuda.pins.root("cuda", "runtime", Platform.AMD64) == f"sha256:{RUNTIME}"
    assert cuda.pins.root("cuda", "devel", Platform.AMD64).startswith("sha256:0eee3094")
