"""Versions that every platform of an image states: locks of platforms that differ are named, and refused together."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.facts.locks import platform_versions, python_lock
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock.check import LockCheck, LockState
from dynamo_containers.lock.selection import select
from dynamo_containers.plan import bake
from dynamo_containers.plan.labels import labels
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.plan.request import BuildInputs, Request

AMD64, ARM64 = "constraints/base-debian-amd64.txt", "constraints/base-debian-arm64.txt"
DIFFER = (
    f"The platforms of the debian bases differ: ai-dynamo is 1.4.2 in {AMD64} and 1.4.3 in {ARM64}.\n"
    "An image has one version of these for all its platforms, in its tag and labels too. Name one version in "
    "requirements/base.in (such as ai-dynamo==1.4.3), and run: invoke lock --only python\n"
    "Until then build each platform by itself: --platform linux/amd64"
)


def move_on_arm64(folder: Path, old: str, new: str) -> None:
    """Move a package in every Python lock of debian for arm64, as `invoke lock --platform linux/arm64` would."""
    for lock in python_lock.locks(load_catalogue(folder)):
        if lock.target.bases == "debian" and lock.target.platform is Platform.ARM64:
            file = folder / lock.path
            moved = file.read_text(encoding="utf-8").replace(old, new)
            file.write_text(moved, encoding="utf-8")
            inputs_line = f"# inputs: {python_lock.digest(lock, python_lock.read_texts(lock, folder))}"
            file.write_text(re.sub("# inputs: .*", inputs_line, moved), encoding="utf-8")


def base_request(folder: Path, *platforms: str) -> Request:
    return request_for(load_catalogue(folder), Stage.BASE, ImageSelection(platforms=platforms))


def planned(folder: Path, *platforms: str) -> tuple[Request, BuildInputs]:
    request = base_request(folder, *platforms)
    return request, inputs.offline_build_inputs(request)


@pytest.mark.parametrize(("platform", "version"), [("linux/amd64", "1.4.2"), ("linux/arm64", "1.4.3")])
def test_tag_and_label_have_the_version_that_is_locked_for_the_platform(
    own_checkout: Path, platform: str, version: str
) -> None:
    move_on_arm64(own_checkout, "ai-dynamo==1.4.2", "ai-dynamo==1.4.3")
    request, built = planned(own_checkout, platform)
    (image,) = bake.bake_graph(BuildPart(request, built)).images
    assert image.tag == f"dynamo-base:{version}-debian-{request.platforms[0].arch}"
    assert labels(request, built, image.image)["org.opencontainers.image.version"] == version


@pytest.mark.parametrize("stage", [Stage.BASE, Stage.RUNTIME])
def test_platforms_of_two_versions_are_not_planned_as_one_image(own_checkout: Path, stage: Stage) -> None:
    move_on_arm64(own_checkout, "ai-dynamo==1.4.2", "ai-dynamo==1.4.3")
    images = [] if stage is Stage.BASE else ["frontend"]
    request = request_for(load_catalogue(own_checkout), stage, ImageSelection(images=images, platforms=["all"]))
    with pytest.raises(LockError) as caught:
        inputs.offline_build_inputs(request)
    assert str(caught.value) == DIFFER


def test_platforms_with_two_versions_of_nixl_are_not_planned_as_one_image(own_checkout: Path) -> None:
    move_on_arm64(own_checkout, "nixl-cu13==1.3.2", "nixl-cu13==1.3.3")
    with pytest.raises(LockError, match=r"nixl-cu13 is 1\.3\.2 in \S+ and 1\.3\.3 in "):
        planned(own_checkout, "all")


def test_the_check_names_the_locks_of_platforms_that_differ(own_checkout: Path) -> None:
    move_on_arm64(own_checkout, "ai-dynamo==1.4.2", "ai-dynamo==1.4.3")
    result = lock_check.check(load_catalogue(own_checkout), select(["python"], bases=["debian"]))
    assert result.exit_code == 4
    assert DIFFER in result.text
    assert isinstance(result.data, LockCheck)
    states = {lock.name: lock.state for lock in result.data.locks}
    assert (states[AMD64], states[ARM64]) == (LockState.STALE, LockState.STALE)


def test_a_package_that_only_one_platform_has_is_no_difference(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    locks = [lock for lock in python_lock.locks(catalogue) if lock.layer.named_only]
    texts = {lock.path: (own_checkout / lock.path).read_text(encoding="utf-8") for lock in locks}
    assert platform_versions.differences(locks, texts) == ()
    more = {**texts, ARM64: texts[ARM64] + f"only-here==1 \\\n    --hash=sha256:{'0' * 64}\n"}
    assert platform_versions.differences(locks, more) == ()
    others = [replace(lock, target=replace(lock.target, bases="other")) for lock in locks if lock.path == ARM64]
    moved = {**texts, ARM64: texts[ARM64].replace("==1.4.2", "==1.4.3")}
    assert platform_versions.differences([*others, *(lock for lock in locks if lock.path == AMD64)], moved) == ()
