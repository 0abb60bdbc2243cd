"""Wheels built from source are accepted once each, and the files of NIXL's wheel are checked."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NIXL = (
    ".nixl_cu13.mesonpy.libs/libnixl.so",
    ".nixl_cu13.mesonpy.libs/plugins/libplugin_UCX.so",
    "nixl_cu13.libs/libucp-0a1b2c3d.so.0.0.0",
    "nixl_cu13.libs/ucx/libucm_cuda.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_cma.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_cuda.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib_efa.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_ib_mlx5.so.0.0.0",
    "nixl_cu13.libs/ucx/libuct_rdmacm.so.0.0.0",
)
RUNTIME = "ai_dynamo_runtime-1.4.2-cp310-abi3-manylinux_2_28_x86_64.whl"


def wheel(path: Path, *files: str) -> Path:
    """Write a wheel with these files, none of which is a library that auditwheel reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        for file in files or ("module.py",):
            archive.writestr(file, "text")
    return path


def script(name: str, *arguments: str | Path) -> tuple[int, str]:
    (path,) = ROOT.glob(f"containers/*/{name}")
    argv = (sys.executable, str(path), *map(str, arguments))
    finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    return finished.returncode, finished.stderr


def check_wheels(folder: Path, cuda: str = "13", form: tuple[str | Path, ...] = ("--piece", "nixl")) -> tuple[int, str]:
    return script("check-wheels", folder, "--arch", "amd64", "--oldest-glibc", "2.35", "--cuda", cuda, *form)


def nixl(folder: Path, *files: str) -> Path:
    return wheel(folder / "nixl_cu13-1.3.2-cp311-cp311-manylinux_2_28_x86_64.whl", *files)


def test_nixl_with_its_ucx_and_plugins_is_right(tmp_path: Path) -> None:
    nixl(tmp_path, *NIXL)
    assert check_wheels(tmp_path) == (0, "")


@pytest.mark.parametrize("lost", NIXL)
def test_nixl_without_one_of_them_is_refused(tmp_path: Path, lost: str) -> None:
    nixl(tmp_path, *(file for file in NIXL if file != lost))
    code, complaint = check_wheels(tmp_path)
    assert code == 1
    assert "nixl_cu13-1.3.2" in complaint
    assert "has no" in complaint


def test_nixl_whose_ucx_has_no_module_for_cuda_is_refused_with_what_is_lost(tmp_path: Path) -> None:
    nixl(tmp_path, *(file for file in NIXL if "cuda" not in file))
    code, complaint = check_wheels(tmp_path)
    assert code == 1
    assert "has no nixl_cu13.libs/ucx/libuct_cuda.so*: memory of GPUs: it is copied through the host\n" in complaint
    assert "has no nixl_cu13.libs/ucx/libucm_cuda.so*: " in complaint


@pytest.mark.parametrize("form", ["--piece", "--judged"], ids=["fetched", "compiled here"])
def test_a_module_that_is_an_empty_file_is_none(tmp_path: Path, form: str) -> None:
    path = nixl(tmp_path, *(file for file in NIXL if "libuct_cuda" not in file))
    with ZipFile(path, "a") as archive:
        archive.writestr("nixl_cu13.libs/ucx/libuct_cuda.so.0.0.0", "")
    code, complaint = check_wheels(tmp_path, form=(form, tmp_path / "manifest.d"))
    assert (code, complaint.count("has no")) == (1, 1)


def test_the_modules_that_a_wheel_needs_have_a_reason_and_are_those_of_both_architectures() -> None:
    rows = tomllib.loads((ROOT / "containers/fetched/nixl-modules.toml").read_text(encoding="utf-8"))["modules"]
    assert [row for row in rows if not row["lost"]] == []
    assert {name for row in rows for name in row} <= {"file", "lost", "architectures"}
    assert [
        row["file"] for row in rows if not any(fnmatchcase(file, row["file"].format(cuda=13)) for file in NIXL)
    ] == []


def test_nixl_of_another_cuda_major_than_the_bases_is_refused(tmp_path: Path) -> None:
    nixl(tmp_path, *NIXL)
    code, complaint = check_wheels(tmp_path, "12")
    assert code == 1
    assert "is for CUDA 13, but the bases are for CUDA 12" in complaint


def test_a_piece_leaves_its_manifest_and_no_pins(tmp_path: Path) -> None:
    wheel(tmp_path / RUNTIME)
    assert check_wheels(tmp_path, form=("--piece", "runtime")) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [RUNTIME, "manifest.d"]
    (row,) = json.loads((tmp_path / "manifest.d/runtime.json").read_text(encoding="utf-8"))["wheels"]
    assert row["name"] == "ai-dynamo-runtime"


def test_the_last_manifest_and_the_pins_have_what_was_judged_in_pieces_and_what_was_built(tmp_path: Path) -> None:
    wheel(tmp_path / "piece" / RUNTIME)
    assert check_wheels(tmp_path / "piece") == (0, "")
    wheel(tmp_path / "built/ai_dynamo-1.4.2-py3-none-any.whl")
    assert check_wheels(tmp_path / "built", form=("--judged", tmp_path / "piece/manifest.d")) == (0, "")
    rows = json.loads((tmp_path / "built/manifest.json").read_text(encoding="utf-8"))["wheels"]
    assert [row["name"] for row in rows] == ["ai-dynamo", "ai-dynamo-runtime"]
    pins = (tmp_path / "built/locked.txt").read_text(encoding="utf-8")
    assert pins == "".join(f"{row['name']}==1.4.2 --hash=sha256:{row['sha256']}\n" for row in rows)


def test_built_wheels_are_taken_into_the_wheelhouse(tmp_path: Path) -> None:
    wheel(tmp_path / "built/dynamo-rust" / RUNTIME)
    assert script("take-built", tmp_path / "built", tmp_path / "wheelhouse", "ai-dynamo-runtime") == (0, "")
    assert [path.name for path in (tmp_path / "wheelhouse").iterdir()] == [RUNTIME]


@pytest.mark.parametrize(
    ("wheels", "message"),
    [
        ((), "ai-dynamo-runtime was requested, but no wheel of it was built"),
        ((f"a/{RUNTIME}", f"b/{RUNTIME}"), "ai-dynamo-runtime was built twice"),
        ((f"a/{RUNTIME}", "a/other-1-py3-none-any.whl"), "other was built, but was not requested"),
    ],
)
def test_a_package_that_is_missing_there_twice_or_unasked_is_refused(
    tmp_path: Path, wheels: tuple[str, ...], message: str
) -> None:
    for path in wheels:
        wheel(tmp_path / "built" / path)
    code, stderr = script("take-built", tmp_path / "built", tmp_path / "wheelhouse", "ai-dynamo-runtime")
    assert code == 1
    assert message in stderr
