"""Builds from source on the builder of the cuda bases: RPMs by its dnf, and Rust from its archive, with mirrors."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.facts.locks.os_lock import LOCKED, ON
from dynamo_containers.facts.pins import load_pins
from tests.source_builds.conftest import git, repository
from tests.stand_in.project import NATIVE
from tests.stand_in.rpms import OFFERED, SmallRpm
from tests.stand_in.test_mirror import edited
from tests.stand_in.test_os_packages import lock_of, locked_versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stand_in.project import StandInProject
    from tests.stand_in.rpms import Rpms
    from tests.stand_in.servers import StandIn

LOCK = ("lock", "--only", "os", "--bases", "cuda")
APP_STREAM = "8/AppStream/{machine}/os"


# Locks


def test_dnf_locks_what_the_image_lacks_with_what_that_needs_in_the_newest_version(project: StandInProject) -> None:
    assert locked_versions(project, "rust") == dict.fromkeys(
        ("clang-devel", "clang-libs", "cmake", "openssl-devel"), "2.0-1"
    )
    # libnl3 is in the image too, and rdma-core-devel needs a newer one; of pkgconf-pkg-config nothing does.
    names = ("libaio-devel", "libibverbs", "libnl3", "numactl-devel", "rdma-core-devel")
    assert locked_versions(project, "cxx") == dict.fromkeys(names, "2.0-1")


def test_the_lock_says_where_each_is_and_the_image_that_it_was_made_on(project: StandInProject) -> None:
    text = lock_of(project, "rust").read_text(encoding="utf-8")
    path = f"8/AppStream/{NATIVE.machine}/os/Packages/clang-libs-2.0-1.{NATIVE.machine}.rpm"
    assert re.search(
        rf"^clang-libs 2\.0-1 {NATIVE.machine} almalinux {path} \d+ sha256:[0-9a-f]{{64}}$", text, re.MULTILINE
    )
    pin = load_pins(project.folder).roots["cuda", "builder"]
    assert f"{ON}{pin.platforms[NATIVE]}" in text.splitlines()
    assert LOCKED in text


def test_locking_again_moves_nothing(project: StandInProject) -> None:
    before = lock_of(project, "cxx").read_bytes()
    finished = project.invoke(*LOCK)
    assert finished.returncode == 0, finished.stderr
    assert "Nothing moved." in finished.stdout
    assert lock_of(project, "cxx").read_bytes() == before


# Unsigned, missing and unreachable packages


@pytest.fixture
def offering(repositories: Rpms, tmp_path: Path) -> Iterator[Rpms]:
    """Let a test change the packages of AppStream; at its end the same files are restored."""
    shutil.copytree(repositories.folder, tmp_path / "before")
    yield repositories
    shutil.rmtree(repositories.folder)
    shutil.copytree(tmp_path / "before", repositories.folder)


def test_a_package_that_nobody_signed_is_refused_and_every_lock_stays(project: StandInProject, offering: Rpms) -> None:
    before = lock_of(project, "rust").read_bytes()
    offering.offer(APP_STREAM, (*OFFERED[APP_STREAM], SmallRpm(name="clang-libs", version="3.0", signed=False)))
    finished = project.invoke(*LOCK)
    assert finished.returncode == 5, finished.stderr
    assert "has packages that are not signed by the keys in quay.io/pypa/manylinux_2_28_" in finished.stderr
    assert "clang-libs-3.0-1" in finished.stderr
    assert lock_of(project, "rust").read_bytes() == before


def test_a_package_that_no_repository_has_is_named(project: StandInProject, offering: Rpms) -> None:
    offering.offer(APP_STREAM, (SmallRpm(name="clang-libs"),))
    finished = project.invoke(*LOCK)
    assert finished.returncode == 4, finished.stderr
    assert "https://repo.almalinux.org/almalinux (at the mirror, " in finished.stderr
    assert f"does not have these packages for {NATIVE.value}: clang-devel\n" in finished.stderr


def test_a_repository_out_of_reach_is_named_and_every_lock_stays(project: StandInProject, server: StandIn) -> None:
    from dynamo_containers.facts import mirrors

    before = lock_of(project, "cxx").read_bytes()
    with edited(project, project.environment[mirrors.VARIABLE], f"{server.address}/almalinux/", "https://192.0.2.1:9/"):
        finished = project.invoke(*LOCK)
    assert finished.returncode == 10, finished.stderr
    row = r"quay\.io/pypa/\S+, https://repo\.almalinux\.org/almalinux +as it was"
    assert re.search(rf"constraints/os-cuda-cxx-{NATIVE.arch}\.txt +{row}", finished.stdout)
    assert lock_of(project, "cxx").read_bytes() == before


# Builds


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return repositories of the small sources with one commit each."""
    return {name: repository(name, tmp_path_factory.mktemp("sources")) for name in ("dynamo", "nixl", "ucx")}


