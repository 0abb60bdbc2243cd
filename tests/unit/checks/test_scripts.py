"""No script is forgotten by the linters: those without an extension are in pyproject.toml."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

from checks import scripts

TOOLS: dict[str, Any] = tomllib.loads((scripts.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
OTHER_PYTHON = {"containers/os-resolved/resolve-rpms"}
"""Runs on CPython 3.6, whose syntax our linters' rules do not fit."""


def test_every_python_script_is_linted_and_its_types_are_checked() -> None:
    expected = set(scripts.python()) - OTHER_PYTHON
    assert set(TOOLS["ruff"]["extend-include"]) == expected
    assert {file for file in TOOLS["mypy"]["files"] if "." not in file and (scripts.ROOT / file).is_file()} == expected


def test_every_python_script_of_an_image_may_be_outside_a_package() -> None:
    (pattern,) = (name for name in TOOLS["ruff"]["lint"]["per-file-ignores"] if name.startswith("containers/*/{"))
    names = set(pattern.removeprefix("containers/*/{").removesuffix("}").split(","))
    assert names == {Path(file).name for file in scripts.python() if file not in OTHER_PYTHON} | {"judge.py"}


def test_shell_scripts_are_found_by_their_first_line_alone() -> None:
    names = scripts.shell()
    for script in ("with-tools", ".ci/run", "containers/bin/settle", "dynamo_containers/engine/init.sh"):
        assert script in names
    assert "tests/unit/bad/script.sh" not in names


def test_every_script_in_git_is_found() -> None:
    argv = ("git", "ls-files", "-z")
    listing = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=scripts.ROOT).stdout
    files = [file for file in listing.split("\0") if file and not file.startswith(scripts.MISTAKEN_ON_PURPOSE)]
    with_interpreter = {file for file in files if (scripts.ROOT / file).read_bytes().startswith(b"#!")}
    by_extension = {file for file in with_interpreter if file.endswith(".py")}
    assert with_interpreter - by_extension == {*scripts.shell(), *scripts.python()}
