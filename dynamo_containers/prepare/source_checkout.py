"""State of a checkout that wheels are built from: its project, its commit, and whether it has changes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process
from dynamo_containers.errors import CommandFailedError, LockError, UsageError
from dynamo_containers.plan.source_builds import PROJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.plan.source_builds import Source

NO_COMMIT = "no-commit"
AUTOCONF = re.compile(r"^AC_INIT\(\[([^]]*)\]", re.MULTILINE)


def with_states(sources: Mapping[str, Source], *, strict: bool) -> dict[str, Source]:
    """Return the sources; those that are local checkouts get their state.

    Args:
        sources: project (`dynamo`) -> its source.
        strict: refuse a checkout with uncommitted changes.

    Raises:
        UsageError: a folder is not a checkout of its project.
        LockError: a checkout has changes, and `strict`.
    """
    return {
        name: _with_state(name, source, strict=strict) if source.local else source for name, source in sources.items()
    }


def _with_state(name: str, source: Source, *, strict: bool) -> Source:
    folder = Path(source.context)
    present = project_name(folder)
    if present not in PROJECTS[name].names:
        message = (
            f"{folder} is not a checkout of {name}: {_explain(present)}.\n"
            f"Name the top folder of its repository: --{name}-source FOLDER"
        )
        raise UsageError(message)
    state = checkout_state(folder)
    if strict and (state == NO_COMMIT or state.endswith("-dirty")):
        message = (
            f"{folder} is not exactly a commit ({state}), and these bases are strict.\n"
            f"Commit them, or look at them with: git -C {folder} status"
        )
        raise LockError(message)
    return replace(source, state=state)


def project_name(folder: Path) -> str:
    """Return the name of the Python or autoconf project at the top of a folder, or ''."""
    text = file_reader.cached_text(folder / "pyproject.toml")
    try:
        return str(file_reader.parse_toml(text)["project"]["name"]) if text is not None else _autoconf_name(folder)
    except (KeyError, TypeError):
        return ""
    except ValueError:
        return _autoconf_name(folder)


def _autoconf_name(folder: Path) -> str:
    match = AUTOCONF.search(file_reader.cached_text(folder / "configure.ac") or "")
    return match[1] if match else ""


def _explain(project: str) -> str:
    if project:
        return f'it is a checkout of "{project}"'
    return "it has no pyproject.toml or configure.ac with a project name"


def checkout_state(folder: Path) -> str:
    """Return the commit of a checkout, with `-dirty` for changes or untracked files."""
    # The checkout often belongs to another user: engines want root.
    git = ("git", "-c", f"safe.directory={folder}", "-C", str(folder))
    try:
        commit = process.capture(process.Command(argv=(*git, "rev-parse", "HEAD"))).strip()
        changes = process.capture(process.Command(argv=(*git, "status", "--porcelain", "--", ".")))
    except CommandFailedError:
        return NO_COMMIT  # a source archive has no history
    return f"{commit}-dirty" if changes.strip() else commit
