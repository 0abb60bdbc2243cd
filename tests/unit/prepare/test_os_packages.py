"""Tests of sets of OS packages on a root image: their locks, their .debs, and the target that installs them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from dataclasses import replace
from shutil import which
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from dynamo_containers import process
from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.bases import PackageSet, Root
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.locks.os_lock import Drift, OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PINS_FILE, Pins, load_pins, render
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.os import debian
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.plan import target as plan_target
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import drift as prepare_drift
from dynamo_containers.prepare import os_packages
from tests.unit.conftest import build_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs
    from tests.unit.conftest import FakeApt, Server

INSTALL = ROOT / "containers/os-packages/install-debs"
THEN, NOW = 1700000000, 1800000000


def package(name: str, version: str) -> Package:
    """Return a package whose content is its name and version."""
    content = f"{name} {version}".encode()
    return Package(
        name=name,
        version=version,
        architecture="all",
        archive="debian",
        path=f"pool/{name}_{version}_all.deb",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


LIBC, GPP = package("libc6", "2.36-9"), package("g++", "12.2-3")
NEW_LIBC, NEW_GPP = package("libc6", "2.36-10"), package("g++", "12.2-4")


@pytest.fixture
def bases(catalogue: Catalogue) -> Bases:
    sets = {"compiler": PackageSet(root="runtime", packages=("g++",))}
    return replace(catalogue.bases["debian"], packages=sets, programs={})


@pytest.fixture
def stacked(catalogue: Catalogue, bases: Bases) -> Catalogue:
    """Return the small checkout with a set of packages on its runtime's root image."""
    return replace(catalogue, bases={"debian": bases})


@pytest.fixture
def compiler(bases: Bases) -> OsLock:
    return os_lock.lock_of(bases, "compiler", Platform.AMD64)


def offer(server: Server, fake_apt: FakeApt, *, root: Package, above: tuple[Package, ...]) -> None:
    """Serve these packages; apt would install those of `above` for g++."""
    fake_apt.sources(f"{server.address}/debian")
    server.files = {
        f"/debian/{quote(package.path)}": f"{package.name} {package.version}".encode() for package in (root, *above)
    }
    root_line, *lines = (
        f"'{server.address}/debian/{row.path}' {row.path.rpartition('/')[2]} {row.size} SHA256:{row.sha256}"
        for row in (root, *above)
    )
    fake_apt.would_install(root_line)
    fake_apt.would_install_for("g++", *lines)


@pytest.fixture
def mirror(server: Server, fake_apt: FakeApt) -> Server:
    """Serve the locked packages."""
    offer(server, fake_apt, root=LIBC, above=(LIBC, GPP))
    return server


def write_locks(folder: Path, bases: Bases) -> None:
    for platform in Platform:
        above = os_lock.lock_of(bases, "compiler", platform)
        write_lock(above, folder, (GPP,))
        write_lock(above.root_lock, folder, (LIBC,))


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_a_set_has_a_lock_for_every_platform_after_those_of_the_root_images(stacked: Catalogue) -> None:
    assert [lock.file for lock in selection.os_locks(stacked)] == [
        "constraints/os-debian-builder-amd64.txt",
        "constraints/os-debian-builder-arm64.txt",
        "constraints/os-debian-runtime-amd64.txt",
        "constraints/os-debian-runtime-arm64.txt",
        "constraints/os-debian-compiler-amd64.txt",
        "constraints/os-debian-compiler-arm64.txt",
    ]
    part = selection.LockSelection(platforms=["linux/arm64"])
    assert [lock.name for lock in part.os_locks(stacked)] == ["builder", "runtime", "compiler"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"packages": {"compiler": PackageSet(root="runtime", packages=("gcc",))}}, id="its own row"),
        pytest.param({"roots": {"runtime": Root(suite="bookworm", packages=("bash",))}}, id="the root image's"),
    ],
)
def test_the_lock_of_a_set_is_stale_after_a_change_of_its_rows(compiler: OsLock, change: dict[str, Any]) -> None:
    text = os_lock.render(compiler, (GPP,))
    assert os_lock.parse(compiler, text) == (GPP,)
    with pytest.raises(LockError) as caught:
        os_lock.parse(replace(compiler, bases=replace(compiler.bases, **change)), text)
    assert str(caught.value) == (
        "constraints/os-debian-compiler-amd64.txt is stale: bases.debian.packages.compiler or "
        "bases.debian.roots.runtime of containers/images.toml changed since it was written.\n"
        "Update it with: invoke lock --only os"
    )


