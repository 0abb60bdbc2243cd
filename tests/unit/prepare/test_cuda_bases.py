"""Tests of the cuda bases: a plan of every image, stage and platform, and errors about missing locks."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.facts.locks import python_lock
from dynamo_containers.facts.pins import PINS_FILE, render
from dynamo_containers.inspect import explain, explain_inputs
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import current_locks, inputs
from tests.unit import planned
from tests.unit.conftest import leave_locks_on_images

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request

PIN = f"tensorrt-llm==1.0 \\\n    --hash=sha256:{'a' * 64}\n    # via trtllm\n"
COMBINATIONS = [
    (image.name, stage, platform)
    for image in load_catalogue().images.values()
    for stage in image.stages
    if "cuda" in image.bases
    for platform in image.platforms
]
SETS = {"frontend": [], "vllm": ["compiler"], "sglang": ["compiler"], "trtllm": ["compiler", "mpi"]}


@pytest.fixture
def catalogue(own_checkout: Path) -> Catalogue:
    """Return this project's data, with stand-ins for the locks that take the servers of NVIDIA and Ubuntu."""
    own = load_catalogue(own_checkout)
    leave_locks_on_images(own)
    for lock in python_lock.locks(own):
        if python_lock.never_locked(lock, own.folder):
            head = python_lock.header(lock, python_lock.read_texts(lock, own.folder), {})
            (own.folder / lock.path).write_text(head + (PIN if lock.layer.name == "trtllm" else ""), encoding="utf-8")
    return own


def image_request(catalogue: Catalogue, image: str, stage: Stage, platform: Platform) -> Request:
    return request_for(catalogue, stage, ImageSelection(images=[image], platforms=[platform.value], bases="cuda"))


def documents(request: Request) -> list[dict[str, Any]]:
    """Return the bake document and the source policy of a request, after the checks of a real build."""
    plan = planned.execution(request, inputs.build_inputs(request, dry_run=True))
    return [json.loads(document.text) for document in plan.documents]


def base_chain(steps: dict[str, Any], name: str, arch: str) -> list[str]:
    """Return the targets and images below a target, top down."""
    chain = []
    while name:
        contexts = steps[name]["contexts"]
        name = next((contexts[key] for key in ("dynamo", "below", f"root-{arch}") if key in contexts), "")
        chain.append(name)
        name = name.removeprefix("target:") if name.startswith("target:") else ""
    return chain


@pytest.mark.parametrize(("image", "stage", "platform"), COMBINATIONS, ids=lambda value: getattr(value, "value", value))
def test_every_image_is_based_on_the_pinned_images_of_its_platform_only(
    catalogue: Catalogue, image: str, stage: Stage, platform: Platform
) -> None:
    document, policy = documents(image_request(catalogue, image, stage, platform))
    steps = document["target"]
    contexts = [value for step in steps.values() for value in step["contexts"].values()]
    roots = {value for value in contexts if value.startswith("docker-image")}
    pins = catalogue.pins
    builder, devel, runtime = (pins.root("cuda", role, platform) for role in ("builder", "devel", "runtime"))
    tools = f"docker-image://quay.io/pypa/manylinux_2_28_x86_64@{pins.root('cuda', 'builder', Platform.AMD64)}"
    expected = {f"docker-image://quay.io/pypa/manylinux_2_28_{platform.machine}@{builder}"}
    if stage not in (Stage.BASE, Stage.BACKEND):
        expected.add(f"docker-image://nvcr.io/nvidia/cuda@{runtime}")
    if stage is Stage.BACKEND or catalogue.images[image].compile_from_source.get(platform):
        expected.add(f"docker-image://nvcr.io/nvidia/cuda@{devel}")
    assert roots - {tools} == expected - {tools}
    assert roots <= {rule["selector"]["identifier"] for rule in policy["rules"] if rule["action"] == "ALLOW"}
    assert {tuple(step["platforms"]) for name, step in steps.items() if name != "tools"} == {(platform.value,)}
    assert not [value for value in contexts if "oci-layout" in value]


@pytest.mark.parametrize("platform", list(Platform), ids=lambda platform: platform.arch)
@pytest.mark.parametrize("image", list(SETS))
def test_a_dev_image_has_python_then_the_sets_of_its_engine_then_the_toolchains(
    catalogue: Catalogue, image: str, platform: Platform
) -> None:
    steps = documents(image_request(catalogue, image, Stage.DEV, platform))[0]["target"]
    chain = base_chain(steps, f"{image}-dev-user", platform.arch)
    of_packages = [name.removeprefix("target:") for name in chain if name.startswith("target:")]
    sets = [f"os-{name}" for name in SETS[image]]
    system = [name for name in of_packages if "debs" in steps[name]["contexts"]]
    assert system == [f"{image}-dev-os", *reversed(sets), "root-runtime-packages"]
    assert chain[-3:-1] == ["target:root-runtime-packages", "target:root-runtime"]
    assert chain[-1].startswith("docker-image://nvcr.io/nvidia/cuda@sha256:")
    for name in system:
        assert "/.build/os-packages/cuda-" in steps[name]["contexts"]["debs"]


