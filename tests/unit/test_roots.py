"""Root images: the documents of the OCI layout, the call of mmdebstrap, and when nothing is made anew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import os_lock, roots
from dynamo_containers.apt import Package
from dynamo_containers.errors import LockError
from dynamo_containers.model import Platform
from dynamo_containers.os_lock import Drift, OsLock
from dynamo_containers.roots import RootImage

if TYPE_CHECKING:
    from dynamo_containers.model import Catalogue
    from tests.unit.conftest import FakeApt, Server

EPOCH = 1700000000
BASH = Package(
    name="bash",
    version="5.2.15-2",
    architecture="amd64",
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
    os_lock.write(lock, catalogue.folder, (BASH,))
    return lock


def made(folder: Path, lock: OsLock, digest: str) -> RootImage:
    """Leave what a bootstrap leaves: the manifest in the layout and the record beside it."""
    blob = roots.layout(folder) / "blobs/sha256" / digest.removeprefix("sha256:")
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.touch()
    drift = Drift(name="bash", locked="5.2.15-2", used="5.2.15-3")
    record = {"digest": digest, "size": 7, "drift": [{"name": "bash", "locked": "5.2.15-2", "used": "5.2.15-3"}]}
    roots._record(folder, lock, (BASH,), EPOCH).write_text(json.dumps(record), encoding="utf-8")
    return RootImage(digest=digest, size=7, drift=(drift,))


def test_a_root_image_that_was_never_made_is_not_cached(catalogue: Catalogue, lock: OsLock) -> None:
    assert roots.cached(catalogue.folder, lock, (BASH,), EPOCH) is None


def test_a_root_image_is_made_once_and_its_drift_is_remembered(catalogue: Catalogue, lock: OsLock) -> None:
    image = made(catalogue.folder, lock, AMD)
    assert roots.cached(catalogue.folder, lock, (BASH,), EPOCH) == image
    assert roots.ensure(catalogue.folder, lock, EPOCH) == image


@pytest.mark.parametrize("change", ["epoch", "packages", "the row", "no manifest"])
def test_a_root_image_of_anything_else_is_not_taken(catalogue: Catalogue, lock: OsLock, change: str) -> None:
    made(catalogue.folder, lock, AMD)
    packages, epoch = (BASH,), EPOCH
    if change == "epoch":
        epoch += 1
    elif change == "packages":
        packages = (replace(BASH, sha256="0" * 64),)
    elif change == "the row":
        row = replace(lock.root, packages=("python3", "gcc"))
        lock = replace(lock, bases=replace(lock.bases, roots={"runtime": row}))
    else:
        (roots.layout(catalogue.folder) / "blobs/sha256" / ("a" * 64)).unlink()
    assert roots.cached(catalogue.folder, lock, packages, epoch) is None


def test_several_root_images_come_back_with_their_locks(catalogue: Catalogue, lock: OsLock) -> None:
    other = replace(lock, platform=Platform.ARM64)
    os_lock.write(other, catalogue.folder, (BASH,))
    images = {lock.file: made(catalogue.folder, lock, AMD), other.file: made(catalogue.folder, other, ARM)}
    found = roots.ensure_all(catalogue.folder, [lock, other], EPOCH)
    assert {each.file: image for each, image in found} == images


def test_without_its_lock_a_root_image_is_refused(catalogue: Catalogue, lock: OsLock) -> None:
    with pytest.raises(LockError, match=r"os-debian-builder-amd64\.txt is missing"):
        roots.ensure(catalogue.folder, replace(lock, role="builder"), EPOCH)


def test_strict_bases_refuse_what_the_mirror_dropped(
    catalogue: Catalogue, lock: OsLock, server: Server, fake_apt: FakeApt
) -> None:
    fake_apt.sources(f"{server.address}/debian")
    strict = replace(lock, bases=replace(lock.bases, strict=True))
    with pytest.raises(LockError) as caught:
        roots.ensure(catalogue.folder, strict, EPOCH)
    assert str(caught.value) == (
        "The mirror no longer has what constraints/os-debian-runtime-amd64.txt asks for: bash_5.2.15-2_amd64.deb.\n"
        "The debian bases are strict. Lock the current versions: invoke lock --only os"
    )


def test_the_configuration_of_an_image_is_dated_by_the_epoch() -> None:
    assert roots.config_of(AMD, Platform.ARM64, EPOCH) == {
        "architecture": "arm64",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": "2023-11-14T22:13:20Z",
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "mmdebstrap --variant=essential"}],
        "os": "linux",
        "rootfs": {"diff_ids": [AMD], "type": "layers"},
    }


def test_the_manifest_has_one_layer() -> None:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": ARM, "size": 20}
    assert roots.manifest_of({"digest": AMD, "size": 10}, layer) == {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": AMD, "size": 10},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": ARM, "size": 20}],
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
    }


def test_the_index_is_the_same_in_whatever_order_the_platforms_were_made() -> None:
    images = {Platform.ARM64: RootImage(digest=ARM, size=8), Platform.AMD64: RootImage(digest=AMD, size=7)}
    manifest = "application/vnd.oci.image.manifest.v1+json"
    assert roots.index_of(images) == {
        "manifests": [
            {"digest": AMD, "mediaType": manifest, "platform": {"architecture": "amd64", "os": "linux"}, "size": 7},
            {"digest": ARM, "mediaType": manifest, "platform": {"architecture": "arm64", "os": "linux"}, "size": 8},
        ],
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "schemaVersion": 2,
    }


def test_an_index_is_written_once_into_a_layout_that_others_are_in(tmp_path: Path) -> None:
    both = {Platform.AMD64: RootImage(digest=AMD, size=7), Platform.ARM64: RootImage(digest=ARM, size=8)}
    first = roots.write_index(tmp_path, {Platform.AMD64: RootImage(digest=AMD, size=7)})
    second = roots.write_index(tmp_path, both)
    assert roots.write_index(tmp_path, both) == second != first
    store = tmp_path / ".build/roots"
    assert json.loads((store / "oci-layout").read_text(encoding="utf-8")) == {"imageLayoutVersion": "1.0.0"}
    listed = json.loads((store / "index.json").read_text(encoding="utf-8"))["manifests"]
    assert [each["digest"] for each in listed] == [first, second]
    blob = store / "blobs/sha256" / second.removeprefix("sha256:")
    assert listed[1]["size"] == blob.stat().st_size
    assert json.loads(blob.read_text(encoding="utf-8")) == roots.index_of(both)


def test_the_release_file_names_the_suite_and_what_it_lists(lock: OsLock) -> None:
    assert roots.release(lock, "Package: bash\n") == (
        "Origin: Debian\n"
        "Label: Debian\n"
        "Suite: bookworm\n"
        "Codename: bookworm\n"
        "Architectures: amd64\n"
        "SHA256:\n"
        " ff90cfaf656f455caa6bdf76f440c0d7044ac9cfbceb99350583e768f779ce7c 14 Packages\n"
    )


@pytest.mark.parametrize(
    ("as_root", "head"), [pytest.param(True, ["unshare", "--mount"], id="root"), pytest.param(False, [], id="a user")]
)
def test_the_call_of_mmdebstrap(lock: OsLock, as_root: bool, head: list[str]) -> None:  # noqa: FBT001 - a row
    foreign = replace(lock, role="builder", platform=Platform.ARM64)
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    command = roots.bootstrap_command(
        foreign, Path("/s/repository"), Path("/s/root.tar"), environment, Path("/hooks"), as_root=as_root
    )
    assert list(command.argv) == [
        *head,
        "mmdebstrap",
        "--variant=essential",
        "--architectures=arm64",
        "--include=python3,python3-venv",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--skip=check/qemu",
        "--hook-dir=/hooks/merged-usr",
        *(f"--customize-hook={hook}" for hook in roots.CLEAN_UP),
        "bookworm",
        "/s/root.tar",
        "deb [trusted=yes] copy:/s/repository ./",
    ]
    assert command.env == {"SOURCE_DATE_EPOCH": "1700000000"}
    assert command.quiet
