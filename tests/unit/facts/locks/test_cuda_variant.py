"""A package for another CUDA major than the bases is found by its name, and named with who requires it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.locks import cuda_variant, python_lock
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import current_locks

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

HASH = f"    --hash=sha256:{'a' * 64}\n"
TEXT = (
    f"cupy-cuda12x==13.1 \\\n{HASH}    # via\n    #   ai-dynamo\n    #   sglang\n"
    f"torch==2.11.0 \\\n{HASH}    # via vllm\n"
)
PATH = "constraints/sglang-debian-amd64.txt"
MESSAGE = f"""\
{PATH} pins cupy-cuda12x==13.1, which is for CUDA 12; required by ai-dynamo, sglang.
The debian bases have CUDA 13. Require packages for it (requirements/), or name the package in \
containers/images.toml with a reason: under [lock.excluded], so that no image has it, or under [lock.cuda-exempt].
Then run: invoke lock"""


@pytest.mark.parametrize(
    ("name", "version", "major"),
    [
        ("nvidia-cublas-cu12", "12.8", "12"),
        ("nvidia-cutlass-dsl-libs-cu13", "4.6.0", "13"),
        ("cupy-cuda12x", "13.1", "12"),
        ("cupy-cuda13x", "13.1", "13"),
        ("flashinfer-jit-cache-cu129", "0.6", "12"),
        ("jax-cuda12-plugin", "0.8", "12"),
        ("cu12-kernels", "1", "12"),
        ("torch", "2.11.0+cu128", "12"),
        ("torch", "2.11.0+cu130", "13"),
        ("torch", "2.11.0+cpu", ""),
        ("flash-attn", "2.8.3+cu12torch2.8cxx11abitrue", "12"),
        ("flash-attn", "2.8.3+cu13torch2.11", "13"),
        ("deep-gemm", "2.1.0+torch28cu126", "12"),
        ("deep-ep", "1.2.1+9af0e0d.cu129", "12"),
        ("kernels", "1.0+cuda12.4", "12"),
        ("kernels", "1.0+pt2.8-cuda.13.0", "13"),
        ("ai-dynamo", "1.4.3.dev20261101+cu130", "13"),
        ("kernels", "1.0+scuba12", ""),
        ("kernels", "1.0+gfocus12", ""),
        ("cuda-python", "13.0", "13"),
        ("cuda-python", "12.9.4", "12"),
        ("cuda-bindings", "12.9", "12"),
        ("cuda-toolkit", "12.8.1", "12"),
        ("nvidia-cuda-nvrtc", "13.0.88", "13"),
        ("nvidia-cuda-cccl", "1!13.3.5.0.6", "13"),
        ("nvidia-cuda-runtime-cu12", "13.0", "12"),
        ("nvidia-cublas", "13.1", "13"),
        ("cuda-core", "1.2.2", ""),
        ("cuda-pathfinder", "1.9.0", ""),
        ("cuda-tile", "1.7.0", ""),
        ("nvidia-cusparse", "12.6.3.3", ""),
        ("nvidia-cufft", "12.0.0.61", ""),
        ("nvidia-cusolver", "12.0.4.66", ""),
        ("nvidia-curand", "10.4.0.35", ""),
        ("nvidia-cufile", "1.15.1.6", ""),
        ("nvidia-ml-py", "13.615.71", ""),
        ("scuba12", "1", ""),
        ("cu2qu", "1", ""),
    ],
)
def test_the_major_that_a_package_says_it_is_for(name: str, version: str, major: str) -> None:
    versioned = cuda_variant.versioned_names(load_catalogue().cuda_versioned)
    assert cuda_variant.major_of(name, version, versioned) == major


def test_without_names_no_version_is_read_as_that_of_cuda() -> None:
    assert cuda_variant.major_of("cuda-python", "12.9.4", cuda_variant.versioned_names(())) == ""


@pytest.mark.parametrize("pin", ["flash-attn==2.8.3+cu12torch2.8cxx11abitrue", "cuda-python==12.9.4"])
def test_a_version_of_another_major_is_refused_like_such_a_name(own: Catalogue, pin: str) -> None:
    text = f"{pin} \\\n{HASH}    # via vllm\n"
    (fault,) = cuda_variant.faults(own, {PATH: text}, "debian")
    assert fault.startswith(f"{PATH} pins {pin}, which is for CUDA 12; required by vllm.\n")
    fitting = f"flash-attn==2.8.3+cu13torch2.11 \\\n{HASH}    # via vllm\n"
    assert cuda_variant.faults(own, {PATH: fitting}, "debian") == ()


@pytest.fixture
def own(own_checkout: Path) -> Catalogue:
    return load_catalogue(own_checkout)


def test_one_message_names_the_package_its_lock_who_requires_it_and_what_to_do(own: Catalogue) -> None:
    assert cuda_variant.faults(own, {PATH: TEXT}, "debian") == (MESSAGE,)


def test_an_exempt_package_is_no_fault(own: Catalogue) -> None:
    exempt = replace(own, cuda_exempt={"cupy-cuda12x": "a reason"})
    assert cuda_variant.faults(exempt, {PATH: TEXT}, "debian") == ()


def test_a_major_in_a_version_needs_a_reason(own: Catalogue) -> None:
    file = own.folder / IMAGES_FILE
    rows = file.read_text(encoding="utf-8").replace("[lock.cuda-versioned]\n", '[lock.cuda-versioned]\nother = ""\n')
    file.write_text(rows, encoding="utf-8")
    with pytest.raises(UsageError, match=r"lock\.cuda-versioned\.other"):
        load_catalogue(own.folder)


def test_bases_that_name_no_major_are_not_judged(own: Catalogue) -> None:
    bases = {**own.bases, "debian": replace(own.bases["debian"], cuda="")}
    assert cuda_variant.faults(replace(own, bases=bases), {PATH: TEXT}, "debian") == ()


def test_this_project_s_own_locks_have_one_exemption_and_need_it(own: Catalogue) -> None:
    locks = python_lock.locks(own)
    assert cuda_variant.faults_of(own, locks, own.folder) == ()
    assert list(own.cuda_exempt) == ["nvidia-cutlass-dsl-libs-cu12"]
    without = cuda_variant.faults_of(replace(own, cuda_exempt={}), locks, own.folder)
    assert [fault.split(" pins ")[0] for fault in without] == [
        "constraints/common-debian-amd64.txt",
        "constraints/common-cuda-amd64.txt",
    ]


@pytest.fixture
def spoiled(own: Catalogue) -> Catalogue:
    """Return a checkout whose vLLM lock has got a package of CUDA 12 that nothing else gives away."""
    for lock in python_lock.locks(own):
        if lock.layer.name == "vllm" and lock.target.bases == "debian":
            file = own.folder / lock.path
            head, pins = re.split(r"^(?=[a-z])", file.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)
            file.write_text(f"{head}aaa-cu12==1.0 \\\n{HASH}    # via vllm\n{pins}", encoding="utf-8")
    return own


def test_the_check_of_locks_finds_it(spoiled: Catalogue) -> None:
    result = lock_check.check(spoiled, selection.select(["python"]))
    assert result.exit_code == 4
    message = "constraints/vllm-debian-amd64.txt pins aaa-cu12==1.0, which is for CUDA 12; required by vllm.\n"
    assert result.text.count(message) == 1


def test_a_build_refuses_it(spoiled: Catalogue) -> None:
    request = request_for(spoiled, Stage.BACKEND, ImageSelection(images=["vllm"], platforms=["linux/amd64"]))
    with pytest.raises(LockError, match=r"pins aaa-cu12==1\.0, which is for CUDA 12; required by vllm"):
        current_locks.check(request)


def test_an_exemption_without_a_reason_is_refused(own: Catalogue) -> None:
    file = own.folder / IMAGES_FILE
    text = file.read_text(encoding="utf-8").replace("[lock.cuda-exempt]\n", '[lock.cuda-exempt]\nother-cu12 = " "\n')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"lock\.cuda-exempt\.other-cu12"):
        load_catalogue(own.folder)
