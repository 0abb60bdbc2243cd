"""Tests of the inputs of a build: current locks, disk space, pinned root images, secrets."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts import image_inputs
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, Stage, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_lock import Drift, OsLock
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.plan import layer_split
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform, native_platform
from dynamo_containers.prepare import inputs, layer_pins, root_images
from dynamo_containers.prepare.oci_layout import RootImage

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request

PINNED = f"sha256:{'5' * 64}"
OTHER = f"sha256:{'0' * 64}"


def image_request(folder: Path, stage: Stage = Stage.RUNTIME, platform: str = "linux/amd64") -> Request:
    # One small image: the disk of the machine is not a subject of these tests.
    return request_for(load_catalogue(folder), stage, ImageSelection(images=["frontend"], platforms=[platform]))


@pytest.mark.parametrize(
    ("stage", "layers"),
    [
        pytest.param(Stage.BASE, ("builder", "base"), id="base"),
        pytest.param(Stage.RUNTIME, ("builder", "base", "frontend"), id="runtime"),
        pytest.param(Stage.CI, ("builder", "base", "frontend", "frontend-ci"), id="ci"),
    ],
)
def test_the_python_layers_of_a_stage(catalogue: Catalogue, stage: Stage, layers: tuple[str, ...]) -> None:
    assert image_inputs.python_layers(catalogue.images["frontend"], stage) == layers


def test_the_inputs_of_a_checkout_without_missing_files(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    request = request_for(catalogue, Stage.CI, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))
    built = inputs.build_inputs(request)
    assert built.revision == "unknown"
    assert built.drift == ()
    assert set(built.roots) == {("builder", native_platform()), ("runtime", native_platform())}
    assert set(built.locks) == {"frontend"}
    assert built.version.split(".")[0].isdigit()


def test_the_lock_label_moves_with_the_lock_of_any_platform(own_checkout: Path) -> None:
    before = inputs.build_inputs(image_request(own_checkout)).locks["frontend"]
    assert inputs.build_inputs(image_request(own_checkout)).locks["frontend"] == before
    lock = OsLock(bases=load_catalogue(own_checkout).bases["debian"], role="runtime", platform=Platform.ARM64)
    (first, *rest) = os_lock.read(lock, own_checkout)
    write_lock(lock, own_checkout, (replace(first, sha256="0" * 64), *rest))
    assert inputs.build_inputs(image_request(own_checkout)).locks["frontend"] != before


def test_a_stale_lock_is_rejected(own_checkout: Path) -> None:
    with (own_checkout / "requirements/base.in").open("a", encoding="utf-8") as file:
        file.write("one-more==1\n")
    with pytest.raises(LockError, match=r"^constraints/base-debian-amd64\.txt is stale: .*\nUpdate .*: invoke lock"):
        inputs.build_inputs(image_request(own_checkout))


@pytest.mark.parametrize(
    "file", ["constraints/base-debian-amd64.txt", "constraints/os-debian-runtime-amd64.txt", "containers/pins.toml"]
)
def test_a_missing_lock_is_rejected(own_checkout: Path, file: str) -> None:
    (own_checkout / file).unlink()
    with pytest.raises(LockError, match=f"{file} (is missing|does not exist).*\n.*invoke lock"):
        inputs.build_inputs(image_request(own_checkout))


@pytest.mark.parametrize("file", ["constraints/base-debian-arm64.txt", "constraints/os-debian-builder-arm64.txt"])
def test_a_missing_lock_of_another_platform_is_rejected(own_checkout: Path, file: str) -> None:
    (own_checkout / file).unlink()
    with pytest.raises(LockError, match=f"{file} (is missing|does not exist).*\n.*invoke lock"):
        inputs.build_inputs(image_request(own_checkout))


def test_a_version_package_that_no_lock_has_is_rejected(own_checkout: Path) -> None:
    images = own_checkout / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace('version-package = "ai-dynamo"', 'version-package = "ai-dinamo"')
    images.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="ai-dinamo"):
        inputs.build_inputs(image_request(own_checkout))


@pytest.fixture
def runtime(catalogue: Catalogue) -> OsLock:
    return OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)


def test_a_root_image_with_the_pinned_digest_did_not_drift(runtime: OsLock, catalogue: Catalogue) -> None:
    assert root_images.drift_from_pin(runtime, RootImage(digest=PINNED, size=1), catalogue.pins) == ()


def test_a_root_image_with_another_digest_is_drift(runtime: OsLock, catalogue: Catalogue) -> None:
    rows = root_images.drift_from_pin(runtime, RootImage(digest=OTHER, size=1), catalogue.pins)
    assert rows == (Drift(name="root-runtime-amd64", locked=PINNED, used=OTHER),)


def test_drift_of_packages_explains_another_digest(runtime: OsLock, catalogue: Catalogue) -> None:
    drift = (Drift(name="bash", locked="5.2-2", used="5.2-3"),)
    assert root_images.drift_from_pin(runtime, RootImage(digest=OTHER, size=1, drift=drift), catalogue.pins) == drift


def test_strict_bases_reject_a_root_image_with_another_digest(runtime: OsLock, catalogue: Catalogue) -> None:
    strict = replace(runtime, bases=replace(runtime.bases, strict=True))
    with pytest.raises(LockError) as caught:
        root_images.drift_from_pin(strict, RootImage(digest=OTHER, size=1), catalogue.pins)
    assert PINNED in str(caught.value)
    assert OTHER in str(caught.value)


def test_a_root_image_without_a_pin_is_rejected(runtime: OsLock, catalogue: Catalogue) -> None:
    with pytest.raises(LockError, match=r"containers/pins\.toml has no roots\.debian\.devel for linux/amd64"):
        root_images.drift_from_pin(replace(runtime, role="devel"), RootImage(digest=OTHER, size=1), catalogue.pins)


def test_a_no_op_imports_no_module_that_only_a_bootstrap_needs() -> None:
    script = "import sys; from dynamo_containers.prepare import inputs; print(*sys.modules)"
    loaded = process.capture(
        process.Command(argv=(sys.executable, "-c", script), env={"PYTHONPATH": str(ROOT)})
    ).split()
    assert "dynamo_containers.prepare.inputs" in loaded
    bootstrap_modules = {
        "dynamo_containers.upstream.download",
        "dynamo_containers.upstream.host_tools",
        "concurrent.futures",
        "urllib.request",
    }
    assert bootstrap_modules.isdisjoint(loaded)


def test_a_compiled_package_of_one_platform_needs_the_devel_root_image_of_every_platform(
    own_checkout: Path,
) -> None:
    both = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["sglang"], platforms=["all"])
    )
    single = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["sglang"], platforms=["linux/amd64"])
    )
    assert {lock.platform for lock in root_images.request_locks(both) if lock.role == "devel"} == set(both.platforms)
    assert not [lock for lock in root_images.request_locks(single) if lock.role == "devel"]


def test_two_builds_can_write_the_pins_of_one_lock_at_once(tmp_path: Path) -> None:
    split = layer_split.LayerSplit(layer="small", patterns={}, indexes={}, compiled={})
    texts = {Platform.AMD64: f"one==1 \\\n    --hash=sha256:{'0' * 64}\n"}
    first, second = (layer_pins.split(tmp_path, "debian", split, texts) for _ in range(2))
    assert not (tmp_path / ".build").exists()
    layer_pins.ensure(first)
    layer_pins.ensure(second)
    written = layer_pins.split(tmp_path, "debian", split, texts)
    assert [(layer.name, layer.unwritten) for layer in written] == [("rest", {}), ("compiled", {})]
    assert (written[0].folder / "amd64.txt").read_text(encoding="utf-8").startswith("one==1")


def test_pins_of_an_image_layer_that_were_changed_are_written_again(tmp_path: Path) -> None:
    split = layer_split.LayerSplit(layer="small", patterns={}, indexes={}, compiled={})
    texts = {Platform.AMD64: f"one==1 \\\n    --hash=sha256:{'0' * 64}\n"}
    layer_pins.ensure(layer_pins.split(tmp_path, "debian", split, texts))
    file = layer_pins.split(tmp_path, "debian", split, texts)[0].folder / "amd64.txt"
    pinned = file.read_text(encoding="utf-8")
    file.write_text(pinned.replace("one", "evil"), encoding="utf-8")
    layers = layer_pins.split(tmp_path, "debian", split, texts)
    assert layer_pins.read(layers[0], Platform.AMD64) == pinned
    layer_pins.ensure(layers)
    assert file.read_text(encoding="utf-8") == pinned


def test_a_binary_that_was_changed_is_not_an_existing_input(own_checkout: Path) -> None:
    request = image_request(own_checkout)
    offline = inputs.offline_inputs((request,))[0]
    assert inputs.existing_inputs(request, offline) is not None
    planted = offline.inputs.binaries / "amd64/usr/bin/nats-server"
    planted.parent.mkdir(parents=True)
    planted.touch()
    assert inputs.existing_inputs(request, offline) is None
