"""Every command that a page shows exists: its task or session, and each of its flags."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import nox.registry
import pytest

import noxfile  # noqa: F401 - it registers the sessions
import tasks
from dynamo_containers import command_line, invoke_program
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path


PAGES = sorted(
    file
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples/chat/chat")
    if file.name != "CHANGELOG.md"
)
FENCED = re.compile(r"^ *```(?:sh|console)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4,}).*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^\s*(?:[$] )?(?:[A-Z_]+=\S+ )*(?:\./with-tools )?((?:invoke|nox) .*)$")
PLACEHOLDER = re.compile(r"[…*]|\.\.\.|\b[A-Z]{3,}\b|\b[AB]\b|-X\b|smoke-x\b")
"""Placeholders that a reader replaces."""
OF_AN_EXAMPLE = {"smoke-toy"}
"""The session of the backend that docs/how-to/add-a-backend.md adds."""
NOX_FLAGS = {"-s", "--session", "-t", "-l", "--list", "--json", "--", "-k"}


def lines(page: Path) -> list[str]:
    """Return the commands in blocks and in running text, without comments."""
    text = page.read_text(encoding="utf-8")
    blocks = [*FENCED.findall(text), *INDENTED.findall(text), *INLINE.findall(text)]
    matches = (COMMAND.match(line.replace("\\|", "|")) for block in blocks for line in block.splitlines())
    return sorted({re.split(r"\s+#\s|\s\|\s", match[1])[0].strip() for match in matches if match})


def sessions() -> set[str]:
    """Return the names of all sessions, with the arguments of those that have any."""
    names = set()
    for name, session in nox.registry.get().items():
        ids = [param.id for param in getattr(session, "parametrize", None) or []]
        names |= {name, *(f"{name}({parameter})" for parameter in ids)}
    return names


def invoke_error(arguments: list[str]) -> str:
    """Return the error in the arguments of `invoke`; '' if they are correct."""
    if not arguments or arguments[0] in {"--list", "-l"}:
        return ""
    if {"--help", "-h"} & set(arguments):
        task = next((argument for argument in arguments if not argument.startswith("-")), "lock")
        return "" if task in tasks.namespace.task_names else f"no task {task}"
    if arguments[0] == "-R":
        arguments = arguments[1:]
    try:
        command_line.normalize(arguments, invoke_program.syntaxes(tasks.namespace), command_line.syntax(()))
    except UsageError as error:
        return str(error)
    return ""


def nox_error(arguments: list[str]) -> str:
    """Return the error in the arguments of `nox`; '' if they are correct."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    flags = [argument for argument in own if argument.startswith("-")]
    if unknown := set(flags) - NOX_FLAGS:
        return f"unknown flags {sorted(unknown)}"
    start = next((own.index(flag) + 1 for flag in ("-s", "--session") if flag in own), len(own))
    names = {name for name in own[start:] if not name.startswith("-")} - sessions() - OF_AN_EXAMPLE
    return ", ".join(f"no session {name}" for name in sorted(names))


def error(command: str) -> str:
    """Return the error in a command of a page; commands with placeholders have none."""
    try:
        program, *arguments = shlex.split(command)
    except ValueError as failure:
        return str(failure)
    if any(PLACEHOLDER.search(argument) for argument in arguments):
        return ""
    return invoke_error(arguments) if program == "invoke" else nox_error(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path) -> None:
    wrong = {command: problem for command in lines(page) if (problem := error(command))}
    assert wrong == {}


def test_commands_that_do_not_exist_are_seen() -> None:
    assert error("invoke build.runtime --image frontend") == ""
    assert "Did you mean build.runtime?" in error("invoke bild.runtime")
    assert "Did you mean --image?" in error("invoke build.runtime --imge frontend")
    assert error('nox -s "smoke-frontend(amd64)" -- --dry-run') == ""
    assert error("nox -s smoke-nothing") == "no session smoke-nothing"


def test_commands_are_found_in_blocks_and_in_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `invoke lock` or:\n\n```sh\n./with-tools nox -s unit  # seconds\n```\n\n    invoke explain | head\n",
        encoding="utf-8",
    )
    assert lines(page) == ["invoke explain", "invoke lock", "nox -s unit"]
