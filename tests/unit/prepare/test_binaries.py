"""Tests of binaries from packages: the tree of files, and failures without a pin or a file."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from shutil import rmtree, which
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.bases import Program
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.facts.locks.os_lock import Drift
from dynamo_containers.facts.pins import PackagePin, Pins, render_programs
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import binaries
from dynamo_containers.upstream import deb_origins, release_archive
from tests.unit.conftest import build_package

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from tests.unit.conftest import FakeApt, Server

POOL = "pool/main/e/etcd/etcd-server_3.5.16-4_amd64.deb"
NEWER = "pool/main/e/etcd/etcd-server_3.5.16-5_amd64.deb"
PIN = PackagePin(version="3.5.16-4", archive="debian", path=POOL, size=1000, sha256="7" * 64)
KEY = ("debian", "etcd", Platform.AMD64)

needs_dpkg = pytest.mark.skipif(which("dpkg-deb") is None, reason="NOT RUN: no dpkg-deb on this machine")


def pinned_to(pin: PackagePin) -> Pins:
    return Pins(epoch=0, programs={KEY: pin}, roots={})


@pytest.fixture
def bases(catalogue: Catalogue) -> Bases:
    return catalogue.bases["debian"]


@pytest.fixture
def mirror(server: Server, fake_apt: FakeApt) -> Server:
    """Return the server on loopback, which the machine's apt has for its Debian archive."""
    fake_apt.sources(f"{server.address}/debian")
    return server


def test_the_error_for_a_binary_without_a_pin_has_the_command_that_pins_it(bases: Bases) -> None:
    with pytest.raises(LockError) as caught:
        binaries.pins_for(pinned_to(PIN), bases, Platform.ARM64)
    assert str(caught.value) == (
        "containers/pins.toml has no programs.debian.etcd for linux/arm64.\nPin it with: invoke lock --only archives"
    )


def test_the_pins_of_a_platform_are_found_by_name(bases: Bases) -> None:
    assert binaries.pins_for(pinned_to(PIN), bases, Platform.AMD64) == {"etcd": PIN}


@needs_dpkg
def test_only_the_listed_files_of_a_package_are_in_the_tree(
    catalogue: Catalogue, bases: Bases, mirror: Server, etcd: bytes
) -> None:
    mirror.files[f"/debian/{POOL}"] = etcd
    pins = pinned_to(replace(PIN, sha256=hashlib.sha256(etcd).hexdigest()))
    assert binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64) == ()
    tree = binaries.folder_of(catalogue.folder, bases, pins) / "amd64"
    paths = [Path(folder, name) for folder, _, names in os.walk(tree) for name in names]
    assert paths == [tree / "usr/local/bin/etcd"]
    assert paths[0].read_text(encoding="utf-8") == "a program"
    assert paths[0].stat().st_mode & 0o777 == 0o755
    assert binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64) == ()
    assert mirror.requests == [f"/debian/{POOL}"]


@needs_dpkg
def test_the_error_names_a_file_that_the_package_lacks(
    catalogue: Catalogue, bases: Bases, mirror: Server, etcd: bytes
) -> None:
    mirror.files[f"/debian/{POOL}"] = etcd
    pins = pinned_to(replace(PIN, sha256=hashlib.sha256(etcd).hexdigest()))
    row = Program(suite="trixie", package="etcd-server", files={"usr/sbin/etcd": "/usr/local/bin/etcd"})
    other = replace(bases, programs={"etcd": row})
    with pytest.raises(UsageError) as caught:
        binaries.ensure(catalogue.folder, other, pins, Platform.AMD64)
    assert str(caught.value).startswith("The package etcd-server 3.5.16-4 has no file usr/sbin/etcd.\n")
    assert list(binaries.folder_of(catalogue.folder, other, pins).iterdir()) == []


LINKED = [
    pytest.param("usr/bin/etcd", "{outside}/secret", id="an absolute link"),
    pytest.param("usr/bin/etcd", "../../../../../../../../../../../../..{outside}/secret", id="a relative link"),
    pytest.param("usr/bin", "{outside}", id="a folder that is a link"),
    pytest.param("usr/bin/etcd", "etcd", id="a link to itself"),
]