def test_a_set_does_not_change_the_inputs_of_the_lock_of_its_root_image(catalogue: Catalogue, compiler: OsLock) -> None:
    alone = OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)
    assert compiler.root_lock.inputs == alone.inputs
    assert compiler.inputs != alone.inputs


@pytest.mark.usefixtures("mirror")
def test_the_lock_of_a_set_has_the_packages_that_the_root_image_lacks(stacked: Catalogue, compiler: OsLock) -> None:
    moves = debian.update_locks(stacked.folder, selection.os_locks(stacked), staged=stacked.folder)
    assert os_lock.read(compiler.root_lock, stacked.folder) == (LIBC,)
    assert os_lock.read(compiler, stacked.folder) == (GPP,)
    assert [move.lock for move in moves if move.name == "g++"] == [
        "os-debian-compiler-amd64",
        "os-debian-compiler-arm64",
    ]


def test_a_set_that_would_move_a_package_of_its_root_image_is_rejected_before_a_lock_is_written(
    stacked: Catalogue, server: Server, fake_apt: FakeApt
) -> None:
    offer(server, fake_apt, root=LIBC, above=(NEW_LIBC, GPP))
    with pytest.raises(LockError) as caught:
        debian.update_locks(stacked.folder, selection.os_locks(stacked), staged=stacked.folder)
    assert str(caught.value) == (
        "constraints/os-debian-compiler-amd64.txt would move packages of its root image "
        "(constraints/os-debian-runtime-amd64.txt): libc6 2.36-9 -> 2.36-10.\n"
        "Was the mirror being updated? Update them with: invoke lock --only os"
    )
    assert not (stacked.folder / "constraints").exists()


def test_the_same_version_with_another_content_is_another_package() -> None:
    rebuilt = replace(LIBC, sha256="f" * 64)
    assert os_conflicts.beyond((rebuilt, GPP), (LIBC,)) == (rebuilt, GPP)


