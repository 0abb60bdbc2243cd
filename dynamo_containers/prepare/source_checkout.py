"""State of a checkout that is built from: its project, commit, and whether it has changes."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import CommandFailedError, LockError, UsageError
from dynamo_containers.plan.source_builds import PROJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.plan.source_builds import Source

NO_COMMIT = "no-commit"
AUTOCONF = re.compile(r"^AC_INIT\(\[([^]]*)\]", re.MULTILINE)


def read(sources: Mapping[str, Source], *, strict: bool) -> dict[str, Source]:
    """Return the sources with the states of the checkouts among them.

    Args:
        sources: Source (`dynamo`) -> what is built.
        strict: refuse a checkout that is not exactly a commit.

    Raises:
        UsageError: a folder is not what it is meant to be.
        LockError: it has changes, and `strict`.
    """
    return {name: _read(name, source, strict=strict) if source.local else source for name, source in sources.items()}


def _read(name: str, source: Source, *, strict: bool) -> Source:
    folder = Path(source.context)
    found = project(folder)
    if found not in PROJECTS[name].names:
        message = (
            f"{folder} is no checkout of {name}: {_what(found)}.\n"
            f"Name the top folder of its repository: --{name}-source FOLDER"
        )
        raise UsageError(message)
    state = state_of(folder)
    if strict and (state == NO_COMMIT or state.endswith("-dirty")):
        message = (
            f"{folder} has changes that no commit has ({state}), and these bases are strict.\n"
            f"Commit them, or look at them with: git -C {folder} status"
        )
        raise LockError(message)
    return replace(source, state=state)


def project(folder: Path) -> str:
    """Return the name of the Python or autoconf project at the top of a folder, '' where there is none."""
    try:
        content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return _autoconf(folder)
    return str(content.get("project", {}).get("name", ""))


def _autoconf(folder: Path) -> str:
    try:
        found = AUTOCONF.search((folder / "configure.ac").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def _what(found: str) -> str:
    if found:
        return f'it is the project "{found}"'
    return "there is no pyproject.toml or configure.ac with a name at its top"


def state_of(folder: Path) -> str:
    """Return the commit of a checkout, with `-dirty` when it has changes or files that are not ignored."""
    # A checkout of another user than the one who builds is usual: engines want root.
    git = ("git", "-c", f"safe.directory={folder}", "-C", str(folder))
    try:
        commit = process.capture(process.Command(argv=(*git, "rev-parse", "HEAD"))).strip()
        changes = process.capture(process.Command(argv=(*git, "status", "--porcelain", "--", ".")))
    except CommandFailedError:
        return NO_COMMIT  # a source archive has no history
    return f"{commit}-dirty" if changes.strip() else commit
