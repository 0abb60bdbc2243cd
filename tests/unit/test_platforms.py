"""Platforms: the names of the command line, and this machine's own."""

from __future__ import annotations

import platform as machine

import pytest

from dynamo_containers.errors import UnsupportedHostError, UsageError
from dynamo_containers.platforms import Platform, native_platform, parse_platforms


@pytest.mark.parametrize(
    ("names", "platforms"),
    [
        pytest.param(["linux/arm64"], (Platform.ARM64,), id="one"),
        pytest.param(["linux/arm64", "linux/amd64"], (Platform.AMD64, Platform.ARM64), id="both, in a fixed order"),
        pytest.param(["linux/arm64", "linux/arm64"], (Platform.ARM64,), id="one twice"),
        pytest.param(["all"], (Platform.AMD64, Platform.ARM64), id="all"),
        pytest.param(["all", "linux/arm64"], (Platform.AMD64, Platform.ARM64), id="all and one"),
    ],
)
def test_names_of_platforms(names: list[str], platforms: tuple[Platform, ...]) -> None:
    assert parse_platforms(names) == platforms


@pytest.mark.parametrize(
    ("name", "native"),
    [pytest.param("x86_64", Platform.AMD64, id="amd64"), pytest.param("aarch64", Platform.ARM64, id="arm64")],
)
def test_without_a_name_it_is_the_platform_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, name: str, native: Platform
) -> None:
    monkeypatch.setattr(machine, "machine", lambda: name)
    assert parse_platforms([]) == (native,)


@pytest.mark.parametrize(
    ("names", "unknown", "similar"),
    [
        pytest.param(["linux/arm46"], "linux/arm46", "linux/arm64", id="mistyped"),
        pytest.param(["all", "linux/arm46"], "linux/arm46", "linux/arm64", id="mistyped, beside all"),
        pytest.param(["arm64"], "arm64", "linux/arm64", id="the architecture alone"),
        pytest.param(["amd64"], "amd64", "linux/amd64", id="the other architecture alone"),
    ],
)
def test_an_unknown_platform_names_the_valid_ones_and_the_closest(names: list[str], unknown: str, similar: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_platforms(names)
    assert str(caught.value) == (
        f'unknown platform "{unknown}" (choose from: linux/amd64, linux/arm64, all)\nDid you mean {similar}?'
    )


def test_a_platform_that_images_are_not_built_for_is_no_mistyped_one() -> None:
    with pytest.raises(UsageError) as caught:
        parse_platforms(["linux/arm64"], [Platform.AMD64], images="small, frontend")
    assert str(caught.value) == "small, frontend cannot be built for linux/arm64 (choose from: linux/amd64, all)"


def test_a_machine_of_another_kind_is_told_what_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "machine", lambda: "riscv64")
    with pytest.raises(UnsupportedHostError, match=r"riscv64.*linux/amd64, linux/arm64"):
        native_platform()
