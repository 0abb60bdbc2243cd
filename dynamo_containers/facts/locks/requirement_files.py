"""Requirement files, `requirements/*.in`: what a line may say, and the files that it includes.

pip reads more in such a file than names of packages: indexes, addresses, paths, variables of the environment, and files
anywhere. Each of these decides a lock without being in its digest, so a line may only name a package of the index, or
include another file of requirements/. Everything else is refused by file and line.

Every build imports this module, so it imports nothing slow.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dynamo_containers import file_reader
from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FOLDER = "requirements"
COMMENT = re.compile(r"(^|\s+)#.*$")
"""A comment, as pip has it."""
CODING = re.compile(r"coding[:=]\s*([-\w.]+)")
"""The encoding in a comment, by which pip decodes the file (PEP 263); pip looks at the first two lines."""
INCLUDE = re.compile(
    r"(?:(?P<short>-[rc])\s*|(?P<long>--requirement|--constraint)(?:=|\s+))(?P<path>[\w./-]+)", re.ASCII
)
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
VERSION = (
    r"v?(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?[0-9]*)?"
    r"(?:-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?(?:[-_.]?dev[-_.]?[0-9]*)?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?"
)
"""https://packaging.python.org/en/latest/specifications/version-specifiers/#version-scheme, without its white space."""
SPECIFIER = rf"(?:(?:==|!=)\s*{VERSION}(?:\.\*)?|(?:<=|>=|~=|<|>)\s*{VERSION})"
REQUIREMENT = re.compile(
    rf"(?P<name>{NAME})\s*(?P<extras>\[\s*{NAME}(?:\s*,\s*{NAME})*\s*\])?"
    rf"\s*(?:{SPECIFIER}(?:\s*,\s*{SPECIFIER})*)?\s*(?:;\s*(?P<marker>.+))?",
    re.ASCII | re.IGNORECASE,
)
ARCHIVE = re.compile(r".*\.(?:whl|zip|tar|t[gblx]z|tar\.(?:gz|bz2|xz|lz|lzma))", re.IGNORECASE)
"""A name that pip takes for a file of the current folder, if there is one (pip's ARCHIVE_EXTENSIONS)."""
INDEX_ADVICE = (
    "The index is that of pip's configuration on this machine. A package of another index is named in a row "
    "[indexes.NAME] of containers/images.toml."
)
WHEEL_ADVICE = (
    "Locks are installed from wheels. A package without a wheel is named in `compile-from-source` of its image in "
    "containers/images.toml."
)
PRE_RELEASE_ADVICE = "Name the pre-release of the one package: NAME>=1.0rc1"
HASH_ADVICE = "`invoke lock` writes the hashes into the lock; nothing else has to ask for them."
RELEASE_ADVICE = (
    "A lock has releases of an index: NAME==VERSION. What no index has is built from source: a row [sources.NAME] of "
    "containers/images.toml."
)
GRAMMAR_ADVICE = 'Allowed is NAME[EXTRA,...] with versions and a marker: uvloop>=0.21,<1; platform_machine == "x86_64"'
OPTION_ADVICE = "The only options are -r FILE and -c FILE, for a file of requirements/."
ADVICE_ON_OPTIONS = {
    **dict.fromkeys(("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index"), INDEX_ADVICE),
    "--trusted-host": INDEX_ADVICE,
    **dict.fromkeys(("--no-binary", "--only-binary", "--prefer-binary"), WHEEL_ADVICE),
    **dict.fromkeys(("--pre", "--all-releases", "--only-final"), PRE_RELEASE_ADVICE),
    **dict.fromkeys(("--hash", "--require-hashes", "--no-require-hashes"), HASH_ADVICE),
    **dict.fromkeys(("-e", "--editable"), RELEASE_ADVICE),
}


@dataclass(frozen=True, kw_only=True)
class Include:
    """A line `-r FILE` or `-c FILE`."""

    line: int
    path: str
    """The included file, relative to the checkout."""
    is_constraint: bool


class _InvalidLineError(Exception):
    """What is wrong with a line, and what to write instead."""


@cache  # several images of several stages read the same files
def includes(path: str, text: str, *, is_constraint: bool = False) -> tuple[Include, ...]:
    """Return the files that a requirement file includes.

    Args:
        path: the file, relative to the checkout.
        text: its content.
        is_constraint: whether it only constrains versions, as requirements/constraints.in does.

    Raises:
        UsageError: with every line that says something else than a requirement or an include.
    """
    found: list[Include] = []
    faults: list[str] = []
    for number, line in _lines(text):
        try:
            _refuse_reading_differently(number, line)
            content = COMMENT.sub("", line).strip()
            if content.startswith("-"):
                found.append(_include(path, number, content, is_constraint=is_constraint))
            elif content:
                _check_requirement(content, is_constraint=is_constraint)
        except _InvalidLineError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(found)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.splitlines(), start=1)


def _refuse_reading_differently(number: int, line: str) -> None:
    """Refuse what would make pip read another text than this module, or than another machine."""
    coding = CODING.search(line) if number <= 2 and line.startswith("#") else None  # noqa: PLR2004 - see CODING
    if coding and coding[1].lower() not in ("utf-8", "utf8"):
        message = f"the encoding {coding[1]}.\nWrite the file in UTF-8."
        raise _InvalidLineError(message)
    content = COMMENT.sub("", line)
    odd = next((character for character in content if not (character.isprintable() or character == "\t")), "")
    if odd:
        message = f"the invisible character U+{ord(odd):04X}.\nRemove it."
        raise _InvalidLineError(message)
    if line.endswith("\\") and not COMMENT.match(line):  # pip: a comment after a requirement goes on, too
        message = "a line that goes on in the next one.\nWrite each requirement on one line."
        raise _InvalidLineError(message)
    if "$" in content:
        message = f"`{content.strip()}` has a variable, whose value is not in the lock.\nWrite the value itself."
        raise _InvalidLineError(message)


