"""Scripts of this checkout, found by their first line (`#!/bin/sh`), so that no linter forgets a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "benchmarks", "containers", "dynamo_containers", "examples", "tests")
SHELLS = ("sh", "bash", "dash")
MISTAKEN_ON_PURPOSE = "tests/unit/bad"
"""Input of the linters' own tests."""


def shell() -> list[str]:
    """Return the shell scripts, relative to the checkout."""
    return [path for path, interpreter in _scripts() if interpreter in SHELLS]


def python() -> list[str]:
    """Return the Python scripts without an extension, which no linter finds by itself."""
    return [path for path, name in _scripts() if "python" in name and not Path(path).suffix]


def _scripts() -> Iterator[tuple[str, str]]:
    """Yield path and interpreter of every file with a `#!` line."""
    top_level = (path for path in ROOT.iterdir() if path.is_file())
    nested = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    for path in sorted((*top_level, *nested)):
        name = path.relative_to(ROOT).as_posix()
        with path.open("rb") as file:
            line = file.readline(100)
        if line.startswith(b"#!") and not name.startswith(MISTAKEN_ON_PURPOSE):
            arguments = line[2:].decode().split()
            yield name, Path(arguments[1] if arguments[0].endswith("/env") else arguments[0]).name
