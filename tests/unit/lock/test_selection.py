"""Options of `invoke lock`, and the locks that they select."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.locks.kinds import LockKind, parse_kinds
from dynamo_containers.lock import selection
from dynamo_containers.lock.selection import LockSelection
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        pytest.param([], tuple(LockKind), id="no name selects all"),
        pytest.param(["python", "os"], (LockKind.OS, LockKind.PYTHON), id="in the order of the update"),
        pytest.param(["os", "os"], (LockKind.OS,), id="a name twice"),
    ],
)
def test_names_select_kinds_of_locks(names: list[str], kinds: tuple[LockKind, ...]) -> None:
    assert parse_kinds(names) == kinds


def test_an_unknown_kind_names_the_valid_ones() -> None:
    with pytest.raises(UsageError) as caught:
        selection.select(["os", "pyhton"])
    assert str(caught.value) == (
        'unknown kind of lock "pyhton" (choose from: archives, os, images, python, contents)\nDid you mean python?'
    )


def test_there_is_a_lock_of_os_packages_for_every_root_image_and_platform(catalogue: Catalogue) -> None:
    assert [lock.file for lock in selection.os_locks(catalogue)] == [
        "constraints/os-debian-builder-amd64.txt",
        "constraints/os-debian-builder-arm64.txt",
        "constraints/os-debian-runtime-amd64.txt",
        "constraints/os-debian-runtime-arm64.txt",
    ]


def test_a_kind_that_is_not_selected_has_no_locks(catalogue: Catalogue) -> None:
    assert LockSelection(kinds=(LockKind.IMAGES,)).os_locks(catalogue) == ()
    assert LockSelection(kinds=(LockKind.IMAGES,)).python_locks(catalogue) == ()


def test_bases_are_locked_for_the_platforms_of_their_images_or_for_all_without_images(catalogue: Catalogue) -> None:
    small = replace(catalogue, images={"small": catalogue.images["small"]})
    assert selection.locked_platforms(catalogue, "debian") == (Platform.AMD64, Platform.ARM64)
    assert selection.locked_platforms(small, "debian") == (Platform.AMD64,)
    assert selection.locked_platforms(replace(catalogue, images={}), "debian") == (Platform.AMD64, Platform.ARM64)


@pytest.fixture
def two_bases(catalogue: Catalogue) -> Catalogue:
    """Return the small catalogue with a second set of bases."""
    return replace(catalogue, bases={**catalogue.bases, "other": replace(catalogue.bases["debian"], name="other")})


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        pytest.param({}, ["debian amd64", "debian arm64", "other amd64", "other arm64"], id="all"),
        pytest.param({"bases": ["other"]}, ["other amd64", "other arm64"], id="bases"),
        pytest.param({"platforms": ["linux/arm64"]}, ["debian arm64", "other arm64"], id="platform"),
        pytest.param({"images": ["small"]}, ["debian amd64"], id="image"),
        pytest.param({"images": ["small", "base"]}, ["debian amd64", "debian arm64"], id="images"),
        pytest.param({"images": ["base"], "platforms": ["all"]}, ["debian amd64", "debian arm64"], id="both"),
    ],
)
def test_options_select_bases_and_platforms(
    two_bases: Catalogue, options: dict[str, list[str]], targets: list[str]
) -> None:
    selected = selection.select(**options)
    assert sorted(f"{bases.name} {platform.arch}" for bases, platform in selected.targets(two_bases)) == targets


@pytest.mark.parametrize(
    "options",
    [{"images": ["small"], "platforms": ["linux/arm64"]}, {"images": ["small"], "bases": ["other"]}],
    ids=["another platform", "other bases"],
)
def test_options_that_no_image_has_together_are_refused(two_bases: Catalogue, options: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match="so there is nothing to lock"):
        selection.select(**options).targets(two_bases)
