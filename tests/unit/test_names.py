"""Names of variables, parameters and fields are nouns of the field; pronouns and participles are counted down."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from checks import scripts
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRONOUN_LIKE = frozenset(
    [
        "all",
        "anything",
        "asked",
        "behind",
        "below",
        "beside",
        "besides",
        "done",
        "each",
        "every",
        "everything",
        "found",
        "given",
        "had",
        "has",
        "how",
        "it",
        "its",
        "kept",
        "known",
        "left",
        "made",
        "nobody",
        "nothing",
        "one",
        "ours",
        "said",
        "so",
        "some",
        "such",
        "taken",
        "that",
        "theirs",
        "them",
        "there",
        "these",
        "they",
        "this",
        "those",
        "thus",
        "told",
        "wanted",
        "was",
        "what",
        "where",
        "which",
        "who",
        "whole",
        "whose",
        "why",
        "wish",
        "word",
        "words",
    ]
)
"""Names that say nothing of what they hold: `for platform in platforms`, not `for each in found`."""
MOST = {"dynamo_containers": 0.01, "benchmarks": 0.01, "checks": 0.01, "containers": 0.01, "tests": 0.01}
"""Folder -> the highest share of such names among the names that its code binds; it only goes down."""


def bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of every variable, parameter and field that a module binds."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name) if name not in ("self", "cls"):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno


def files(folder: str) -> list[Path]:
    """Return the Python files of a folder, also scripts without an extension."""
    top_level = [ROOT / "tasks.py", ROOT / "noxfile.py"] if folder == "dynamo_containers" else []
    without_extension = [ROOT / path for path in scripts.python() if path.startswith(f"{folder}/")]
    return [*sorted((ROOT / folder).rglob("*.py")), *top_level, *without_extension]


def pronoun_like(file: Path) -> tuple[list[tuple[str, int]], int]:
    """Return the (name, line) that say nothing, and how many names a file binds."""
    names = list(bound_names(ast.parse(file.read_bytes())))
    return [(name, line) for name, line in names if name.lstrip("_").lower() in PRONOUN_LIKE], len(names)


@pytest.mark.parametrize("folder", MOST)
def test_few_names_are_pronouns_or_participles(folder: str) -> None:
    counted = {file: pronoun_like(file) for file in files(folder)}
    share = sum(len(vague) for vague, _ in counted.values()) / sum(total for _, total in counted.values())
    places = [f"{file.relative_to(ROOT)}:{line} {name}" for file, (vague, _) in counted.items() for name, line in vague]
    assert share <= MOST[folder], "\n".join(places)


def test_a_class_name_has_one_meaning() -> None:
    names: dict[str, list[str]] = {}
    for file in files("dynamo_containers"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: places for name, places in names.items() if len(places) > 1} == {}
