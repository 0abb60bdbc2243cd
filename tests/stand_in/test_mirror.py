"""The graph of the cuda bases is locked and built with mirrors, under the real names, without other requests."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts import mirrors
from dynamo_containers.facts.pins import PINS_FILE, load_pins
from tests.lock.test_registry import Registry
from tests.stand_in.project import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stand_in.project import StandInProject
    from tests.stand_in.servers import StandIn

ON = ("--bases", "cuda")
FORMS = {
    "base": "dynamo-base",
    "backend": "tensorrtllm-runtime-backend",
    "runtime": "dynamo-frontend",
    "ci": "dynamo-frontend-ci",
}
IMAGES = {"backend": ("--image", "trtllm"), "runtime": ("--image", "frontend"), "ci": ("--image", "frontend")}


@pytest.fixture(scope="module")
def tags(project: StandInProject) -> dict[str, str]:
    """Build base, the backend stage, the frontend and its ci image; return stage -> tag."""
    for stage in FORMS:
        finished = project.invoke(f"build.{stage}", *ON, *IMAGES.get(stage, ()))
        assert finished.returncode == 0, finished.stdout + finished.stderr
    listed = project.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    return {
        stage: next(tag for tag in listed if tag.startswith(f"{form}:") and tag.endswith(f"-cuda-{NATIVE.arch}"))
        for stage, form in FORMS.items()
    }


def repositories(project: StandInProject) -> set[str]:
    """Return the repositories whose manifests were requested by reading clients."""
    names = re.findall(r'"(?:GET|HEAD) /v2/(\S+)/manifests/', project.log.read_text(encoding="utf-8"))
    return set(names)


@pytest.mark.usefixtures("tags")
def test_the_mirror_of_registries_was_asked_for_the_pinned_repositories_alone(project: StandInProject) -> None:
    assert repositories(project) == {f"quay.io/pypa/manylinux_2_28_{NATIVE.machine}", "nvcr.io/nvidia/cuda"}


@pytest.mark.usefixtures("tags")
def test_the_mirror_of_release_pages_was_asked_for_the_pinned_archives_alone(server: StandIn) -> None:
    etcd, nats = "etcd-io/etcd/releases/download/v3.5.21", "nats-io/nats-server/releases/download/v2.12.15"
    assert set(server.archives) == {
        f"{etcd}/etcd-v3.5.21-linux-{NATIVE.arch}.tar.gz",
        f"{nats}/nats-server-v2.12.15-linux-{NATIVE.arch}.tar.gz",
        f"dist/rust-1.98.1-{NATIVE.machine}-unknown-linux-gnu.tar.gz",  # by `invoke lock`
    }


def registry_of(project: StandInProject) -> str:
    """Return the host and port of the mirror."""
    text = Path(project.environment[mirrors.VARIABLE]).read_text(encoding="utf-8")
    return text.partition('"quay.io" = "')[2].partition("/")[0]


@pytest.mark.usefixtures("tags")
def test_pins_and_bake_documents_have_the_public_names(project: StandInProject) -> None:
    for file in ("containers/pins.toml", f".build/bake-base-base-cuda-{NATIVE.arch}.json"):
        text = (project.folder / file).read_text(encoding="utf-8")
        assert "quay.io/pypa/manylinux_2_28_" in text
        assert registry_of(project) not in text


def test_no_address_of_a_mirror_is_in_an_image(project: StandInProject, tags: dict[str, str], server: StandIn) -> None:
    assert registry_of(project).startswith("127.0.0.1:")
    for tag in tags.values():
        text = project.docker("history", "--no-trunc", tag) + project.docker("image", "inspect", tag)
        assert registry_of(project) not in text
        assert server.address not in text


def test_the_frontend_says_the_public_name_of_what_it_stands_on(project: StandInProject, tags: dict[str, str]) -> None:
    labels = json.loads(project.docker("image", "inspect", tags["runtime"]))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.base.name"] == "nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04"


@contextmanager
def edited(project: StandInProject, file: str, old: str, new: str) -> Iterator[None]:
    """Change a file of the copy until the end of the block."""
    path = project.folder / file
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\nENV DYNAMO_HOME",
            "\nADD https://example.invalid/unpinned /\nENV DYNAMO_HOME",
            'source "https://example.invalid/unpinned" denied by policy',
        ),
        (
            "\nFROM root-${TARGETARCH} AS",
            "\nFROM docker.io/library/unpinned:1 AS",
            'source "docker-image://docker.io/library/unpinned:1" denied by policy',
        ),
    ],
    ids=["ADD", "FROM"],
)
def test_buildkit_denies_a_planted_source_that_is_not_pinned(
    project: StandInProject, old: str, new: str, message: str
) -> None:
    with edited(project, "containers/builder/Dockerfile", old, new):
        finished = project.invoke("build.base", *ON)
    assert finished.returncode == 7
    assert message in finished.stderr
    assert "Where it says `denied by policy`, a step uses an image, an address or a repository" in finished.stderr
    assert "pin it with: invoke lock" in finished.stderr


@contextmanager
def builder_pinned_to(project: StandInProject, digest: str) -> Iterator[None]:
    """Pin the root image of the builder to one that the engine does not have yet."""
    pinned = load_pins(project.folder).roots["cuda", "builder"].platforms[NATIVE]
    with edited(project, PINS_FILE, pinned, digest):
        yield


def test_a_mirror_that_is_out_of_reach_is_named_with_what_it_is_needed_for(project: StandInProject) -> None:
    table, digest = project.environment[mirrors.VARIABLE], f"sha256:{'a' * 64}"
    away = edited(project, table, f'"{registry_of(project)}/quay.io"', '"127.0.0.1:9/quay.io"')
    with away, builder_pinned_to(project, digest):
        finished = project.invoke("build.base", *ON)
    assert finished.returncode == 5, finished.stderr
    assert f"No registry served quay.io/pypa/manylinux_2_28_{NATIVE.machine}@{digest}" in finished.stderr
    assert "(at the mirror, 127.0.0.1:9/quay.io/" in finished.stderr
    assert "It is the builder root image of the cuda bases." in finished.stderr
    assert "name a mirror that has the same image: docs/how-to/mirrors.md" in finished.stderr


def test_a_mirror_with_other_bytes_than_the_digest_builds_nothing(project: StandInProject) -> None:
    name = f"pypa/manylinux_2_28_{NATIVE.machine}"
    image = Registry(address=registry_of(project)).push(f"quay.io/{name}", "never-pulled", NATIVE, "never pulled")
    digest = str(image["digest"])
    blob = project.log.parent / "data/docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"
    blob.write_bytes(blob.read_bytes() + b" ")  # the same image except for its digest
    with builder_pinned_to(project, digest):
        finished = project.invoke("build.base", *ON)
    assert finished.returncode == 5, finished.stderr
    assert f"The registry has other bytes for quay.io/{name}@{digest} (at the mirror, " in finished.stderr
    assert "It is the builder root image of the cuda bases. Nothing of it was used." in finished.stderr
