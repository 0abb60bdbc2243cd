"""Tests of drift: a locked version that never existed, in a whole build on strict and other bases."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from shutil import rmtree, which
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PINS_FILE, PackagePin, Pins, load_pins, render
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildInputs, request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs, oci_layout
from tests.unit import planned

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.plan.request import Request
    from tests.unit.conftest import FakeApt, Server

pytestmark = pytest.mark.skipif(which("dpkg-deb") is None, reason="NOT RUN: no dpkg-deb on this machine")

NEVER = "99:0-never"
LOST = Package(
    name="bash",
    version=NEVER,
    architecture="all",
    archive="debian",
    path="pool/bash_0-never_all.deb",
    size=4,
    sha256="b" * 64,
)
LOST_PIN = PackagePin(version=NEVER, archive="debian", path="pool/etcd-server_0-never_all.deb", size=5, sha256="e" * 64)


@pytest.fixture
def checkout_(own_checkout: Path, server: Server, fake_apt: FakeApt, bash: bytes, etcd: bytes) -> Path:
    """Return this project's own data with one program, beside a mirror that has the current bash and etcd."""
    images = own_checkout / IMAGES_FILE
    others = r"\[bases\.debian\.programs\.(nats-server|etcdctl)\][^\[]*"
    images.write_text(re.sub(others, "", images.read_text(encoding="utf-8")), encoding="utf-8")
    fake_apt.sources(f"{server.address}/debian")
    fake_apt.has_mmdebstrap()
    server.files |= {"/debian/pool/bash_5.2-3_all.deb": bash, "/debian/pool/etcd-server_3.5.16-4_all.deb": etcd}
    fake_apt.would_install(
        *(
            f"'{server.address}/debian/pool/{file}' {file} {len(content)} SHA256:{hashlib.sha256(content).hexdigest()}"
            for file, content in {"bash_5.2-3_all.deb": bash, "etcd-server_3.5.16-4_all.deb": etcd}.items()
        )
    )
    pins = load_pins(own_checkout)
    etcd_pin = PackagePin(
        version="3.5.16-4",
        archive="debian",
        path="pool/etcd-server_3.5.16-4_all.deb",
        size=len(etcd),
        sha256=hashlib.sha256(etcd).hexdigest(),
    )
    pin_etcd(own_checkout, replace(pins, programs={}), etcd_pin)
    return own_checkout


def pin_etcd(folder: Path, pins: Pins, pin: PackagePin) -> None:
    moved = replace(pins, programs={("debian", "etcd", platform): pin for platform in Platform})
    process.write(process.Document(path=folder / PINS_FILE, text=render(moved)))


def lose_a_package(folder: Path) -> None:
    """Let the lock of the runtime's root image name a version that never existed."""
    bases = load_catalogue(folder).bases["debian"]
    write_lock(os_lock.OsLock(bases=bases, role="runtime", platform=Platform.AMD64), folder, (LOST,))


def lose_a_binary(folder: Path) -> None:
    """Let the pin of etcd name a version that never existed."""
    pin_etcd(folder, load_pins(folder), LOST_PIN)


def make_strict(folder: Path) -> None:
    images = folder / IMAGES_FILE
    images.write_text(images.read_text(encoding="utf-8").replace("strict = false", "strict = true"), encoding="utf-8")


def image_request(folder: Path, stage: Stage = Stage.RUNTIME) -> Request:
    return request_for(load_catalogue(folder), stage, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))


def drift_label(request: Request, facts: BuildInputs) -> object:
    (labels,) = [
        target["labels"] for target in planned.document(request, facts)["target"].values() if "labels" in target
    ]
    return labels.get("ai.dynamo.drift", "")


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in (folder / ".build").rglob("*")}


