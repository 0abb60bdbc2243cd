"""OS packages on root images of registries: what their archive is, how they are locked, and who could not be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import CommandFailedError, DownloadError, LockError, UnreachableError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE, load_catalogue
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.facts.pins import PINS_FILE, load_pins
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.os import image_status, on_image, rpm
from dynamo_containers.lock.os.image_status import ImageQuery, InstalledPackages
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import apt, deb_origins
from tests import checkout_copy
from tests.unit.conftest import leave_locks_on_images

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from tests.unit.conftest import FakeApt

ARCHIVE = {Platform.AMD64: "http://archive.ubuntu.com/ubuntu", Platform.ARM64: "http://ports.ubuntu.com/ubuntu-ports"}
PACKAGES = {
    "python3": ("python3_3.12.3-0_{arch}.deb", "a" * 64),
    "g++": ("g++_13.2.0-7_{arch}.deb", "b" * 64),
    "libc6": ("libc6_2.39-1_{arch}.deb", "c" * 64),
}


@pytest.fixture
def own(own_checkout: Path) -> Catalogue:
    """Return a copy of this project's data: nothing on images of registries is locked."""
    for file in (own_checkout / "constraints").glob("os-cuda-*"):
        file.unlink()
    images = own_checkout / IMAGES_FILE
    images.write_text(checkout_copy.without_known_gaps(images.read_text(encoding="utf-8")), encoding="utf-8")
    return load_catalogue(own_checkout)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have no mirrors."""
    monkeypatch.setattr(mirrors, "configured", Mirrors)


@pytest.fixture
def readable(own: Catalogue, monkeypatch: pytest.MonkeyPatch, here: None) -> Path:  # noqa: ARG001 - see there
    """Let every image be read without an engine; return dpkg's status in them."""
    (own.folder / "installed").mkdir()
    status, keyring = own.folder / "installed/status", own.folder / "installed/keyring.gpg"
    status.touch()
    monkeypatch.setattr(image_status, "read", lambda *_: InstalledPackages(status=status, keyring=keyring))
    monkeypatch.setattr(rpm, "resolve", lambda _, locks, __: {lock.file: () for lock in locks})
    return status


def lock_of(catalogue: Catalogue, name: str = "runtime", platform: Platform = Platform.AMD64) -> OsLock:
    return os_lock.lock_of(catalogue.bases["cuda"], name, platform)


def uri(name: str, platform: Platform = Platform.AMD64) -> str:
    file, digest = PACKAGES[name]
    file = file.format(arch=platform.arch)
    return f"'{ARCHIVE[platform]}/pool/main/{file}' {file} 1000 SHA256:{digest}"


def on_images(catalogue: Catalogue, *platforms: str) -> tuple[OsLock, ...]:
    part = selection.LockSelection(bases=["cuda"], platforms=platforms)
    return tuple(lock for lock in part.os_locks(catalogue) if lock.image and not lock.repositories)


# What there is


def test_every_root_image_and_set_of_the_cuda_bases_has_a_lock_for_each_platform(own: Catalogue) -> None:
    assert sorted(lock.name for lock in on_images(own, "linux/arm64")) == ["compiler", "dev", "devel", "mpi", "runtime"]
    assert {lock.file for lock in on_images(own, "all") if lock.name == "devel"} == {
        "constraints/os-cuda-devel-amd64.txt",
        "constraints/os-cuda-devel-arm64.txt",
    }


@pytest.mark.parametrize("name", ["compiler", "dev"])
def test_the_cuda_bases_have_every_set_of_the_debian_ones_that_goes_on_a_runtime(own: Catalogue, name: str) -> None:
    debian, cuda = (own.bases[bases].packages[name].packages for bases in ("debian", "cuda"))
    assert cuda == debian  # whose names Ubuntu has kept


def test_the_image_and_its_packages_decide_the_lock(own: Catalogue) -> None:
    lock = lock_of(own)
    root = own.bases["cuda"].extended_roots["runtime"]
    for other in (
        replace(root, image="nvcr.io/nvidia/cuda:14"),
        replace(root, packages=("python3",)),
        replace(root, suite="next"),
    ):
        bases = replace(own.bases["cuda"], roots={**own.bases["cuda"].roots, "runtime": other})
        assert replace(lock, bases=bases).inputs != lock.inputs


# How apt is asked


@pytest.mark.parametrize("platform", list(Platform), ids=lambda platform: platform.arch)
def test_the_archive_is_read_as_the_platform_has_it_signed_by_the_keys_in_the_image(
    own: Catalogue, readable: Path, platform: Platform
) -> None:
    private = on_image.configured_apt(own.folder, lock_of(own, platform=platform), image_status.read(*[None] * 3))  # type: ignore[arg-type]
    text = next(file.text for file in apt.configuration(private) if file.path.name == "sources.list")
    head = f"deb [arch={platform.arch} signed-by={readable.with_name('keyring.gpg')}] {ARCHIVE[platform]}"
    assert text.splitlines() == [
        f"{head} {suite} main universe" for suite in ("noble", "noble-updates", "noble-security")
    ]
    settings = apt.configuration(private)[0].text.splitlines()
    assert f'Dir::State::status "{readable}";' in settings