def package_with_link(folder: Path, link: str, target: str) -> bytes:
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(target)
    return build_package(folder, "etcd-server", "3.5.16-4", ("usr/lib/etcd-3",))


@needs_dpkg
@pytest.mark.parametrize(("link", "target"), LINKED)
def test_a_link_in_a_package_never_leads_to_a_file_of_this_machine(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path, catalogue: Catalogue, bases: Bases, mirror: Server, link: str, target: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret", "etcd"):
        (outside / name).write_text("of this machine", encoding="utf-8")
    content = package_with_link(tmp_path / "package", link, target.format(outside=outside))
    mirror.files[f"/debian/{POOL}"] = content
    pins = pinned_to(replace(PIN, sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(UsageError, match="has no file usr/bin/etcd"):
        binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64)
    assert list(binaries.folder_of(catalogue.folder, bases, pins).iterdir()) == []


@needs_dpkg
@pytest.mark.parametrize("target", ["../lib/etcd-3", "/usr/lib/etcd-3", "../../../usr/lib/etcd-3"])
def test_a_link_inside_a_package_is_followed(
    tmp_path: Path, catalogue: Catalogue, bases: Bases, mirror: Server, target: str
) -> None:
    content = package_with_link(tmp_path / "package", "usr/bin/etcd", target)
    mirror.files[f"/debian/{POOL}"] = content
    pins = pinned_to(replace(PIN, sha256=hashlib.sha256(content).hexdigest()))
    binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64)
    copied = binaries.folder_of(catalogue.folder, bases, pins) / "amd64/usr/local/bin/etcd"
    assert not copied.is_symlink()
    assert copied.read_text(encoding="utf-8") == "a program"


@pytest.mark.parametrize(
    ("link", "target"),
    [("etcd/etcd", "/etc/passwd"), ("etcd/etcd", "../../../../etc/passwd")],
)
def test_a_link_in_a_release_archive_never_leads_to_a_file_of_this_machine(
    tmp_path: Path, link: str, target: str
) -> None:
    archive = tmp_path / "etcd.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(link)
        member.type, member.linkname = tarfile.SYMTYPE, target
        tar.addfile(member)
    with pytest.raises(UsageError, match=r"^https://h/etcd\.tar\.gz has a file that leads out of .*etcd/etcd"):
        release_archive.unpack(archive, "https://h/etcd.tar.gz", [link], tmp_path / "package")
    assert not (tmp_path / "package" / link).exists()


@pytest.mark.usefixtures("mirror")
def test_strict_bases_reject_a_package_that_the_mirror_no_longer_has(catalogue: Catalogue, bases: Bases) -> None:
    with pytest.raises(LockError) as caught:
        binaries.ensure(catalogue.folder, replace(bases, strict=True), pinned_to(PIN), Platform.AMD64)
    assert str(caught.value) == (
        f"The mirror no longer has {POOL}.\n"
        "The debian bases are strict. Pin the current version: invoke lock --only archives"
    )


def newer_on_the_mirror(mirror: Server, fake_apt: FakeApt, etcd: bytes) -> None:
    mirror.files[f"/debian/{NEWER}"] = etcd
    digest = hashlib.sha256(etcd).hexdigest()
    fake_apt.would_install(f"'{mirror.address}/debian/{NEWER}' etcd-server_3.5.16-5_amd64.deb 1000 SHA256:{digest}")


@needs_dpkg
def test_other_bases_use_the_current_package_and_report_the_drift_every_time(
    catalogue: Catalogue, bases: Bases, mirror: Server, fake_apt: FakeApt, etcd: bytes
) -> None:
    newer_on_the_mirror(mirror, fake_apt, etcd)
    drift = (Drift(name="etcd-server", locked="3.5.16-4", used="3.5.16-5"),)
    assert binaries.ensure(catalogue.folder, bases, pinned_to(PIN), Platform.AMD64) == drift
    count = len(mirror.requests)
    assert binaries.ensure(catalogue.folder, bases, pinned_to(PIN), Platform.AMD64) == drift
    assert len(mirror.requests) == count


@needs_dpkg
def test_a_tree_never_exists_without_its_record_of_drift(  # noqa: PLR0913, PLR0917 - fixtures
    catalogue: Catalogue,
    bases: Bases,
    mirror: Server,
    fake_apt: FakeApt,
    etcd: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer_on_the_mirror(mirror, fake_apt, etcd)
    write = process.write

    def interrupted(document: process.Document) -> None:
        if document.path.suffix == ".drift":
            raise KeyboardInterrupt
        write(document)

    monkeypatch.setattr(process, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        binaries.ensure(catalogue.folder, bases, pinned_to(PIN), Platform.AMD64)
    assert not (binaries.folder_of(catalogue.folder, bases, pinned_to(PIN)) / "amd64").exists()


def test_the_folder_depends_on_pins_and_files(bases: Bases) -> None:
    moved = pinned_to(replace(PIN, sha256="0" * 64))
    elsewhere = Program(suite="trixie", package="etcd-server", files={"usr/bin/etcd": "/usr/bin/etcd"})
    folders = {
        binaries.folder_of(Path("/checkout"), bases, pinned_to(PIN)),
        binaries.folder_of(Path("/checkout"), bases, moved),
        binaries.folder_of(Path("/checkout"), replace(bases, programs={"etcd": elsewhere}), pinned_to(PIN)),
    }
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {Path("/checkout/.build/programs")}


def test_pins_are_rendered_in_the_form_of_the_file() -> None:
    assert render_programs({KEY: PIN}) == (
        '[programs.debian.etcd."linux/amd64"]\n'
        'version = "3.5.16-4"\n'
        'archive = "debian"\n'
        f'path = "{POOL}"\n'
        "size = 1000\n"
        f'sha256 = "{"7" * 64}"\n\n'
    )


def test_every_binary_of_this_project_is_pinned() -> None:
    own = load_catalogue()
    for bases in own.bases.values():
        for image in own.images.values():
            for platform in image.platforms:
                assert set(binaries.pins_for(own.pins, bases, platform)) == set(bases.programs)


@needs_dpkg
def test_neither_a_planted_download_nor_a_planted_binary_is_used(
    catalogue: Catalogue, bases: Bases, mirror: Server, etcd: bytes, tmp_path: Path
) -> None:
    mirror.files[f"/debian/{POOL}"] = etcd
    pin = replace(PIN, sha256=hashlib.sha256(etcd).hexdigest())
    pins = pinned_to(pin)
    binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64)
    tree = binaries.folder_of(catalogue.folder, bases, pins) / "amd64"
    program = tree / "usr/local/bin/etcd"

    evil = build_package(tmp_path / "evil", "etcd-server", "3.5.16-4", ("usr/bin/etcd", "usr/bin/evil"))
    deb_origins.store_path(catalogue.folder, pin).write_bytes(evil)
    rmtree(tree)
    assert not binaries.is_ready(catalogue.folder, bases, pins, Platform.AMD64)
    binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64)
    assert deb_origins.store_path(catalogue.folder, pin).read_bytes() == etcd
    assert len(mirror.requests) == 2

    program.write_text("b program", encoding="utf-8")
    assert not binaries.is_ready(catalogue.folder, bases, pins, Platform.AMD64)
    binaries.ensure(catalogue.folder, bases, pins, Platform.AMD64)
    assert program.read_text(encoding="utf-8") == "a program"
    assert binaries.is_ready(catalogue.folder, bases, pins, Platform.AMD64)
    assert len(mirror.requests) == 2


@needs_dpkg
def test_a_lost_record_of_drift_is_made_again_with_its_tree(
    catalogue: Catalogue, bases: Bases, mirror: Server, fake_apt: FakeApt, etcd: bytes
) -> None:
    newer_on_the_mirror(mirror, fake_apt, etcd)
    drift = binaries.ensure(catalogue.folder, bases, pinned_to(PIN), Platform.AMD64)
    (binaries.folder_of(catalogue.folder, bases, pinned_to(PIN)) / "amd64.drift").write_text("", encoding="utf-8")
    assert binaries.ensure(catalogue.folder, bases, pinned_to(PIN), Platform.AMD64) == drift != ()
