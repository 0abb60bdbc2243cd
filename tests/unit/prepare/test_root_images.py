"""Tests of root images: when one is reused, and when one is rejected."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import integrity
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.locks.os_lock import Drift, OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import oci_layout, root_images

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.prepare.oci_layout import RootImage
    from tests.unit.conftest import FakeApt, Server

EPOCH = 1700000000
BASH = Package(
    name="bash",
    version="5.2.15-2",
    architecture="all",
    archive="debian",
    path="pool/main/b/bash/bash_5.2.15-2_amd64.deb",
    size=4,
    sha256="b" * 64,
)
DRIFT = (Drift(name="bash", locked="5.2.15-2", used="5.2.15-3"),)


@pytest.fixture
def lock(catalogue: Catalogue) -> OsLock:
    """Return a lock that is written, with one package."""
    lock = OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)
    write_lock(lock, catalogue.folder, (BASH,))
    return lock


def leave_image(folder: Path, lock: OsLock, drift: tuple[Drift, ...] = ()) -> RootImage:
    """Leave the files of a bootstrap whose tree is the name of its lock."""
    store = oci_layout.layout(folder)
    store.mkdir(parents=True, exist_ok=True)
    (store / "root.tar").write_text(lock.file, encoding="utf-8")
    root = oci_layout.add(store, store / "root.tar", lock.platform, EPOCH, drift)
    record = root_images.record_path(folder, lock, (BASH,), EPOCH)
    record.write_text(json.dumps(asdict(root)), encoding="utf-8")
    integrity.seal(record, *root_images.files(store, record))
    return root


def test_a_root_image_without_a_record_is_not_cached(catalogue: Catalogue, lock: OsLock) -> None:
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) is None


def test_a_root_image_is_reused_with_its_drift(catalogue: Catalogue, lock: OsLock) -> None:
    image = leave_image(catalogue.folder, lock, DRIFT)
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) == image
    assert root_images.ensure(catalogue.folder, lock, (BASH,), EPOCH) == image


@pytest.mark.parametrize("change", ["epoch", "packages", "the row", "no manifest"])
def test_a_root_image_of_other_inputs_is_not_reused(catalogue: Catalogue, lock: OsLock, change: str) -> None:
    root = leave_image(catalogue.folder, lock)
    packages, epoch = (BASH,), EPOCH
    if change == "epoch":
        epoch += 1
    elif change == "packages":
        packages = (replace(BASH, sha256="0" * 64),)
    elif change == "the row":
        row = replace(lock.root, packages=("python3", "gcc"))
        lock = replace(lock, bases=replace(lock.bases, roots={"runtime": row}))
    else:
        oci_layout.blob_path(oci_layout.layout(catalogue.folder), root.digest).unlink()
    assert root_images.cached_root_image(catalogue.folder, lock, packages, epoch) is None


def test_several_root_images_are_returned_with_their_locks(catalogue: Catalogue, lock: OsLock) -> None:
    other = replace(lock, platform=Platform.ARM64)
    write_lock(other, catalogue.folder, (BASH,))
    images = {row.file: leave_image(catalogue.folder, row) for row in (lock, other)}
    roots = root_images.ensure_all(catalogue.folder, [(lock, (BASH,)), (other, (BASH,))], EPOCH)
    assert {root_lock.file: image for root_lock, image in roots} == images


def test_a_root_image_without_its_lock_is_rejected(catalogue: Catalogue) -> None:
    with pytest.raises(LockError, match=r"os-debian-builder-amd64\.txt is missing"):
        root_images.ensure_request(request_for(catalogue, Stage.BASE))


def test_strict_bases_reject_a_package_that_the_mirror_no_longer_has(
    catalogue: Catalogue, lock: OsLock, server: Server, fake_apt: FakeApt
) -> None:
    fake_apt.sources(f"{server.address}/debian")
    strict = replace(lock, bases=replace(lock.bases, strict=True))
    with pytest.raises(LockError) as caught:
        root_images.ensure(catalogue.folder, strict, (BASH,), EPOCH)
    assert str(caught.value) == (
        "The mirror no longer has packages of constraints/os-debian-runtime-amd64.txt: bash_5.2.15-2_amd64.deb.\n"
        "The debian bases are strict. Lock the current versions: invoke lock --only os"
    )


@pytest.mark.parametrize("file", [0, 1, 2], ids=["manifest", "configuration", "layer"])
def test_a_root_image_with_a_changed_file_is_not_reused(catalogue: Catalogue, lock: OsLock, file: int) -> None:
    root = leave_image(catalogue.folder, lock)
    path = oci_layout.image_files(oci_layout.layout(catalogue.folder), root.digest)[file]
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content.swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) is None


def test_a_copy_of_a_root_image_is_hashed_once_and_sealed(catalogue: Catalogue, lock: OsLock) -> None:
    root = leave_image(catalogue.folder, lock)
    record = root_images.record_path(catalogue.folder, lock, (BASH,), EPOCH)
    files = root_images.files(record.parent, record)
    for file in files:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    assert not integrity.is_sealed(record, *files)
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) == root
    assert not integrity.is_sealed(record, *files)  # to look writes nothing
    root_images.ensure_all(catalogue.folder, [(lock, (BASH,))], EPOCH)
    assert integrity.is_sealed(record, *files)


@pytest.mark.parametrize("seal", ["none", "broken"])
def test_a_record_of_drift_without_its_seal_is_not_believed(catalogue: Catalogue, lock: OsLock, seal: str) -> None:
    leave_image(catalogue.folder, lock, DRIFT)
    record = root_images.record_path(catalogue.folder, lock, (BASH,), EPOCH)
    if seal == "none":
        integrity.seal_path(record).unlink()
    else:
        record.write_bytes(record.read_bytes() + b" ")
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 1}', '{"digest": "sha256:1"}'])
def test_a_record_that_was_cut_short_is_no_root_image(catalogue: Catalogue, lock: OsLock, text: str) -> None:
    leave_image(catalogue.folder, lock)
    root_images.record_path(catalogue.folder, lock, (BASH,), EPOCH).write_text(text, encoding="utf-8")
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) is None
