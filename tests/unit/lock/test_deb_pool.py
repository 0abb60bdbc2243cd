"""A kept pool: what is in it, and that it can be built from when the mirror is gone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.bases import DebSources
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PINS_FILE, PackagePin, Pins, render
from dynamo_containers.lock import deb_pool, selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import deb_origins

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from tests.unit.conftest import FakeApt, Server

CONTENT = b"a package"
BASH = Package(
    name="bash",
    version="1",
    architecture="all",
    archive="debian",
    path="pool/b/bash_1.deb",
    size=9,
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
ETCD = PackagePin(
    version="3", archive="debian", path="pool/e/etcd_3.deb", size=4, sha256=hashlib.sha256(b"etcd").hexdigest()
)


@pytest.fixture
def locked(catalogue: Catalogue, server: Server, fake_apt: FakeApt) -> Catalogue:
    """Return a checkout whose every lock is of one package, which the mirror has."""
    fake_apt.sources(f"{server.address}/debian")
    server.files |= {f"/debian/{BASH.path}": CONTENT, f"/debian/{ETCD.path}": b"etcd"}
    for lock in selection.os_locks(catalogue):
        write_lock(lock, catalogue.folder, (BASH,))
    pins = Pins(epoch=1, programs={("debian", "etcd", platform): ETCD for platform in Platform}, roots={})
    (catalogue.folder / PINS_FILE).write_text(render(pins), encoding="utf-8")
    return catalogue


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_pool_has_every_locked_package_by_archive_and_path(locked: Catalogue, tmp_path: Path) -> None:
    pool = tmp_path / "kept"
    result = lock_update.keep_pool(locked, str(pool))
    assert result.text == f"{pool} has every locked package: 2."
    assert result.data == deb_pool.PoolCopy(folder=str(pool), packages=2)
    assert files(pool) == {"debian/pool/b/bash_1.deb": CONTENT, "debian/pool/e/etcd_3.deb": b"etcd"}


def test_keeping_again_changes_nothing_and_mends_what_is_damaged(locked: Catalogue, tmp_path: Path) -> None:
    pool = tmp_path / "kept"
    lock_update.keep_pool(locked, str(pool))
    bash, etcd = pool / "debian/pool/b/bash_1.deb", pool / "debian/pool/e/etcd_3.deb"
    bash.write_bytes(b"half of")
    before = etcd.stat().st_mtime_ns
    lock_update.keep_pool(locked, str(pool))
    assert bash.read_bytes() == CONTENT
    assert etcd.stat().st_mtime_ns == before


def test_what_was_kept_is_all_that_a_build_needs(locked: Catalogue, server: Server, tmp_path: Path) -> None:
    lock_update.keep_pool(locked, str(tmp_path / "kept"))
    rmtree(locked.folder / ".build")
    server.files.clear()
    server.requests.clear()
    bases = replace(locked.bases["debian"], deb_sources=DebSources(pool=str(tmp_path / "kept")))
    assert deb_origins.fetch_all(locked.folder, bases, (BASH,), "") == ()
    assert deb_origins.fetch_all(locked.folder, bases, (ETCD,), "") == ()
    assert server.requests == []


def test_what_nobody_has_any_more_is_named_and_the_rest_is_kept(
    locked: Catalogue, server: Server, tmp_path: Path
) -> None:
    del server.files[f"/debian/{BASH.path}"]
    with pytest.raises(LockError) as caught:
        deb_pool.copy_packages(locked, selection.os_locks(locked), tmp_path / "kept")
    assert str(caught.value).startswith(
        "No source has these packages any more: pool/b/bash_1.deb.\nThe other 1 packages are in"
    )
    assert list(files(tmp_path / "kept")) == ["debian/pool/e/etcd_3.deb"]


def test_other_bytes_are_not_kept(locked: Catalogue, server: Server, tmp_path: Path) -> None:
    server.files[f"/debian/{BASH.path}"] = b"other bytes"
    with pytest.raises(DownloadError, match="is not the pinned file"):
        lock_update.keep_pool(locked, str(tmp_path / "kept"))
    assert "debian/pool/b/bash_1.deb" not in files(tmp_path / "kept")
