"""If two packages have the same path, the file of the last one by name stays, in any order of installation."""

from __future__ import annotations

import subprocess
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.inspect.in_container import contents as contents_inside

if TYPE_CHECKING:
    from pathlib import Path

SITE = "lib/python3.11/site-packages"


def recorded(content: str) -> str:
    return f"sha256={urlsafe_b64encode(sha256(content.encode()).digest()).decode().rstrip('=')}"


def install(venv: Path, package: str, path: str, content: str) -> None:
    """Write a package of one file, as an installer does."""
    site = venv / SITE
    (site / f"{package}-1.0.dist-info").mkdir(parents=True, exist_ok=True)
    (site / path).parent.mkdir(parents=True, exist_ok=True)
    (site / path).write_text(content, encoding="utf-8")
    line = f"{path},{recorded(content)},{len(content)}\n"
    with (site / f"{package}-1.0.dist-info/RECORD").open("a", encoding="utf-8") as record:
        record.write(line)


def clashes(venv: Path) -> tuple[list[str], str]:
    """Return the packages to install again, and the messages."""
    argv = (sys.executable, str(ROOT / "containers/bin/clashes"), str(venv))
    finished = subprocess.run(argv, check=True, capture_output=True, text=True)
    return finished.stdout.split(), finished.stderr


def test_nothing_is_installed_again_where_the_last_one_s_file_is_there(tmp_path: Path) -> None:
    install(tmp_path, "flashinfer_python", "build_backend.py", "one")
    install(tmp_path, "torch_c_dlpack_ext", "build_backend.py", "another")
    again, messages = clashes(tmp_path)
    assert again == []
    assert messages == "build_backend.py: of flashinfer-python, torch-c-dlpack-ext; the last one's stays\n"


def test_where_another_one_was_unpacked_last_all_of_them_are_installed_again_by_name(tmp_path: Path) -> None:
    install(tmp_path, "torch_c_dlpack_ext", "build_backend.py", "another")
    install(tmp_path, "flashinfer_python", "build_backend.py", "one")
    assert clashes(tmp_path)[0] == ["flashinfer-python", "torch-c-dlpack-ext"]


def test_the_same_content_of_two_packages_is_no_clash(tmp_path: Path) -> None:
    install(tmp_path, "nvidia_b", "nvidia/__init__.py", "")
    install(tmp_path, "nvidia_a", "nvidia/__init__.py", "")
    assert clashes(tmp_path) == ([], "")


@pytest.mark.parametrize("order", [("a_one", "b_two"), ("b_two", "a_one")])
def test_such_a_file_counts_for_the_package_whose_it_is(tmp_path: Path, order: tuple[str, str]) -> None:
    for package in order:
        install(tmp_path, package, "build_backend.py", "x" * 100)
    contents = contents_inside.contents(str(tmp_path))
    assert {name: size for name, size in contents.items() if name.startswith("python")} == {"python b-two": 100}
