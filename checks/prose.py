"""Plain English in pages, help, messages and docstrings: proselint, and words of our own; `python -m checks.prose`.

It reads README.md and docs/ without their code. Of Python, also of scripts in containers/, it reads the first line of
each docstring, and each string of several words (messages, help, tables).
"""

from __future__ import annotations

import ast
import re
import sys
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from checks import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md")
HISTORY = ("CHANGELOG.md", "docs/adr/")
"""Records of their time, which are not rewritten."""
CODE = (
    *("tasks.py", "noxfile.py", "dynamo_containers/**/*.py", "checks/*.py", "containers/**/*.py"),
    *(path for path in scripts.python() if path.startswith("containers/")),
)
PROSELINT = {
    "typography": False,  # straight quotes and three dots are what a terminal shows
    "lexical_illusions": False,  # it takes a heading and the line below it for a repetition
}
MISTAKEN = {"redundancy.misc.after_the_deadline"}
"""Checks that are wrong about our words: it takes `and etcd` for `and etc`."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Words that a stranger reads twice."""

    pattern: str
    better: str


RULES = (
    Rule(pattern=r"\bdone again\b", better="rebuilt, or repeated"),
    Rule(pattern=r"\banew\b", better="again, or rebuilt"),
    Rule(pattern=r"\b[Ss]tands? on\b", better="is based on"),
    Rule(pattern=r"\b[Ss]tands? in\b(?! for)", better="is in"),
    Rule(pattern=r"(?<!here\x20)\b(?:is|are|was) no (?!longer|more|newer|such)[a-z]+\b", better="is not a"),
    Rule(pattern=r"\b[Tt]akes? nothing that\b", better="fail on, or reject"),
    Rule(pattern=r"\bThere is no .{1,40} called\b", better='unknown X "NAME" (choose from: ...)'),
    Rule(pattern=r"\bwithout a word\b", better="silently, or: the default is"),
    Rule(pattern=r"\bof one piece\b|\ball the same\b", better="equal; or leave it out"),
    Rule(pattern=r"\b[Uu]nreached\b", better="unreachable"),
    Rule(pattern=r"\b[Jj]udge[sd]?\b", better="verify, or check"),
    Rule(pattern=r"\b(?:is|are) said\b", better="is given, or is reported"),
    Rule(
        pattern=r"\bhand(?:s|ed)? on\b|\bthe other way round\b|\bwhat is there\b",
        better="passes, conversely, the contents",
    ),
)


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """A place that reads badly."""

    file: str
    line: int
    text: str
    better: str

    def __str__(self) -> str:
        """Return it as compilers do, so that editors find the place."""
        return f"{self.file}:{self.line}: {self.text!r}: {self.better}"


def page(text: str) -> str:
    """Return a Markdown page with its code blanked out; every line keeps its number."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"^( *)(```|~~~).*?^ *\2[^\n]*$", blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<=\n\n)(?: {4,}[^\n]*\n+)+", blank, text)
    return re.sub(r"`[^`\n]+`|\]\([^)\n]*\)|<[^>\n]+>", blank, text)


def code(text: str) -> str:
    """Return what a Python module says to people, each on the line where it stands; the other lines are empty."""
    lines = [""] * (text.count("\n") + 2)
    for line, phrase in _strings(ast.parse(text)):
        for number, part in enumerate(phrase.splitlines()):
            if line + number < len(lines):
                lines[line + number] += f" {re.sub('`[^`]*`', 'X', part)}"
    return "\n".join(lines[1:])


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of the first lines of docstrings, and of strings of several words."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = set()
    for node in ast.walk(tree):
        first = node.body[0] if isinstance(node, documented) and node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            docstrings.add(first.value)
            yield first.value.lineno, first.value.value.partition("\n")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings and _is_phrase(node.value):
            yield node.lineno, str(node.value)


def _is_phrase(value: object) -> bool:
    return isinstance(value, str) and value.count(" ") > 1


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and prose of every file."""
    for patterns, read in ((PAGES, page), (CODE, code)):
        for file in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
            name = file.relative_to(ROOT).as_posix()
            if not name.startswith(HISTORY):
                yield name, read(file.read_text(encoding="utf-8"))


def ours(name: str, text: str) -> Iterator[Finding]:
    """Yield what breaks a rule of our own; a phrase may go over the end of a line."""
    starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    for rule in RULES:
        for match in re.finditer(rule.pattern.replace(" ", " +"), text.replace("\n", " ")):
            line = bisect_right(starts, match.start())
            phrase = " ".join(match[0].split())
            yield Finding(file=name, line=line, text=phrase, better=f"better: {rule.better}")


def proselint(pages: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what proselint finds."""
    from proselint.checks import __register__
    from proselint.config import DEFAULT
    from proselint.registry import CheckRegistry
    from proselint.tools import LintFile

    CheckRegistry().register_many(__register__)
    config = {**DEFAULT, "checks": {**DEFAULT["checks"], **PROSELINT}}
    for name, text in pages.items():
        # Without what was blanked out: its expressions take long for runs of spaces.
        lines = [
            (number, " ".join(line.split())) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
        ]
        for result in LintFile(name, "\n".join(line for _, line in lines)).lint(config):
            check, line = result.check_result, lines[result.pos[0] - 1][0]
            if check.check_path not in MISTAKEN:
                better = "leave the word out" if check.check_path == "weasel_words.very" else check.message
                yield Finding(file=name, line=line, text=check.check_path, better=better)


def main() -> int:
    """Print what reads badly; return 1 if anything does."""
    prose = dict(texts())
    findings = [finding for name, text in prose.items() for finding in ours(name, text)]
    findings += proselint(prose)
    for finding in sorted(findings):
        print(finding)
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
