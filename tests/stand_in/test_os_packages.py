"""OS packages on the images of NVIDIA: locked for the packages that are there, from a signed archive, and installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.facts.locks.os_lock import LOCKED, ON
from dynamo_containers.facts.pins import load_pins
from tests.stand_in.archive import SUITES
from tests.stand_in.project import NATIVE, RENEWED
from tests.stand_in.test_mirror import edited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stand_in.archive import Archive
    from tests.stand_in.project import StandInProject

LOCK = ("lock", "--only", "os", "--bases", "cuda")
BUILT = {"frontend": ("dev", "dynamo-frontend-dev"), "trtllm": ("runtime", "tensorrtllm-runtime")}
"""Image -> built stage, and its repository."""
SETS = {"frontend": ("runtime", "dev"), "trtllm": ("runtime", "compiler", "mpi")}
"""Image -> the locks of its OS packages."""


def lock_of(project: StandInProject, name: str) -> Path:
    return project.folder / f"constraints/os-cuda-{name}-{NATIVE.arch}.txt"


def locked_versions(project: StandInProject, name: str) -> dict[str, str]:
    """Return package -> version of a lock."""
    rows = (line.split() for line in lock_of(project, name).read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1] for row in rows if row[0] != "#"}


def header_value(project: StandInProject, name: str, prefix: str) -> str:
    lines = lock_of(project, name).read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(prefix) for line in lines if line.startswith(prefix))


def test_the_lock_on_an_image_has_what_that_lacks_and_nothing_that_it_has(project: StandInProject) -> None:
    packages = locked_versions(project, "runtime")
    assert {"python3", "python3-minimal", "libpython3-stdlib"} <= set(packages)
    assert not {"ca-certificates", "libc6", "passwd", RENEWED} & set(packages)


def test_a_set_has_the_newer_package_of_the_image_that_it_needs_and_nothing_of_the_lock_below(
    project: StandInProject,
) -> None:
    packages = locked_versions(project, "compiler")
    assert {"g++", "libc6-dev", "libnuma1"} <= set(packages)
    assert packages[RENEWED] == "9999-1"
    assert not set(packages) & set(locked_versions(project, "runtime"))


@pytest.mark.parametrize("role", ["devel", "runtime"])
def test_the_lock_states_the_image_that_it_was_made_on(project: StandInProject, role: str) -> None:
    pin = load_pins(project.folder).roots["cuda", role]
    assert header_value(project, role, ON) == pin.platforms[NATIVE]


def test_the_locks_are_current(project: StandInProject) -> None:
    finished = project.invoke("lock", "--check", "--only", "os", "--only", "images", "--bases", "cuda")
    assert finished.returncode == 0, finished.stderr


def test_locking_again_moves_nothing(project: StandInProject) -> None:
    before = {role: lock_of(project, role).read_bytes() for role in ("compiler", "devel", "runtime")}
    finished = project.invoke(*LOCK)
    assert finished.returncode == 0, finished.stderr
    assert "Nothing moved." in finished.stdout
    assert {role: lock_of(project, role).read_bytes() for role in before} == before


# Installed packages


@pytest.fixture(scope="module")
def tags(project: StandInProject) -> dict[str, str]:
    """Build the images and those that they are based on; return image -> tag."""
    for image, (stage, _) in BUILT.items():
        finished = project.invoke(f"build.{stage}", "--image", image, "--bases", "cuda")
        assert finished.returncode == 0, finished.stdout + finished.stderr
    listed = project.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    return {image: next(tag for tag in listed if tag.startswith(f"{form}:")) for image, (_, form) in BUILT.items()}


def run(project: StandInProject, tag: str, *command: str) -> str:
    return project.docker("run", "--rm", "--network=none", tag, *command).strip()


def version(project: StandInProject, tag: str, package: str) -> str:
    return run(project, tag, "dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package)


def test_the_environment_is_run_by_the_python_that_was_installed_on_the_image(
    project: StandInProject, tags: dict[str, str]
) -> None:
    asks = "import sys; print(sys.executable, sys._base_executable); import dynamo.frontend"
    python = f"python{load_catalogue(project.folder).bases['cuda'].python}"
    assert run(project, tags["frontend"], "python", "-c", asks) == f"/opt/dynamo/venv/bin/python /usr/bin/{python}"
    assert run(project, tags["frontend"], "readlink", "/opt/dynamo/venv/bin/python") == "/usr/bin/python3"
    assert "home = /usr/bin" in run(project, tags["frontend"], "cat", "/opt/dynamo/venv/pyvenv.cfg").splitlines()


@pytest.mark.parametrize("image", list(BUILT))
def test_an_image_has_every_package_of_its_locks_and_all_are_configured(
    project: StandInProject, tags: dict[str, str], image: str
) -> None:
    listed = run(project, tags[image], "dpkg-query", "--show", "--showformat=${Package} ${Version} ${Status}\n")
    rows = [line.split(" ", 2) for line in listed.splitlines()]
    assert {
        name: number for lock in SETS[image] for name, number in locked_versions(project, lock).items()
    }.items() <= {row[0]: row[1] for row in rows}.items()
    assert {row[2] for row in rows} == {"install ok installed"}


def test_only_what_needs_it_gets_the_newer_package(project: StandInProject, tags: dict[str, str]) -> None:
    assert version(project, tags["trtllm"], RENEWED) == "installed 9999-1"
    assert version(project, tags["frontend"], RENEWED) != "installed 9999-1"


def moments(project: StandInProject) -> dict[str, set[str]]:
    """Return the path of each locked package -> times of the locks that have it."""
    moments_of_paths: dict[str, set[str]] = {}
    for file in (project.folder / "constraints").glob("os-cuda-*"):
        lines = file.read_text(encoding="utf-8").splitlines()
        moment = next(line.removeprefix(LOCKED) for line in lines if line.startswith(LOCKED))
        for line in lines:
            if not line.startswith("#"):
                moments_of_paths.setdefault(line.split()[4], set()).add(moment)
    return moments_of_paths


@pytest.mark.usefixtures("tags")
def test_packages_come_from_the_snapshot_of_the_moment_of_a_lock_that_has_them_and_nothing_else_is_asked_for(
    project: StandInProject, packages: Archive
) -> None:
    moments_of_paths, fetched = moments(project), set()
    for path in packages.requests:
        if deb := re.fullmatch(r"/snapshot/(\d{8}T\d{6}Z)/(pool/\S+\.deb)", path):
            assert deb[1] in moments_of_paths.get(unquote(deb[2]), ()), path
            fetched.add(unquote(deb[2]))
        else:
            assert re.match(rf"/ubuntu/dists/({'|'.join(SUITES)})/", path), path
    assert {f"pool/{name}_1000-1_{NATIVE.arch}.deb" for name in ("g++", "openmpi-bin", "sudo")} <= fetched
    assert any(path.startswith("pool/python3-minimal_") for path in fetched)


# Unsigned and unreachable archives


def table(project: StandInProject) -> str:
    return project.environment[mirrors.VARIABLE]


def all_locks(project: StandInProject) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (project.folder / "constraints").glob("os-cuda-*")}


def test_an_archive_that_is_out_of_reach_is_named_and_every_lock_stays(
    project: StandInProject, packages: Archive
) -> None:
    before = all_locks(project)
    with edited(project, table(project), f"{packages.address}/ubuntu/", "http://127.0.0.1:9/ubuntu/"):
        finished = project.invoke(*LOCK)
    assert finished.returncode == 10, finished.stderr
    archive = load_catalogue(project.folder).bases["cuda"].archive
    assert archive is not None
    address = archive.addresses[NATIVE]
    assert re.search(
        rf"constraints/os-cuda-mpi-{NATIVE.arch}\.txt +nvcr\.io/\S+, {address} +as it was", finished.stdout
    )
    assert f"{address} (at the mirror, http://127.0.0.1:9/ubuntu): " in finished.stdout
    assert "In a closed network, configure mirrors: docs/how-to/mirrors.md" in finished.stdout
    assert all_locks(project) == before


@pytest.fixture
def forged(packages: Archive, tmp_path: Path) -> Iterator[None]:
    """Sign the list of the suite with a key that no image trusts, until the end of the test."""
    from tests.stand_in.archive import archive  # a second one, for its key

    file = packages.folder / "ubuntu/dists/noble/InRelease"
    before = file.read_text(encoding="utf-8")
    text = before.partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    with archive(tmp_path) as other:
        other.sign(file, text)
    yield
    file.write_text(before, encoding="utf-8")


@pytest.mark.usefixtures("forged")
def test_an_archive_that_the_image_does_not_trust_is_refused_and_every_lock_stays(project: StandInProject) -> None:
    before = all_locks(project)
    finished = project.invoke(*LOCK)
    assert finished.returncode == 5, finished.stderr
    assert "is not signed by the keys in nvcr.io/nvidia/cuda:13.0.2-" in finished.stderr
    assert "(/usr/share/keyrings/ubuntu-archive-keyring.gpg)" in finished.stderr
    assert all_locks(project) == before


def test_a_build_on_another_image_than_the_locks_were_made_on_is_refused(project: StandInProject) -> None:
    pinned = load_pins(project.folder).roots["cuda", "runtime"].platforms[NATIVE]
    file = f"constraints/os-cuda-runtime-{NATIVE.arch}.txt"
    with edited(project, file, f"{ON}{pinned}", f"{ON}sha256:{'0' * 64}"):
        finished = project.invoke("build.runtime", "--image", "frontend", "--bases", "cuda")
    assert finished.returncode == 4
    assert f"{file} is stale: it is based on nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04" in finished.stderr
    assert "Update it with: invoke lock --only os --bases cuda" in finished.stderr
