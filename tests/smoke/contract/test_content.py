"""Installed packages: exactly the locked ones, complete, compiled, and nothing that only the build needs."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks import os_lock
from tests.smoke.any.test_layers import FOREIGN
from tests.smoke.containers import MOUNTED, SCRIPTS
from tests.smoke.libraries import fits, unexplained
from tests.smoke.locks import locked_environment, pip_complaints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.platforms import Platform
    from tests.smoke.containers import Engine
    from tests.smoke.layers import SavedImage

OPENING_SECONDS = 900
"""Time limit for opening every library of an image: an engine has more than a thousand, and torch is loaded first."""
OF_THE_DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")
"""Libraries of the driver of the host, which a container gets together with a GPU; never part of an image."""
OF_HARDWARE = (
    *("libibmad.so.*", "libibumad.so.*", "libibverbs.so.*", "libmlx5.so.*", "librdmacm.so.*", "libefa.so.*"),
    *("libfabric.so.*", "libhwloc.so.*", "libdoca_*.so.*", "libmpi.so.*", "liboshmem.so.*", "libpmix.so.*"),
    *("libucp.so.0", "libucs.so.0"),  # of a UCX beside NIXL's own, which has other names: NVSHMEM's plugin for it
    *("libred_*.so*", "libaws-*.so", "libazure-*.so.*", "libgdsdl*.so*"),
)
"""Libraries that plugins of NIXL, UCX and NVSHMEM need for a vendor's network or storage. Plugins that cannot be loaded
are skipped; owners of the hardware add its libraries."""
OPTIONAL = ("libav*.so.*", "libsw*.so.*", "libheif.so.*", "libtbb.so.*")
"""Libraries of plugins of torchcodec (FFmpeg, HEIF) and numba (TBB); plugins that cannot be loaded are skipped."""
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
COMPILERS = ("usr/bin/*", "usr/lib/*")
"""Folders with the compilers of a set of OS packages."""
OF_PACKAGES = "opt/dynamo/venv/lib/*/site-packages/*/*"
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


def test_pip_finds_nothing_missing_or_in_conflict(probe: Mapping[str, Any], catalogue: Catalogue) -> None:
    assert pip_complaints(probe["pip_check"], catalogue) == []


def test_the_os_packages_equal_their_lock(
    probe: Mapping[str, Any], labels: Mapping[str, str], row: Image, bases: Bases, platform: Platform
) -> None:
    root = os_lock.OsLock(bases=bases, role="runtime", platform=platform)
    locks = (root, *(os_lock.lock_of(bases, name, platform) for name in row.os_packages))
    locked = {package.name: package.version for lock in locks for package in os_lock.read(lock, ROOT)}
    # The label names the replacements of packages that the mirror no longer has; '' for none.
    drift = dict(replacement.split("=", 1) for replacement in labels.get("ai.dynamo.drift", "").split())
    expected = locked | {name: version for name, version in drift.items() if name not in bases.programs}
    installed = {name: version for name, version in expected.items() if version}
    if root.image:  # the packages of a registry's image itself are in no lock
        assert installed.items() <= probe["packages"].items()
    else:
        assert probe["packages"] == installed


def test_dynamo_can_be_imported(probe: Mapping[str, Any]) -> None:
    assert probe["imports"]["code"] == 0, probe["imports"]["output"]


def test_every_library_finds_what_it_needs(probe: Mapping[str, Any], layers: SavedImage, row: Image) -> None:
    answer = probe["missing_libraries"]
    assert answer["checked"] > 100
    # A library of another package is loaded when that package is imported (torch, CUDA, NIXL).
    present = {PurePosixPath(path).name for path in layers.files}
    elsewhere = _elsewhere(row)
    missing = {
        file: [name for name in names if not (row.backend and name in present) and not fits(name, elsewhere)]
        for file, names in answer["missing"].items()
    }
    assert {file: names for file, names in missing.items() if names} == {}
    assert [file for file in answer["refused"] if not fits(file.lstrip("/"), FOREIGN)] == []


def test_every_extension_module_can_be_opened_with_all_its_symbols(engine: Engine, image: str, row: Image) -> None:
    command = ("python", "-B", f"{MOUNTED}/open_libraries.py")
    options = ("--network", "none", *SCRIPTS)
    output = engine.run(image, command, name="open-libraries", options=options, seconds=OPENING_SECONDS)
    answer = json.loads(output.splitlines()[-1])
    assert answer["opened"] > (100 if row.backend else 10)
    lines = unexplained(answer["failed"], _elsewhere(row), row.unloadable_libraries)
    remedy = f"Mend them, or add rows `path pattern = reason` to [images.{row.name}.unloadable-libraries]:"
    assert not lines, "\n".join([f"{len(lines)} of {answer['opened']} libraries cannot be opened. {remedy}", *lines])


def _elsewhere(row: Image) -> tuple[str, ...]:
    """Return patterns of the libraries that an image may lack."""
    return (*OF_THE_DRIVER, *row.missing_libraries, *((*OF_HARDWARE, *OPTIONAL) if row.backend else ()))


def test_what_is_started_is_compiled_and_stays_so(probe: Mapping[str, Any]) -> None:
    assert probe["byte_code"]["code"] == 0, probe["byte_code"]["output"]
    answer = json.loads(probe["byte_code"]["output"])
    assert answer["modules"] > 100
    assert answer["bad"] == {}


def test_there_is_no_compiler_and_no_installer_but_what_the_row_needs(layers: SavedImage, row: Image) -> None:
    folders = {"bin", "sbin", "libexec"}
    allowed = (*COMPILERS, *row.allow_build_tools) if row.os_packages else tuple(row.allow_build_tools)
    programs = [path for path in layers.named(*BUILD_PROGRAMS) if PurePosixPath(path).parent.name in folders]
    assert [path for path in programs if not fits(path, allowed)] == []


def test_nothing_that_only_the_build_needed_is_left(layers: SavedImage) -> None:
    # Files of a wheel are data of its package, whatever their names are.
    assert [path for path in layers.named(*LEFT_OVERS) if not fits(path, [OF_PACKAGES])] == []
