"""Tests of state: it is the only module that spells a path below .build or .engine, and the reference has its list."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import state
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = ROOT / "dynamo_containers"
STATE = LIBRARY / "state.py"
PAGE = ROOT / "docs/reference/build-folder.md"
SPELLED = re.compile(r"(?<![\w.])\.(?:build|engine)(?![\w.])")
"""The name of one of the two folders, not `buildx.build.ref` or `.build_refs`."""
WRITTEN_BY = re.compile(r"(?P<contents>.+) \((?P<module>[\w/]+\.py)\)\.")
"""A docstring in state.py: what a file holds, and the module that writes it."""


def docstrings(tree: ast.Module) -> set[ast.Constant]:
    """Return the strings that stand alone: of modules, classes, functions, constants and fields."""
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def spelled(text: str) -> list[int]:
    """Return the lines on which a module spells one of the two folders, docstrings excepted."""
    tree = ast.parse(text)
    strings = {node for node in ast.walk(tree) if isinstance(node, ast.Constant)} - docstrings(tree)
    return sorted(node.lineno for node in strings if isinstance(node.value, str) and SPELLED.search(node.value))


def rows() -> Iterator[tuple[str, str]]:
    """Yield (path, docstring) of every constant and function of state.py that names a path."""
    body = ast.parse(STATE.read_text(encoding="utf-8")).body
    for node, successor in pairwise(body):
        match node, successor:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(docstring))):
                if (path := getattr(state, name)) != state.BUILD:
                    yield path, docstring
    document = Path(state.bake_document("NAME"))
    for name, function in inspect.getmembers(state, inspect.isfunction):
        parameters = inspect.signature(function).parameters
        if "checkout" not in parameters:
            arguments = {key: document if key == "document" else key.upper() for key in parameters}
            yield str(function(**arguments)), (function.__doc__ or name)


def table() -> list[str]:
    """Return the rows of the reference, as state.py has them."""
    lines = []
    for path, docstring in rows():
        parts = WRITTEN_BY.fullmatch(docstring)
        assert parts, f"{path}: {docstring}"
        contents = parts["contents"].removeprefix("Return the ")
        lines.append(f"| `{path}` | {contents[0].upper()}{contents[1:]} | `{parts['module']}` |")
    return sorted(lines)


def test_no_other_module_spells_a_path_below_build_or_engine() -> None:
    lines = {file: spelled(file.read_text(encoding="utf-8")) for file in sorted(LIBRARY.rglob("*.py")) if file != STATE}
    places = [f"{file.relative_to(ROOT)}:{line}" for file, numbers in lines.items() for line in numbers]
    assert places == [], "use a constant of dynamo_containers/state.py"


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ('folder / ".build" / "roots"', [1]),
        ('RESULTS = ".build/smoke"', [1]),
        ('f"Removing .engine of {name}"', [1]),
        ('"""What lies below .build."""', []),
        ('"buildx.build.ref"', []),
    ],
)
def test_a_spelled_path_is_seen(line: str, lines: list[int]) -> None:
    assert spelled(line) == lines


def test_the_reference_lists_every_path() -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    listed = [line for line in page if line.startswith("| `.")]
    assert listed == table(), "write these rows into the page:\n" + "\n".join(table())


def test_the_modules_that_write_the_paths_exist() -> None:
    modules = {parts["module"] for _, docstring in rows() if (parts := WRITTEN_BY.fullmatch(docstring))}
    assert len(modules) > 10
    assert [module for module in modules if not (LIBRARY / module).is_file()] == []