@pytest.fixture(scope="module")
def base(project: StandInProject, checkouts: dict[str, Path]) -> str:
    """Build base from the checkouts; return its tag."""
    arguments = [argument for name, folder in checkouts.items() for argument in (f"--{name}-source", str(folder))]
    finished = project.invoke("build.base", "--bases", "cuda", *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    listed = project.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    (tag,) = (name for name in listed if name.startswith("dynamo-base:") and name.endswith(f"-cuda-{NATIVE.arch}"))
    return tag


def test_all_wheels_are_of_the_checkouts(project: StandInProject, base: str, checkouts: dict[str, Path]) -> None:
    manifest = json.loads(project.docker("run", "--rm", base, "cat", "/opt/dynamo/wheelhouse/manifest.json"))
    files = {wheel["name"]: wheel["file"] for wheel in manifest["wheels"]}
    assert files["ai-dynamo"] == "ai_dynamo-1.4.2-py3-none-any.whl"
    assert re.fullmatch(r"ai_dynamo_runtime-1[.]4[.]2-cp310-abi3-(manylinux\w+[.]?)+[.]whl", files["ai-dynamo-runtime"])
    assert set(files) == {"ai-dynamo", "ai-dynamo-runtime", "nixl", "nixl-cu13"}
    labels = json.loads(project.docker("inspect", "--format={{json .Config.Labels}}", base))
    assert {name: state for name, state in labels.items() if name.startswith("ai.dynamo.source.")} == {
        f"ai.dynamo.source.{name}": git(folder, "rev-parse", "HEAD") for name, folder in checkouts.items()
    }


def test_nixl_s_wheel_has_taken_in_the_library_out_of_an_rpm(project: StandInProject, base: str) -> None:
    listing = "/opt/dynamo/tools/bin/python -m zipfile --list /opt/dynamo/wheelhouse/nixl_cu13*.whl"
    files = project.docker("run", "--rm", base, "sh", "-c", listing)
    assert re.search(r"^nixl_cu13\.libs/libibverbs-[0-9a-f]+\.so", files, re.MULTILINE)
    assert "nixl_cu13.libs/ucx/libuct_ib.so.0.0.0 " in files


def test_base_has_nothing_of_what_compiled_it(project: StandInProject, base: str) -> None:
    asks = "command -v rustc cargo protoc; rpm --query clang-devel; ls -d /opt/dynamo/compile /tmp/toolchain"
    output = project.docker("run", "--rm", base, "sh", "-c", f"{asks}; true")
    assert output.split("\n")[0] == "package clang-devel is not installed"


@pytest.mark.usefixtures("base")
def test_the_repositories_were_asked_for_their_lists_and_for_what_is_locked_alone(
    project: StandInProject, server: StandIn
) -> None:
    paths = {
        line.split()[4]
        for name in ("rust", "cxx")
        for line in lock_of(project, name).read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    requested = {path for path in server.rpms if "/repodata/" not in path}
    assert {path for path in requested if "-3.0-" not in path} <= paths
    repositories = load_catalogue(project.folder).bases["cuda"].repositories["builder"].paths_of(NATIVE)
    assert all(path.startswith(repositories) for path in server.rpms)