@pytest.fixture(autouse=True)
def _native_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def test_without_drift_nothing_is_printed_or_labelled(checkout_: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = image_request(checkout_)
    built = inputs.build_inputs(request)
    assert built.drift == ()
    assert drift_label(request, built) == ""
    assert "DRIFTED" not in capsys.readouterr().err


def test_the_debian_bases_use_the_current_package_and_label_the_image(
    checkout_: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_a_package(checkout_)
    request = image_request(checkout_)
    built = inputs.build_inputs(request)
    assert built.drift == ("bash=5.2-3", "etcd-server=3.5.16-4")  # the stand-in for apt would install both
    assert drift_label(request, built) == "bash=5.2-3 etcd-server=3.5.16-4"
    table = capsys.readouterr().err.partition("DRIFTED: ")[2].splitlines()
    assert table[1:3] == [f"  bash         {NEVER} -> 5.2-3", "  etcd-server  (none) -> 3.5.16-4"]
    assert table[3] == "The image is labelled ai.dynamo.drift. Lock the current versions: invoke lock"


def test_the_current_package_is_installed(checkout_: Path) -> None:
    lose_a_package(checkout_)
    inputs.build_inputs(image_request(checkout_))
    trees = [path.read_text(encoding="utf-8") for path in oci_layout.layout(checkout_).glob("blobs/sha256/*")]
    (tree,) = [text for text in trees if text.startswith("Package: ")]
    assert "Package: bash\nVersion: 5.2-3\n" in tree
    assert NEVER not in tree


def test_every_build_reports_the_drift_that_it_uses(
    checkout_: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_a_package(checkout_)
    first = inputs.build_inputs(image_request(checkout_))
    count = len(server.requests)
    capsys.readouterr()
    assert inputs.build_inputs(image_request(checkout_)) == first
    assert "DRIFTED" in capsys.readouterr().err
    assert len(server.requests) == count


def test_a_strict_build_rejects_the_drift_of_an_earlier_build(
    checkout_: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_a_package(checkout_)
    request = image_request(checkout_)
    inputs.build_inputs(request)
    capsys.readouterr()
    with pytest.raises(LockError, match=r"^A strict build uses locked versions only\.\n.*invoke lock"):
        inputs.build_inputs(replace(request, bases=replace(request.bases, strict=True)))
    assert re.search(rf"bash +{NEVER} -> 5\.2-3", capsys.readouterr().err)


def test_the_debian_bases_use_the_current_binary_and_label_the_image(
    checkout_: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_a_binary(checkout_)
    request = image_request(checkout_)
    built = inputs.build_inputs(request)
    assert built.drift == ("etcd-server=3.5.16-4",)
    assert drift_label(request, built) == "etcd-server=3.5.16-4"
    assert f"  etcd-server  {NEVER} -> 3.5.16-4\n" in capsys.readouterr().err
    assert os.access(built.binaries / "amd64/usr/local/bin/etcd", os.X_OK)


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        pytest.param(
            lose_a_package,
            "The mirror no longer has packages of constraints/os-debian-runtime-amd64.txt: bash_0-never_all.deb.\n"
            "The debian bases are strict. Lock the current versions: invoke lock --only os",
            id="package",
        ),
        pytest.param(
            lose_a_binary,
            "The mirror no longer has pool/etcd-server_0-never_all.deb.\n"
            "The debian bases are strict. Pin the current version: invoke lock --only archives",
            id="binary",
        ),
    ],
)
def test_strict_bases_reject_drift_and_leave_no_incomplete_file(checkout_: Path, lose: object, message: str) -> None:
    assert callable(lose)
    lose(checkout_)
    make_strict(checkout_)
    before = files(checkout_)
    with pytest.raises(LockError) as caught:
        inputs.build_inputs(image_request(checkout_))
    assert (str(caught.value), caught.value.exit_code) == (message, 4)
    new = {path for path in files(checkout_) - before if not (checkout_ / path).is_dir()}
    # The index of the existing root images and the pins of image layers are complete files.
    new = {path for path in new if "pieces" not in path.parts}
    assert all(path.match(".build/roots/*") or path.match("blobs/sha256/*") for path in new)
    assert not [path for path in new if "bootstrap-" in str(path) or "programs" in path.parts]


def test_the_error_names_a_package_that_the_mirror_lists_but_lacks(checkout_: Path, server: Server) -> None:
    lose_a_package(checkout_)
    del server.files["/debian/pool/bash_5.2-3_all.deb"]
    with pytest.raises(
        DownloadError, match=r"^The mirror lists packages that it does not have: bash_5\.2-3_all\.deb\."
    ):
        inputs.build_inputs(image_request(checkout_))


def test_downloads_of_a_rejected_build_are_complete(checkout_: Path) -> None:
    lose_a_package(checkout_)
    make_strict(checkout_)
    rmtree(checkout_ / ".build/downloads", ignore_errors=True)
    with pytest.raises(LockError):
        inputs.build_inputs(image_request(checkout_))
    downloads = [path for path in (checkout_ / ".build").glob("downloads/**/*") if path.is_file()]
    assert [path.name for path in downloads] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in downloads]