def test_the_archive_is_asked_at_a_mirror_that_the_machine_has_for_it(
    own: Catalogue, readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Mirrors(addresses={"http://archive.ubuntu.com/": "https://mirror.example/"})
    monkeypatch.setattr(mirrors, "configured", lambda: table)
    installed = InstalledPackages(status=readable, keyring=readable)
    private = on_image.configured_apt(own.folder, lock_of(own), installed)
    assert private.mirrors == {"ubuntu": "https://mirror.example/ubuntu"}
    (package,) = apt.parse_uris(
        uri("python3").replace("http://archive.ubuntu.com", "https://mirror.example"), private.mirrors
    )
    assert (package.archive, package.path) == ("ubuntu", "pool/main/python3_3.12.3-0_amd64.deb")


def test_a_package_is_fetched_from_the_snapshot_of_its_lock_and_then_from_the_archive(own: Catalogue) -> None:
    bases = own.bases["cuda"]
    package = Package(
        name="g++",
        version="13",
        architecture="arm64",
        archive="ubuntu-ports",
        path="pool/g++_13_arm64.deb",
        size=1,
        sha256="b" * 64,
    )
    places = deb_origins.url_templates(bases.deb_sources, own.folder)
    assert [deb_origins.url(place, package, "20261124T180000Z", bases.archives) for place in places] == [
        "https://snapshot.ubuntu.com/ubuntu/20261124T180000Z/pool/g%2B%2B_13_arm64.deb",
        "http://ports.ubuntu.com/ubuntu-ports/pool/g%2B%2B_13_arm64.deb",
    ]


# How an image is read


def test_an_image_is_read_by_digest_for_the_platform_and_nothing_else_may_be(own: Catalogue, tmp_path: Path) -> None:
    image = "nvcr.io/nvidia/cuda@sha256:" + "d" * 64
    question = ImageQuery(image=image, target="os-installed", arguments={"KEYRING": "/keys.gpg"}, hint="Look")
    docker = Docker(environment={"A": "b"}, buildx=("buildx",))
    plan = image_status.query_plan(own.folder, lock_of(own, platform=Platform.ARM64), question, tmp_path, docker)
    document, policy = (json.loads(document.text) for document in plan.documents)
    target = document["target"]["default"]
    assert target["contexts"] == {"root": f"docker-image://{image}"}
    assert target["platforms"] == ["linux/arm64"]
    assert target["output"] == [f"type=local,dest={tmp_path}"]
    assert target["args"] == {"KEYRING": "/keys.gpg"}
    assert not target["no-cache"]
    assert [(rule["action"], rule["selector"]["identifier"]) for rule in policy["rules"]] == [
        ("DENY", "*"),
        ("ALLOW", "local://*"),
        ("ALLOW", f"docker-image://{image}"),
    ]
    (command,) = plan.commands
    assert command.env["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] == str(plan.documents[1].path)


# What is locked


@pytest.mark.usefixtures("readable")
def test_a_lock_has_what_the_image_lacks_and_a_set_what_the_lock_below_lacks(own: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(uri("python3"))
    fake_apt.would_install_for("libnuma1", uri("python3"), uri("libc6"), uri("g++"))
    locks = [lock_of(own), lock_of(own, "compiler")]
    moved, missing = on_image.update_locks(own.folder, locks, own.pins, staged=own.folder)
    assert missing == ()
    assert [(move.name, move.new, move.lock) for move in moved] == [
        ("python3", "3.12.3-0", "os-cuda-runtime-amd64"),
        ("g++", "13.2.0-7", "os-cuda-compiler-amd64"),
        ("libc6", "2.39-1", "os-cuda-compiler-amd64"),  # of the image's own: what g++ needs is newer
    ]
    for lock, names in zip(locks, (["python3"], ["g++", "libc6"]), strict=True):
        assert [package.name for package in os_lock.read(lock, own.folder)] == names
        assert os_lock.root_digest(lock, own.folder) == image_reference.digest(
            own.pins, lock.bases, "runtime", Platform.AMD64
        )
        os_conflicts.check_image(lock, own.folder, own.pins)


@pytest.mark.usefixtures("readable")
def test_locking_again_changes_no_byte_and_leaves_the_epoch(own: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(uri("python3"))
    selected = selection.select(["os"], bases=["cuda"], images=["frontend"], platforms=["linux/amd64"])
    pins = (own.folder / PINS_FILE).read_bytes()
    assert "python3" in lock_update.update(own, selected).text
    before = (own.folder / lock_of(own).file).read_bytes()
    assert lock_update.update(own, selected).text == "Nothing moved."
    assert (own.folder / lock_of(own).file).read_bytes() == before
    assert (own.folder / PINS_FILE).read_bytes() == pins


# Who could not be asked, and who is not believed


def refusing(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reading the image of a root fail."""
    read_image = image_status.read

    def read(folder: Path, lock: OsLock, pins: object) -> InstalledPackages:
        if lock.role == name:
            raise error
        return read_image(folder, lock, pins)  # type: ignore[arg-type]

    monkeypatch.setattr(image_status, "read", read)


@pytest.mark.usefixtures("readable")
def test_a_registry_out_of_reach_leaves_its_locks_and_the_others_are_made(
    own: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt.would_install(uri("python3"))
    refusing("runtime", UnreachableError("no such host"), monkeypatch)
    locks = (lock_of(own), lock_of(own, "dev"), lock_of(own, "devel"))
    moved, missing = on_image.update_locks(own.folder, locks, own.pins, staged=own.folder)
    assert {move.lock for move in moved} == {"os-cuda-devel-amd64"}
    image = "nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04, http://archive.ubuntu.com/ubuntu"
    assert [(row.name, row.address, row.reason, row.pinned) for row in missing] == [
        (f"constraints/os-cuda-{name}-amd64.txt", image, "no such host", "not locked") for name in ("runtime", "dev")
    ]
    assert [lock.name for lock in locks if (own.folder / lock.file).exists()] == ["devel"]


@pytest.mark.usefixtures("readable")
def test_an_image_that_is_not_pinned_is_said_and_what_to_run(own: Catalogue) -> None:
    pins = replace(own.pins, roots={})
    _, (row,) = on_image.update_locks(own.folder, [lock_of(own)], pins, staged=own.folder)
    assert row.reason.endswith("has no roots.cuda.runtime. Pin it with: invoke lock --only images --bases cuda")


def failing(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apt say something else than lists."""

    def update(_: apt.Apt) -> None:
        raise CommandFailedError(output)

    monkeypatch.setattr(apt, "update", update)


@pytest.mark.usefixtures("readable")
def test_an_archive_out_of_reach_is_named_with_the_reason_and_nothing_is_written(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_locks_on_images(own)
    before = {file.name: file.read_bytes() for file in (own.folder / "constraints").iterdir()}
    failing(
        "The command ended with exit code 100:\n    E: Failed to fetch http://x  Could not connect\n    E: more",
        monkeypatch,
    )
    moved, missing = on_image.update_locks(own.folder, on_images(own, "linux/arm64"), own.pins, staged=own.folder)
    assert moved == ()
    assert {row.pinned for row in missing} == {"as it was"}
    assert {row.reason for row in missing} == {
        "http://ports.ubuntu.com/ubuntu-ports: Failed to fetch http://x  Could not connect"
    }
    assert {file.name: file.read_bytes() for file in (own.folder / "constraints").iterdir()} == before


@pytest.mark.usefixtures("readable")
@pytest.mark.parametrize(
    "output",
    [
        "W: GPG error: http://x noble InRelease: the public key is not available: NO_PUBKEY 1",
        "E: The repository 'http://x noble InRelease' is not signed.",
    ],
)
def test_an_archive_that_the_image_does_not_trust_is_no_archive_out_of_reach(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    failing(output, monkeypatch)
    with pytest.raises(DownloadError) as caught:
        on_image.update_locks(own.folder, [lock_of(own)], own.pins, staged=own.folder)
    assert str(caught.value) == (
        "http://archive.ubuntu.com/ubuntu is not signed by the keys in nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04 "
        f"(/usr/share/keyrings/ubuntu-archive-keyring.gpg):\n{output}"
    )


def test_a_lock_of_another_image_than_the_pinned_one_is_stale(own: Catalogue) -> None:
    leave_locks_on_images(own)
    pins = own.folder / PINS_FILE
    digest = own.pins.roots["cuda", "runtime"].index
    pins.write_text(pins.read_text(encoding="utf-8").replace(digest, f"sha256:{'0' * 64}"), encoding="utf-8")
    lock = lock_of(own, "mpi", Platform.ARM64)
    with pytest.raises(LockError) as caught:
        os_conflicts.check_image(lock, own.folder, load_pins(own.folder))
    assert str(caught.value) == (
        f"{lock.file} is stale: it is based on nvcr.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04 with {digest}, but the "
        f"pin is sha256:{'0' * 64}.\nUpdate it with: invoke lock --only os --bases cuda"
    )
    result = lock_check.check(load_catalogue(own.folder), selection.select(["os"]))
    assert result.exit_code == 4
    assert "os-cuda-mpi-arm64.txt is stale" in result.text


def test_the_check_names_what_was_never_made_with_what_it_takes(own: Catalogue) -> None:
    result = lock_check.check(own, selection.select(["os"], bases=["cuda"], platforms=["linux/arm64"]))
    assert result.exit_code == 10
    rows = result.text.splitlines()[2:-1]
    assert [row.split()[0] for row in rows] == [
        f"constraints/os-cuda-{name}-arm64.txt"
        for name in ("compiler", "cxx", "dev", "devel", "mpi", "runtime", "rust")
    ]
    builder = "quay.io/pypa/manylinux_2_28_aarch64:2026.08.15-1, https://repo.almalinux.org/almalinux"
    for row in rows:
        ubuntu = "nvcr.io/nvidia/cuda:13.0.2-" in row and "http://ports.ubuntu.com/ubuntu-ports" in row
        assert builder in row if "-cxx-" in row or "-rust-" in row else ubuntu