@pytest.mark.usefixtures("mirror")
def test_a_moved_set_moves_the_epoch_and_only_root_images_are_rebuilt(
    stacked: Catalogue,
    leave_root_image: Callable[[Path, OsLock, tuple[Package, ...], int, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    for lock in selection.root_locks(stacked):
        write_lock(lock, stacked.folder, (LIBC,), "20231114T221320Z")
        for epoch in (THEN, NOW):
            leave_root_image(stacked.folder, lock, (LIBC,), epoch, f"sha256:{'1' * 64}")
    process.write(
        process.Document(path=stacked.folder / PINS_FILE, text=render(Pins(epoch=THEN, programs={}, roots={})))
    )
    # The lock of the set for the other platform may be missing: no root image depends on it.
    result = lock_update.update(stacked, selection.select(["os"], platforms=["linux/amd64"]))
    assert result.text.splitlines()[2] == "| os   | g++  | -    | 12.2-3 | 0        | os-debian-compiler-amd64 |"
    pins = load_pins(stacked.folder)
    assert pins.epoch == NOW
    assert set(pins.roots) == {("debian", "builder"), ("debian", "runtime")}


def test_the_check_names_a_set_without_a_lock(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-dev-arm64.txt").unlink()
    result = lock_check.check(load_catalogue(own_checkout), selection.select(["os"]))
    assert result.exit_code == 4
    assert "\nconstraints/os-debian-dev-arm64.txt is missing" in result.text


def test_the_check_names_a_package_that_two_locks_of_one_image_pin_differently(own_checkout: Path) -> None:
    path = own_checkout / "constraints/os-debian-dev-amd64.txt"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (number,) = [number for number, line in enumerate(lines) if line.startswith("libnuma1 ")]
    version = lines[number].split()[1]
    digest = lines[number].rpartition("sha256:")[2].strip()
    lines[number] = lines[number].replace(f" {version} ", " 9-9 ")
    path.write_text("".join(lines), encoding="utf-8")
    result = lock_check.check(load_catalogue(own_checkout), selection.select(["os"]))
    assert result.text == (
        "2 locks are not current:\n"
        f"libnuma1 differs between OS locks of one image: {version} ({digest[:12]}) in "
        f"constraints/os-debian-compiler-amd64.txt, 9-9 ({digest[:12]}) in constraints/os-debian-dev-amd64.txt.\n"
        "Update them with: invoke lock --only os"
    )


def test_the_sets_of_this_project_have_no_package_of_their_root_image(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    locks = [lock for lock in selection.os_locks(catalogue) if lock.package_set and not lock.image]
    assert {lock.name for lock in locks} == {"compiler", "cxx", "dev", "rust"}
    for lock in locks:
        in_root = {package.name for package in os_lock.read(lock.root_lock, own_checkout)}
        in_set = {package.name for package in os_lock.read(lock, own_checkout)}
        assert set(catalogue.bases["debian"].packages[lock.name].packages) <= in_set
        assert not in_set & in_root


def test_the_debs_are_copied_once_from_the_store(stacked: Catalogue, bases: Bases, mirror: Server) -> None:
    write_locks(stacked.folder, bases)
    assert os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64) == ()
    debs = os_packages.folder_of(stacked.folder, bases, "compiler") / "amd64"
    assert contents(debs) == {"g++.deb": "g++ 12.2-3", "drift": ""}
    assert os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64) == ()
    assert len(mirror.requests) == 1


def test_the_folder_depends_on_the_lock(stacked: Catalogue, bases: Bases, compiler: OsLock) -> None:
    write_locks(stacked.folder, bases)
    before = os_packages.folder_of(stacked.folder, bases, "compiler")
    assert os_packages.folder_of(stacked.folder, bases, "compiler") == before
    write_lock(compiler, stacked.folder, (NEW_GPP,))
    moved = os_packages.folder_of(stacked.folder, bases, "compiler")
    assert moved != before
    assert moved.parent == stacked.folder / ".build/os-packages"
    assert moved.name.startswith("debian-compiler-")


def test_a_stale_lock_is_rejected_even_if_its_debs_exist(stacked: Catalogue, bases: Bases, mirror: Server) -> None:
    write_locks(stacked.folder, bases)
    os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64)
    other = replace(bases, packages={"compiler": PackageSet(root="runtime", packages=("g++", "gdb"))})
    with pytest.raises(LockError, match="is stale"):
        os_packages.ensure(stacked.folder, other, "compiler", Platform.AMD64)
    assert len(mirror.requests) == 1


def test_a_failed_download_of_a_set_leaves_no_folder(stacked: Catalogue, bases: Bases, mirror: Server) -> None:
    write_locks(stacked.folder, bases)
    mirror.files[f"/debian/{quote(GPP.path)}"] = b"other bytes"
    with pytest.raises(DownloadError, match="is not the pinned file"):
        os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64)
    assert not (stacked.folder / ".build/os-packages").exists()


def test_a_dropped_package_is_replaced_with_its_dependencies_and_reported_every_time(
    stacked: Catalogue, bases: Bases, server: Server, fake_apt: FakeApt
) -> None:
    write_locks(stacked.folder, bases)
    offer(server, fake_apt, root=NEW_LIBC, above=(NEW_LIBC, NEW_GPP))
    drift = (
        Drift(name="g++", locked="12.2-3", used="12.2-4"),
        Drift(name="libc6", locked="2.36-9", used="2.36-10"),
    )
    assert os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64) == drift
    debs = os_packages.folder_of(stacked.folder, bases, "compiler") / "amd64"
    assert contents(debs) == {
        "g++.deb": "g++ 12.2-4",
        "libc6.deb": "libc6 2.36-10",
        "drift": "g++ 12.2-3 12.2-4\nlibc6 2.36-9 2.36-10\n",
    }
    count = len(server.requests)
    assert os_packages.ensure(stacked.folder, bases, "compiler", Platform.AMD64) == drift
    assert len(server.requests) == count


