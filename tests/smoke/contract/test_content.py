"""What is installed: exactly what the locks say, whole, ready to start, and nothing that only the build needed."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dynamo_containers import os_lock
from dynamo_containers.model import ROOT
from tests.smoke.locks import locked_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.bases import Bases
    from dynamo_containers.model import Image
    from dynamo_containers.platforms import Platform
    from tests.smoke.layers import Saved

OF_THE_DRIVER = {"libcuda.so.1", "libnvidia-ml.so.1"}
"""They come with the host's driver when a container gets a GPU, and are never part of an image."""
BUILD_PROGRAMS = (
    *("as", "c++", "cc", "clang*", "cmake", "cpp", "cpp-*", "g++*", "gcc*", "ld", "ld.bfd", "ld.gold", "ld.lld"),
    *(
        "*-gcc*",
        "*-g++*",
        "cargo",
        "make",
        "ninja",
        "nvcc",
        "rustc",
        "apt",
        "apt-get",
        "auditwheel",
        "patchelf",
        "pip",
        "pip[0-9]*",
        "uv",
        "uvx",
    ),
)
LEFT_OVERS = (
    *("*.whl", "*.deb", "*.tar.gz", "*.egg-info"),
    *("root/.cache", "home/dynamo/.cache", "opt/dynamo/wheelhouse", "opt/dynamo/tools"),
    *("var/lib/apt/lists/*_*", "var/cache/apt/*.bin", "tmp/*", "var/tmp/*", "var/log/*"),
    *("opt/dynamo/venv/lib/*/site-packages/pip", "opt/dynamo/venv/lib/*/site-packages/uv"),
)


def test_the_python_environment_equals_its_lock(
    probe: Mapping[str, Any], row: Image, bases: Bases, platform: Platform
) -> None:
    installed = [(name, version) for name, version in probe["distributions"]]
    assert installed == sorted(locked_environment(ROOT, row.name, bases.name, platform.arch))


def test_pip_finds_nothing_missing_or_in_conflict(probe: Mapping[str, Any]) -> None:
    assert (probe["pip_check"]["code"], probe["pip_check"]["output"]) == (0, "No broken requirements found.\n")


def test_the_os_packages_equal_their_lock(
    probe: Mapping[str, Any], labels: Mapping[str, str], bases: Bases, platform: Platform
) -> None:
    lock = os_lock.OsLock(bases=bases, role="runtime", platform=platform)
    locked = {package.name: package.version for package in os_lock.read(lock, ROOT)}
    # What the mirror no longer has was replaced, and the label says by what; '' for nothing.
    drift = dict(word.split("=", 1) for word in labels.get("ai.dynamo.drift", "").split())
    expected = locked | {name: version for name, version in drift.items() if name not in bases.programs}
    assert probe["packages"] == {name: version for name, version in expected.items() if version}


def test_dynamo_can_be_imported(probe: Mapping[str, Any]) -> None:
    assert probe["imports"]["code"] == 0, probe["imports"]["output"]


def test_every_library_finds_what_it_needs(probe: Mapping[str, Any]) -> None:
    answer = probe["missing_libraries"]
    assert answer["asked"] > 100
    missing = {file: sorted({*names} - OF_THE_DRIVER) for file, names in answer["missing"].items()}
    assert {file: names for file, names in missing.items() if names} == {}
    assert answer["refused"] == {}


def test_what_is_started_is_compiled_and_stays_so(probe: Mapping[str, Any]) -> None:
    assert probe["byte_code"]["code"] == 0, probe["byte_code"]["output"]
    answer = json.loads(probe["byte_code"]["output"])
    assert answer["modules"] > 100
    assert answer["bad"] == {}


def test_there_is_no_compiler_and_no_installer(layers: Saved) -> None:
    folders = {"bin", "sbin", "libexec"}
    found = [path for path in layers.named(*BUILD_PROGRAMS) if PurePosixPath(path).parent.name in folders]
    assert found == []


def test_nothing_that_only_the_build_needed_is_left(layers: Saved) -> None:
    assert layers.named(*LEFT_OVERS) == []