@pytest.mark.parametrize("platform", list(Platform), ids=lambda platform: platform.arch)
def test_the_backend_stage_is_based_on_the_devel_image_with_python_s_headers(
    catalogue: Catalogue, platform: Platform
) -> None:
    steps = documents(image_request(catalogue, "sglang", Stage.BACKEND, platform))[0]["target"]
    assert base_chain(steps, "sglang-backend", platform.arch)[:2] == ["target:root-devel-packages", "target:root-devel"]
    assert "libpython3-dev" in catalogue.bases["cuda"].extended_roots["devel"].packages


@pytest.mark.parametrize(("image", "stage", "platform"), COMBINATIONS, ids=lambda value: getattr(value, "value", value))
def test_every_image_can_be_explained(catalogue: Catalogue, image: str, stage: Stage, platform: Platform) -> None:
    text = explain.text(explain_inputs.explain_request(image_request(catalogue, image, stage, platform)))
    assert text.startswith(f"{image}, {stage.value} stage, {platform.value}: ")
    if stage not in (Stage.BASE, Stage.BACKEND):
        assert f"from constraints/os-cuda-runtime-{platform.arch}.txt (bases.cuda.roots.runtime in images.toml)" in text


@pytest.mark.parametrize("stage", [Stage.RUNTIME, Stage.CI, Stage.DEV, Stage.BACKEND], ids=lambda stage: stage.value)
@pytest.mark.parametrize("image", ["vllm", "sglang"])
def test_the_error_without_locks_names_the_missing_lock_and_its_command(
    catalogue: Catalogue, image: str, stage: Stage
) -> None:
    for file in (catalogue.folder / "constraints").glob("os-cuda-*"):
        file.unlink()
    with pytest.raises(LockError) as caught:
        inputs.build_inputs(image_request(catalogue, image, stage, Platform.ARM64))
    role = "devel" if stage is Stage.BACKEND else "runtime"
    message = str(caught.value)
    if image == "vllm" or stage is Stage.BACKEND:
        assert message == (
            f"constraints/os-cuda-{role}-amd64.txt does not exist. It pins the packages on "
            f"nvcr.io/nvidia/cuda:13.0.2-{role}-ubuntu24.04 (bases.cuda.roots.{role} in images.toml).\n"
            "Create it with: invoke lock --only os --bases cuda\n"
            "This needs access to the registry of that image and to http://archive.ubuntu.com/ubuntu, or to mirrors of "
            "both (docs/how-to/mirrors.md).\n"
            f"Not locked, {catalogue.not_locked['cuda-os']}"
        )
    assert "does not exist" in message


# From sources


@pytest.fixture
def checkouts(tmp_path: Path) -> dict[str, str]:
    """Return clean checkouts, which strict bases accept."""
    folders = {}
    for name in ("dynamo", "nixl", "ucx"):
        folder = shutil.copytree(ROOT / "tests/sources" / name, tmp_path / name)
        for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=first")):
            author = ("-c", "user.name=a", "-c", "user.email=a@b")
            subprocess.run(("git", "-C", str(folder), *author, *arguments), check=True)
        folders[name] = str(folder)
    return folders


