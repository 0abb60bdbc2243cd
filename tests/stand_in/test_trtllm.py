"""TensorRT-LLM is really locked and built, with stand-ins for the registry and index of NVIDIA."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.platforms import Platform
from tests.stand_in import project as projects
from tests.stand_in.project import NATIVE, PART

if TYPE_CHECKING:
    from tests.stand_in.project import StandInProject
    from tests.stand_in.servers import StandIn

OTHER = next(platform for platform in Platform if platform is not NATIVE)
LOCK = f"constraints/trtllm-cuda-{NATIVE.arch}.txt"
BUILD = ("--image", "trtllm", "--bases", "cuda")


@pytest.fixture(scope="module")
def tags(project: StandInProject) -> dict[str, str]:
    """Build the backend, runtime and ci images; return stage -> tag."""
    for stage in ("backend", "runtime", "ci"):
        finished = project.invoke(f"build.{stage}", *BUILD)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    listed = project.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    forms = {
        "backend": "tensorrtllm-runtime-backend:",
        "runtime": "tensorrtllm-runtime:",
        "ci": "tensorrtllm-runtime-ci:",
    }
    return {
        stage: next(tag for tag in listed if tag.startswith(form) and tag.endswith(f"-cuda-{NATIVE.arch}"))
        for stage, form in forms.items()
    }


def inspected(project: StandInProject, tag: str) -> dict[str, dict[str, object]]:
    description: dict[str, dict[str, object]] = json.loads(project.docker("image", "inspect", tag))[0]
    return description


def test_the_lock_has_the_engine_of_the_index_of_its_own(project: StandInProject) -> None:
    lock = (project.folder / LOCK).read_text(encoding="utf-8")
    assert "\ntensorrt-llm==1.3.0 \\\n" in lock
    assert project.invoke("lock", "--check", "--only", "python", *PART).returncode == 0


def test_the_runtime_has_the_engine_and_dynamo(project: StandInProject, tags: dict[str, str]) -> None:
    asks = "import dynamo, tensorrt_llm; print(tensorrt_llm.__version__)"
    assert project.docker("run", "--rm", "--network=none", tags["runtime"], "python", "-c", asks) == "1.3.0\n"


def test_the_runtime_starts_dynamo_s_worker_and_says_what_it_stands_on(
    project: StandInProject, tags: dict[str, str]
) -> None:
    config = inspected(project, tags["runtime"])["Config"]
    labels = config["Labels"]
    assert isinstance(labels, dict)
    assert config["Cmd"] == ["python", "-m", "dynamo.trtllm"]
    assert config["User"] == "1000:0"
    assert labels["ai.dynamo.bases"] == "cuda"
    assert str(labels["org.opencontainers.image.base.name"]).endswith("/nvidia/cuda:13.0.2-runtime-ubuntu24.04")


def test_the_ci_form_stands_on_the_layers_of_the_runtime(project: StandInProject, tags: dict[str, str]) -> None:
    runtime, ci = (inspected(project, tags[stage])["RootFS"]["Layers"] for stage in ("runtime", "ci"))
    assert isinstance(runtime, list)
    assert isinstance(ci, list)
    assert ci[: len(runtime)] == runtime
    assert len(ci) == len(runtime) + 1


def test_nothing_is_compiled_so_the_backend_s_wheelhouse_is_empty(
    project: StandInProject, tags: dict[str, str]
) -> None:
    listed = project.docker("run", "--rm", "--network=none", tags["backend"], "ls", "-A", "/opt/dynamo/wheelhouse")
    assert listed == "built.txt\n"


@pytest.mark.usefixtures("tags")
def test_only_the_index_of_its_own_was_asked_for_the_engine_and_for_nothing_else(server: StandIn) -> None:
    file = f"tensorrt_llm-1.3.0-{projects.tag()}.whl"
    assert {name.removesuffix(".metadata") for name in server.nvidia.requests} == {"tensorrt-llm", file}
    assert {"ai-dynamo", "uv", "pytest"} <= set(server.machine)
    assert "tensorrt-llm" not in server.machine


def test_no_address_of_an_index_is_in_the_image(project: StandInProject, tags: dict[str, str], server: StandIn) -> None:
    for tag in tags.values():
        assert server.address not in project.docker("history", "--no-trunc", tag)
        assert server.address not in json.dumps(inspected(project, tag))


@pytest.mark.usefixtures("tags")
def test_a_wheel_whose_library_is_for_another_machine_fails_the_build(project: StandInProject, server: StandIn) -> None:
    projects.offer(server, "1.3.1", OTHER.elf_machine)
    assert project.invoke("lock", *PART, "--only", "python", "--upgrade", "tensorrt-llm").returncode == 0
    finished = project.invoke("build.runtime", *BUILD)
    assert finished.returncode == 7
    library = "/tree/opt/dynamo/venv/lib/python3.11/site-packages/tensorrt_llm/libs/libstand_in.so"
    message = f"error: tensorrt_llm==1.3.1: {library} is for ELF machine {OTHER.elf_machine}, not for {NATIVE.arch}"
    assert message in finished.stdout + finished.stderr