def test_strict_bases_reject_a_set_that_the_mirror_no_longer_has(
    stacked: Catalogue, bases: Bases, server: Server, fake_apt: FakeApt
) -> None:
    write_locks(stacked.folder, bases)
    offer(server, fake_apt, root=NEW_LIBC, above=(NEW_LIBC, NEW_GPP))
    with pytest.raises(LockError) as caught:
        os_packages.ensure(stacked.folder, replace(bases, strict=True), "compiler", Platform.AMD64)
    assert str(caught.value) == (
        "The mirror no longer has packages of constraints/os-debian-compiler-amd64.txt: g++_12.2-3_all.deb.\n"
        "The debian bases are strict. Lock the current versions: invoke lock --only os"
    )
    assert not (stacked.folder / ".build/os-packages").exists()


def test_a_record_of_drift_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = (Drift(name="came", locked="", used="1:2-3"), Drift(name="went", locked="0~1", used=""))
    process.write(prepare_drift.document(tmp_path / "record", rows))
    assert (tmp_path / "record").read_text(encoding="utf-8") == "came - 1:2-3\nwent 0~1 -\n"
    assert prepare_drift.read(tmp_path / "record") == rows
    assert prepare_drift.read(tmp_path / "none") == ()


def test_the_target_installs_a_set_on_the_target_below(stacked: Catalogue, facts: BuildInputs) -> None:
    request = request_for(stacked, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["all"]))
    debs = stacked.folder / ".build/os-packages/debian-compiler-0123456789abcdef"
    graph = plan_target.GraphBuilder(request, replace(facts, os_packages={"compiler": debs}))
    assert graph.add_os_packages("vllm-os", "compiler", "os") == "vllm-os"
    target = graph.targets["vllm-os"].document()
    assert target["context"] == f"{stacked.folder}/containers/os-packages"
    assert target["contexts"] == {
        "below": "target:os",
        "bin": f"{stacked.folder}/containers/bin",
        "constraints": f"{stacked.folder}/constraints",
        "debs": str(debs),
    }
    assert target["platforms"] == ["linux/amd64", "linux/arm64"]
    assert target["args"]["SOURCE_DATE_EPOCH"] == "1700000000"


needs_dpkg = pytest.mark.skipif(which("dpkg-deb") is None, reason="NOT RUN: no dpkg-deb on this machine")


@pytest.fixture
def debs(tmp_path: Path) -> Path:
    """Return a folder as `ensure` leaves it, with g++ and libc6."""
    folder = tmp_path / "debs"
    folder.mkdir()
    for name, version in (("g++", "12.2-4"), ("libc6", "2.36-10")):
        (folder / f"{name}.deb").write_bytes(build_package(tmp_path / name, name, version))
    (folder / "drift").touch()
    return folder