def from_sources(catalogue: Catalogue, platform: Platform, sources: dict[str, str]) -> Request:
    options = {"platforms": [platform.value], "bases": "cuda"}
    return request_for(catalogue, Stage.BASE, ImageSelection(sources=sources, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("platform", list(Platform), ids=lambda platform: platform.arch)
def test_dynamo_is_compiled_on_the_builder_with_almalinux_s_packages_and_rust_as_released(
    catalogue: Catalogue, checkouts: dict[str, str], platform: Platform
) -> None:
    request = from_sources(catalogue, platform, {"dynamo": checkouts["dynamo"]})
    document, policy = documents(request)
    steps = document["target"]
    chain = ["target:compile-rust-toolchain", "target:compile-rust", "target:compile-tools"]
    assert base_chain(steps, "dynamo-rust", platform.arch) == [*chain, ""]
    assert Path(steps["compile-rust"]["context"]).name == "os-rpms"
    assert "/.build/os-packages/cuda-rust-" in steps["compile-rust"]["contexts"]["rpms"]
    toolchain = steps["compile-rust-toolchain"]
    assert toolchain["args"]["INSTALLER"] == "install.sh"
    assert Path(toolchain["contexts"]["archives"]).name == "cuda-rust-24ba1338-f00ba576"
    named = steps["dynamo-rust"]["args"]["TOOLCHAIN"]
    assert named.startswith("cuda-rust-")
    assert named.endswith("-cuda-rust-24ba1338-f00ba576")  # another Rust starts with empty caches
    digest = catalogue.pins.root("cuda", "builder", platform)
    root = f"docker-image://quay.io/pypa/manylinux_2_28_{platform.machine}@{digest}"
    assert steps["builder"]["contexts"][f"root-{platform.arch}"] == root
    allowed = {rule["selector"]["identifier"] for rule in policy["rules"] if rule["action"] == "ALLOW"}
    assert f"https://static.rust-lang.org/dist/rust-1.98.1-{platform.machine}-unknown-linux-gnu.tar.gz" in allowed


@pytest.mark.parametrize("platform", list(Platform), ids=lambda platform: platform.arch)
def test_nixl_and_ucx_are_compiled_on_the_builder_by_its_own_compiler(
    catalogue: Catalogue, checkouts: dict[str, str], platform: Platform
) -> None:
    steps = documents(from_sources(catalogue, platform, checkouts))[0]["target"]
    for name in ("nixl", "ucx"):
        assert base_chain(steps, name, platform.arch)[:2] == ["target:nixl-cuda", "target:nixl-cxx"]
        assert steps[name]["args"]["TOOLCHAIN"].startswith("cuda-cxx-")
    assert Path(steps["nixl-cxx"]["context"]).name == "os-rpms"
    assert steps["base"]["args"]["BUILT"] == "ai-dynamo ai-dynamo-runtime nixl nixl-cu13"
    compilers = {"gcc", "gcc-c++", "g++"}
    assert not compilers & set(catalogue.bases["cuda"].packages["cxx"].packages)  # older than the image's


def test_only_a_source_build_needs_the_lock_of_a_compiler_set(catalogue: Catalogue, checkouts: dict[str, str]) -> None:
    (catalogue.folder / "constraints/os-cuda-rust-arm64.txt").unlink()
    with pytest.raises(LockError, match=r"os-cuda-rust-arm64[.]txt does not exist(?s:.*)invoke lock --only os --bases"):
        inputs.build_inputs(from_sources(catalogue, Platform.ARM64, {"dynamo": checkouts["dynamo"]}), dry_run=True)
    inputs.build_inputs(from_sources(catalogue, Platform.ARM64, {}), dry_run=True)


def test_only_a_source_build_needs_the_pin_of_rust(catalogue: Catalogue, checkouts: dict[str, str]) -> None:
    pins = catalogue.pins
    rest = replace(pins, programs={key: pin for key, pin in pins.programs.items() if key[1] != "rust"})
    (catalogue.folder / PINS_FILE).write_text(render(rest), encoding="utf-8")
    own = load_catalogue(catalogue.folder)
    with pytest.raises(LockError, match=r"no programs[.]cuda[.]rust for linux/amd64[.]\n(?s:.*)--only archives"):
        inputs.build_inputs(from_sources(own, Platform.AMD64, {"dynamo": checkouts["dynamo"]}), dry_run=True)
    inputs.build_inputs(from_sources(own, Platform.AMD64, {}), dry_run=True)


def test_the_compilers_are_among_the_locks_of_a_source_build_only(
    catalogue: Catalogue, checkouts: dict[str, str]
) -> None:
    def texts(sources: dict[str, str]) -> list[str]:
        locks = current_locks.check(from_sources(catalogue, Platform.AMD64, sources))["base"]
        return [name for name in locks if "rust" in name]

    assert texts({"dynamo": checkouts["dynamo"]}) == [
        "constraints/os-cuda-rust-amd64.txt",
        "constraints/os-cuda-rust-arm64.txt",
        "toolchains.cuda.rust for linux/amd64",
        "toolchains.cuda.rust for linux/arm64",
    ]
    assert texts({}) == []


def test_a_source_build_can_be_explained(catalogue: Catalogue, checkouts: dict[str, str]) -> None:
    text = explain.text(
        explain_inputs.explain_request(from_sources(catalogue, Platform.ARM64, {"dynamo": checkouts["dynamo"]}))
    )
    assert "constraints/os-cuda-rust-arm64.txt (bases.cuda.packages.rust or bases.cuda.roots.builder" in text
    assert "containers/toolchain/Dockerfile" in text
