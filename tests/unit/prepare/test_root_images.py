"""Tests of root images: when one is reused, and when one is rejected."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.os_lock import Drift, OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import oci_layout, root_images
from dynamo_containers.prepare.oci_layout import RootImage

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
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
AMD = f"sha256:{'a' * 64}"
ARM = f"sha256:{'c' * 64}"


@pytest.fixture
def lock(catalogue: Catalogue) -> OsLock:
    """Return a lock that is written, with one package."""
    lock = OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)
    write_lock(lock, catalogue.folder, (BASH,))
    return lock


def leave_root_image(folder: Path, lock: OsLock, digest: str) -> RootImage:
    """Write the files of a bootstrap: the manifest in the layout, and the record beside it."""
    blob = oci_layout.layout(folder) / "blobs/sha256" / digest.removeprefix("sha256:")
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.touch()
    drift = Drift(name="bash", locked="5.2.15-2", used="5.2.15-3")
    record = {"digest": digest, "size": 7, "drift": [{"name": "bash", "locked": "5.2.15-2", "used": "5.2.15-3"}]}
    root_images.record_path(folder, lock, (BASH,), EPOCH).write_text(json.dumps(record), encoding="utf-8")
    return RootImage(digest=digest, size=7, drift=(drift,))


def test_a_root_image_without_a_record_is_not_cached(catalogue: Catalogue, lock: OsLock) -> None:
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) is None


def test_a_root_image_is_reused_with_its_drift(catalogue: Catalogue, lock: OsLock) -> None:
    image = leave_root_image(catalogue.folder, lock, AMD)
    assert root_images.cached_root_image(catalogue.folder, lock, (BASH,), EPOCH) == image
    assert root_images.ensure(catalogue.folder, lock, EPOCH) == image


@pytest.mark.parametrize("change", ["epoch", "packages", "the row", "no manifest"])
def test_a_root_image_of_other_inputs_is_not_reused(catalogue: Catalogue, lock: OsLock, change: str) -> None:
    leave_root_image(catalogue.folder, lock, AMD)
    packages, epoch = (BASH,), EPOCH
    if change == "epoch":
        epoch += 1
    elif change == "packages":
        packages = (replace(BASH, sha256="0" * 64),)
    elif change == "the row":
        row = replace(lock.root, packages=("python3", "gcc"))
        lock = replace(lock, bases=replace(lock.bases, roots={"runtime": row}))
    else:
        (oci_layout.layout(catalogue.folder) / "blobs/sha256" / ("a" * 64)).unlink()
    assert root_images.cached_root_image(catalogue.folder, lock, packages, epoch) is None


def test_several_root_images_are_returned_with_their_locks(catalogue: Catalogue, lock: OsLock) -> None:
    other = replace(lock, platform=Platform.ARM64)
    write_lock(other, catalogue.folder, (BASH,))
    images = {
        lock.file: leave_root_image(catalogue.folder, lock, AMD),
        other.file: leave_root_image(catalogue.folder, other, ARM),
    }
    roots = root_images.ensure_all(catalogue.folder, [lock, other], EPOCH)
    assert {root_lock.file: image for root_lock, image in roots} == images


def test_a_root_image_without_its_lock_is_rejected(catalogue: Catalogue, lock: OsLock) -> None:
    with pytest.raises(LockError, match=r"os-debian-builder-amd64\.txt is missing"):
        root_images.ensure(catalogue.folder, replace(lock, role="builder"), EPOCH)


def test_strict_bases_reject_a_package_that_the_mirror_no_longer_has(
    catalogue: Catalogue, lock: OsLock, server: Server, fake_apt: FakeApt
) -> None:
    fake_apt.sources(f"{server.address}/debian")
    strict = replace(lock, bases=replace(lock.bases, strict=True))
    with pytest.raises(LockError) as caught:
        root_images.ensure(catalogue.folder, strict, EPOCH)
    assert str(caught.value) == (
        "The mirror no longer has packages of constraints/os-debian-runtime-amd64.txt: bash_5.2.15-2_amd64.deb.\n"
        "The debian bases are strict. Lock the current versions: invoke lock --only os"
    )