def install(folder: Path, *installed: str) -> subprocess.CompletedProcess[str]:
    """Run install-debs where dpkg-query prints these lines, and dpkg prints its own command line."""
    programs = folder.parent / "programs"
    programs.mkdir()
    (programs / "lines").write_text("".join(f"{line}\n" for line in installed), encoding="utf-8")
    for name, script in {"dpkg-query": f"cat '{programs}/lines'", "dpkg": 'echo "dpkg $*"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run([str(INSTALL), str(folder)], env=environment, check=False, capture_output=True, text=True)


@needs_dpkg
def test_only_missing_packages_are_installed(debs: Path) -> None:
    # A removed package with configuration files does not count as installed.
    finished = install(debs, "libc6 installed 2.36-10", "g++ config-files 12.2-4", "g installed 1")
    assert (finished.returncode, finished.stdout) == (0, f"dpkg --force-confold --install {debs}/g++.deb\n")


@needs_dpkg
def test_dpkg_is_not_called_if_every_package_is_installed(debs: Path) -> None:
    finished = install(debs, "libc6 installed 2.36-10", "g++ installed 12.2-4")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@needs_dpkg
def test_another_installed_version_is_rejected_before_the_installation(debs: Path) -> None:
    finished = install(debs, "libc6 installed 2.36-9")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == (
        "install-debs: the image below has other versions than the lock of the set:\n"
        "  libc6 2.36-9, and the lock has 2.36-10\n"
        "Lock root images and sets of packages together: invoke lock --only os\n"
    )


@needs_dpkg
def test_a_drifted_package_may_replace_one_of_the_image(debs: Path) -> None:
    (debs / "drift").write_text("libc6 2.36-9 2.36-10\n", encoding="utf-8")
    finished = install(debs, "libc6 installed 2.36-9", "g++ installed 12.2-4")
    assert (finished.returncode, finished.stdout) == (0, f"dpkg --force-confold --install {debs}/libc6.deb\n")


@needs_dpkg
def test_a_renewed_package_may_replace_one_of_the_image(debs: Path) -> None:
    (debs / "renews").write_text("g++\nlibc6\n", encoding="utf-8")
    finished = install(debs, "libc6 installed 2.36-9", "g++ installed 12.2-4")
    assert (finished.returncode, finished.stdout) == (0, f"dpkg --force-confold --install {debs}/libc6.deb\n")


@needs_dpkg
def test_a_package_is_unpacked_after_its_pre_dependencies_are_configured(tmp_path: Path) -> None:
    folder = tmp_path / "debs"
    folder.mkdir()
    before = {"b": "", "a": "b (>= 1), other | another", "c": "a:any"}
    for name, others in before.items():
        more = f"Pre-Depends: {others}\n" if others else ""
        (folder / f"{name}.deb").write_bytes(build_package(tmp_path / name, name, "1", more=more))
    (folder / "drift").touch()
    finished = install(folder)
    assert (finished.returncode, finished.stdout.splitlines()) == (
        0,
        [
            f"dpkg --force-confold --unpack {folder}/b.deb",
            "dpkg --force-confold --configure --pending",
            f"dpkg --force-confold --unpack {folder}/a.deb",
            "dpkg --force-confold --configure --pending",
            f"dpkg --force-confold --install {folder}/c.deb",
            "dpkg --force-confold --configure --pending",
        ],
    )


@pytest.mark.parametrize(
    ("says", "refused"),
    [
        pytest.param("echo 3.12", "", id="the right one"),
        pytest.param("echo 3.11", "has Python 3.11 at", id="another version"),
        pytest.param("exit 1", "has Python none at", id="one that does not start"),
        pytest.param("", "has Python none at", id="none"),
    ],
)
def test_a_root_image_without_the_python_of_its_bases_is_rejected(tmp_path: Path, says: str, refused: str) -> None:
    interpreter = tmp_path / "python"
    if says:
        interpreter.write_text(f"#!/bin/sh\n{says}\n", encoding="utf-8")
        interpreter.chmod(0o755)
    argv = (str(ROOT / "containers/bin/require-python"), str(interpreter), "3.12")
    finished = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert finished.returncode == (1 if refused else 0)
    assert (f"{refused} {interpreter}, and its bases say 3.12" in finished.stderr) is bool(refused)
