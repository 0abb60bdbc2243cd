"""An inference engine in its image, without a GPU: it can be imported, NIXL moves memory, kernels can be compiled."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import process
from tests.smoke.containers import ARBITRARY_USER, MOUNTED, READ_ONLY, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.catalogue import Image
    from tests.smoke.containers import Engine

ONE_OF_EACH = ("libnixl", "libucp", "libucs", "libuct", "libcudart", "libcublas", "libcudnn", "libtorch_cuda")
CUDA_LIBRARY = re.compile(r"/lib(cudart|cublas|cublasLt|cufft|cusparse|cusolver|nvrtc)(?:-[0-9a-f]+)?[.]so[.](\d+)")
CUDA_MAJORS = {"cudart": "13", "cublas": "13", "cublasLt": "13", "nvrtc": "13", "cufft": "12", "cusparse": "12"}
"""Major versions of the libraries of CUDA 13 (its release notes): cuFFT, cuSPARSE and cuSOLVER have their own."""
NO_DEVICE = re.compile("device|cuda|gpu|driver|platform", re.IGNORECASE)
HELP = "usage:"


@pytest.fixture(scope="module")
def loaded(engine: Engine, image: str, row: Image) -> dict[str, Any]:
    command = ("python", "-B", f"{MOUNTED}/mapped.py", *row.imports)
    text = engine.run(image, command, name="mapped", options=("--network", "none", *SCRIPTS), seconds=180)
    answer: dict[str, Any] = json.loads(text.splitlines()[-1])
    return answer


def test_the_engine_and_dynamos_worker_for_it_can_be_imported(loaded: Mapping[str, Any], row: Image) -> None:
    assert row.imports
    assert loaded["failed"] == {}


def test_one_nixl_one_ucx_and_one_of_each_cuda_library_is_loaded(loaded: Mapping[str, Any]) -> None:
    assert "UCX" in loaded["plugins"]
    for name in ONE_OF_EACH:
        pattern = re.compile(rf"/{name}(?:-[0-9a-f]+)?[.]so")
        assert len([path for path in loaded["mapped"] if pattern.search(path)]) <= 1, name
    for name in ("libnixl", "libucp", "libtorch_cuda"):
        assert [path for path in loaded["mapped"] if f"/{name}" in path], f"{name} is not loaded at all"


def test_no_library_of_another_cuda_major_is_loaded(loaded: Mapping[str, Any]) -> None:
    versions = {match.groups() for path in loaded["mapped"] if (match := CUDA_LIBRARY.search(path))}
    assert "cudart" in {name for name, _ in versions}
    assert {(name, major) for name, major in versions if CUDA_MAJORS.get(name, major) != major} == set()
    assert [path for path in loaded["mapped"] if re.search("[/_-]cu(da)?12", path)] == []


def test_nixl_moves_a_mebibyte_between_two_agents(engine: Engine, image: str) -> None:
    site = "import site; print(site.getsitepackages()[0])"
    command = ("sh", "-c", f"exec python -B {MOUNTED}/nixl_transfer.py \"$(python -B -c '{site}')\"")
    answer = json.loads(
        engine.run(image, command, name="nixl", options=("--network", "none", *SCRIPTS)).splitlines()[-1]
    )
    assert (answer["bytes"], answer["equal"]) == (1048576, True)
    assert "UCX" in answer["plugins"]


def test_a_kernel_launcher_can_be_compiled_by_any_user_on_a_read_only_root(engine: Engine, image: str) -> None:
    options = ("--network", "none", *SCRIPTS, *ARBITRARY_USER, "--read-only", "--tmpfs", "/tmp:exec")
    answer = engine.run(image, ("python", "-B", f"{MOUNTED}/compile_extension.py"), name="compile", options=options)
    assert json.loads(answer) == {"answer": 42}


def test_the_worker_explains_itself_as_far_as_it_can_without_a_device(engine: Engine, image: str, row: Image) -> None:
    argv = ("python", "-B", "-m", f"dynamo.{row.backend}", "--help")
    options = ("--network", "none", *ARBITRARY_USER, *READ_ONLY)
    with engine.container(image, argv, name="help", options=options) as container:
        command = process.Command(argv=("docker", "start", "--attach", container.id), env=engine.environment)
        finished = process.query(command, seconds=120 * engine.patience)
    written = finished.stdout + finished.stderr
    assert "ImportError" not in written
    assert "ModuleNotFoundError" not in written.replace("ModuleNotFoundError(\"No module named 'vllm._C'\")", "")
    assert (finished.returncode == 0 and HELP in written) or NO_DEVICE.search(written.splitlines()[-1]), written[-2000:]
