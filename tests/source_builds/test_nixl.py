"""NIXL and UCX from checkouts: layout of the wheel, loaded modules, and what a change rebuilds. Takes minutes."""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import filter as matching
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.catalogue import Stage
from tests.source_builds.conftest import SourceBuild, build_log, docker, executed_steps, fresh_number, git, tag_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.plan.request import Request

    Folders = dict[str, Path]

WHEELHOUSE = "/opt/dynamo/wheelhouse"
LAYOUT = (
    ".nixl_cu13.mesonpy.libs/libnixl.so",
    ".nixl_cu13.mesonpy.libs/plugins/libplugin_GPUNETIO.so",
    ".nixl_cu13.mesonpy.libs/plugins/libplugin_UCX.so",
    "nixl_cu13.libs/libibverbs-*.so.*",
    "nixl_cu13.libs/libucm-*.so.0.0.0",
    "nixl_cu13.libs/libucp-*.so.0.0.0",
    "nixl_cu13.libs/libucs-*.so.0.0.0",
    "nixl_cu13.libs/libuct-*.so.0.0.0",
    "nixl_cu13.libs/ucx/libucm_cuda.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_cma.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_cuda.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib_efa.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib_mlx5.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_rdmacm.so.0.0.0",
    "nixl_cu13/_bindings.cpython-*.so",
)
"""The same paths as in the wheel on the index."""
SAY = "import sys; sys.path.insert(0, '/opt/dynamo/nixl'); from nixl_cu13 import _bindings; print(_bindings.say('UCX'))"


@pytest.fixture(scope="module")
def folders(repositories: Callable[[str], Path]) -> Folders:
    return {name: repositories(name) for name in ("nixl", "ucx", "dynamo")}


def source_build(folders: Folders, *names: str, stage: Stage = Stage.RUNTIME, image: str = "frontend") -> SourceBuild:
    return SourceBuild(stage=stage, image=image, sources={name: str(folders[name]) for name in names})


def test_the_wheel_has_the_libraries_plugins_and_modules_where_upstream_s_has_them(folders: Folders) -> None:
    build_log(source_build(folders, "nixl", "ucx", stage=Stage.BASE, image="base"))
    listing = f"python3 -m zipfile --list {WHEELHOUSE}/nixl_cu13*.whl"
    files = [line.split()[0] for line in docker("run", "--rm", tag_of("base"), "sh", "-c", listing).splitlines()]
    assert [pattern for pattern in LAYOUT if not matching(files, pattern)] == []
    assert (
        len(matching(files, "nixl_cu13.libs/ucx/*.so*")) == 7
    )  # each module once: a second file would be a second module
    assert matching(files, "*libcuda*") == []


def test_the_wheelhouse_has_nixl_s_wheels_and_the_rest_as_locked(folders: Folders) -> None:
    build_log(source_build(folders, "nixl", "ucx", stage=Stage.BASE, image="base"))
    manifest = json.loads(docker("run", "--rm", tag_of("base"), "cat", f"{WHEELHOUSE}/manifest.json"))
    assert [wheel["name"] for wheel in manifest["wheels"]] == ["ai-dynamo", "ai-dynamo-runtime", "nixl", "nixl-cu13"]
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", tag_of("base")))
    assert {name: state for name, state in labels.items() if name.startswith("ai.dynamo.source.")} == {
        f"ai.dynamo.source.{name}": git(folders[name], "rev-parse", "HEAD") for name in ("nixl", "ucx")
    }


def test_in_the_frontend_nixl_finds_its_plugin_and_ucx_its_modules_each_once(folders: Folders) -> None:
    build_log(source_build(folders, "nixl", "ucx"))
    assert docker("run", "--rm", tag_of("frontend"), "python", "-c", SAY) == "ib mlx5"


def test_a_line_of_nixl_builds_neither_ucx_nor_dynamo_again(folders: Folders) -> None:
    build_log(source_build(folders, "dynamo", "nixl", "ucx"))
    code = folders["nixl"] / "src/plugins/ucx/ucx_plugin.cpp"
    with code.open("a", encoding="utf-8") as text:
        text.write(f'extern "C" int nixl_plugin_number()\n{{\n    return {fresh_number()};\n}}\n')
    log = build_log(source_build(folders, "dynamo", "nixl", "ucx"))
    assert executed_steps(log) == {"nixl compiled", "nixl packed", "nixl unpacked"}
    assert docker("run", "--rm", tag_of("frontend"), "python", "-c", SAY) == "ib mlx5"


def test_a_line_of_dynamo_builds_neither_nixl_nor_ucx_again(folders: Folders) -> None:
    build_log(source_build(folders, "dynamo", "nixl", "ucx"))
    module = folders["dynamo"] / "components/src/dynamo/frontend/word.py"
    module.write_text(f'WORD = "{fresh_number()}"\n', encoding="utf-8")
    assert executed_steps(build_log(source_build(folders, "dynamo", "nixl", "ucx"))) == {"python"}


def test_a_line_of_nixl_s_documents_builds_nothing_again(folders: Folders) -> None:
    build_log(source_build(folders, "nixl", "ucx"))
    (folders["nixl"] / "docs").mkdir(exist_ok=True)
    (folders["nixl"] / "docs/new.md").write_text(f"{fresh_number()}\n", encoding="utf-8")
    assert executed_steps(build_log(source_build(folders, "nixl", "ucx"))) == set()


def test_a_wheel_that_needs_a_newer_glibc_than_is_promised_is_refused(folders: Folders) -> None:
    code = folders["nixl"] / "src/core/nixl.cpp"
    before = code.read_text(encoding="utf-8")
    # arc4random came with glibc 2.36, which the builder has.
    new = before.replace("Dl_info self;", "Dl_info self;\n    if (arc4random() == 0)\n        return plugin;", 1)
    code.write_text(new.replace("#include <dlfcn.h>", "#include <cstdlib>\n#include <dlfcn.h>"), encoding="utf-8")
    try:
        with pytest.raises(CommandFailedError) as caught:
            build_log(source_build(folders, "nixl", "ucx", stage=Stage.BASE, image="base"))
    finally:
        code.write_text(before, encoding="utf-8")
    assert "needs glibc 2.36; the base stage promises 2.35 and newer" in str(caught.value)


def test_a_compiler_for_another_cuda_major_than_the_bases_is_refused_before_it_compiles(folders: Folders) -> None:
    def for_cuda_12(request: Request) -> Request:
        return replace(request, bases=replace(request.bases, cuda="12"))

    with pytest.raises(CommandFailedError) as caught:
        build_log(source_build(folders, "nixl", "ucx", stage=Stage.BASE, image="base"), for_cuda_12)
    assert "NIXL would be compiled for CUDA 13, and the bases are for CUDA 12" in str(caught.value)