def _include(path: str, number: int, content: str, *, is_constraint: bool) -> Include:
    match = INCLUDE.fullmatch(content)
    if not match:
        option = re.split(r"[=\s]", content, maxsplit=1)[0]
        message = f"`{content}` is not allowed.\n{_advice(option)}"
        raise _InvalidLineError(message)
    constrains = (match["short"] or match["long"]) in ("-c", "--constraint")
    if is_constraint and not constrains:
        message = f"`{content}` would add requirements in a file of constraints.\nWrite: -c {match['path']}"
        raise _InvalidLineError(message)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match["path"]))
    if not target.startswith(f"{FOLDER}/"):
        message = f"`{content}` is outside {FOLDER}/.\nMove the file into {FOLDER}/; its path is relative to {path}."
        raise _InvalidLineError(message)
    return Include(line=number, path=target, is_constraint=constrains)


def _advice(option: str) -> str:
    name = option if option.startswith("--") else option[:2]  # `-fPATH` is `-f PATH`
    return ADVICE_ON_OPTIONS.get(name, OPTION_ADVICE)


def _check_requirement(content: str, *, is_constraint: bool) -> None:
    match = REQUIREMENT.fullmatch(content)
    if not match or ARCHIVE.fullmatch(match["name"]):
        raise _InvalidLineError(_requirement_fault(content))
    if is_constraint and match["extras"]:
        message = f"`{content}` has extras in a file of constraints.\nWrite the extras where the package is required."
        raise _InvalidLineError(message)
    if match["marker"]:
        _check_marker(content, match["marker"])


def _requirement_fault(content: str) -> str:
    requirement, _, rest = content.partition(" -")
    if rest and REQUIREMENT.fullmatch(requirement.strip()):
        option = "-" + re.split(r"[=\s]", rest, maxsplit=1)[0]
        return f"`{content}` has the option {option}.\n{_advice(option)}"
    if "===" in content:
        return f"`{content}` compares versions as text.\nWrite == in place of ===."
    name = content.partition(";")[0].rstrip()
    if "@" in content or re.match(r"[.~]|file:|[^\s;]*[/\\]", content) or ARCHIVE.fullmatch(name):
        return f"`{content}` is an address or a path.\n{RELEASE_ADVICE}"
    return f"`{content}` is not a requirement.\n{GRAMMAR_ADVICE}"


def _check_marker(content: str, marker: str) -> None:
    from packaging.markers import InvalidMarker, Marker  # few lines have a marker

    try:
        Marker(marker)
    except InvalidMarker as error:
        message = f"`{content}` has an invalid marker: {str(error).splitlines()[0]}.\n{GRAMMAR_ADVICE}"
        raise _InvalidLineError(message) from None
    if re.search(r"\s-", marker):  # pip would read the rest of the line as options
        message = f"`{content}` has a dash after a space in its marker.\n{GRAMMAR_ADVICE}"
        raise _InvalidLineError(message)


def read(path: str, folder: Path, *, is_constraint: bool = False) -> dict[str, str]:
    """Return path -> text of a requirement file and of all files that it includes; nothing if it does not exist.

    Raises:
        UsageError: the file is not text, a line is invalid, or an included file does not exist, leads out of
            requirements/, or includes the file that includes it.
    """
    text = file_reader.read_text_if_there(folder / path, path)
    if text is None:
        return {}
    return {path: text} | _included_texts(Include(line=0, path=path, is_constraint=is_constraint), text, folder, ())


def _included_texts(file: Include, text: str, folder: Path, above: tuple[str, ...]) -> dict[str, str]:
    """Return path -> text of all files that a file includes; `above` are those that include it."""
    texts: dict[str, str] = {}
    for include in includes(file.path, text, is_constraint=file.is_constraint):
        fault = _include_fault(include, folder, (*above, file.path))
        if fault:
            message = f"{file.path}:{include.line}: {include.path} {fault}"
            raise UsageError(message)
        texts[include.path] = file_reader.read_text(folder / include.path, include.path)
        texts |= _included_texts(include, texts[include.path], folder, (*above, file.path))
    return texts


def _include_fault(include: Include, folder: Path, above: tuple[str, ...]) -> str:
    file = folder / include.path
    if include.path in above:
        return "includes itself.\nRemove one of the lines."
    if not file.exists():
        return "does not exist.\nCreate it, or remove the line."
    if not file.resolve().is_relative_to((folder / FOLDER).resolve()):
        return f"is a link out of {FOLDER}/.\nPut a copy in its place."
    return ""


def included(paths: Iterable[tuple[str, bool]], texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return all files that requirement files include, each once, in the order in which pip reads them.

    Args:
        paths: (file, whether it only constrains versions).
        texts: path -> text of these files and of those that they include.
    """
    files: dict[str, None] = {}
    for path, is_constraint in paths:
        rows = includes(path, texts[path], is_constraint=is_constraint)
        for row in rows:
            files |= dict.fromkeys((row.path, *included([(row.path, row.is_constraint)], texts)))
    return tuple(files)
