"""History of locked versions in this repository: from which commit to which one a lock had a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

COMMIT = "commit "
FILE = "+++ b/"
OLD_FILE = "--- a/"
PIN = re.compile(r"([-+])([a-z0-9][a-z0-9.+-]*?)(?:==| )([^ ;\\]+)")
"""A line of a difference: a pin of a Python lock, or a package of a lock of OS packages."""
NOT_IN_IMAGES = ("tools", "docs", "compile")
"""Starts of the names of locks whose packages are in no image."""


@dataclass(frozen=True, kw_only=True)
class LockedPeriod:
    """A time during which a lock had a version."""

    lock: str
    name: str
    version: str
    since: str
    """Commit that brought it."""
    since_time: str
    """When, in ISO 8601."""
    until: str = ""
    """Commit that removed it; '' where the newest commit has it."""
    until_time: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Versions of a package that a commit brought to a lock and removed from it."""

    commit: str
    time: str
    lock: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


def periods(folder: Path, names: Collection[str], is_affected: Callable[[str, str], bool]) -> tuple[LockedPeriod, ...]:
    """Return the times during which locks had affected versions, oldest first.

    Args:
        folder: the checkout.
        names: packages.
        is_affected: tells of a package and a version whether it is.

    Raises:
        CommandFailedError: this is not a repository of git, or its history cannot be read.
    """
    running: dict[tuple[str, str, str], LockedPeriod] = {}
    ended: list[LockedPeriod] = []
    for change in changes(process.capture(log_command(folder, names))):
        for version in change.removed:
            period = running.pop((change.lock, change.name, version), None)
            if period and version not in change.added:
                ended.append(_ended(period, change))
            elif period:
                running[change.lock, change.name, version] = period
        for version in change.added:
            key = change.lock, change.name, version
            if key not in running and is_affected(change.name, version):
                running[key] = LockedPeriod(
                    lock=change.lock,
                    name=change.name,
                    version=version,
                    since=change.commit,
                    since_time=change.time,
                )
    return tuple(sorted((*ended, *running.values()), key=lambda row: (row.since_time, row.lock, row.name)))


def _ended(period: LockedPeriod, change: Change) -> LockedPeriod:
    from dataclasses import replace

    return replace(period, until=change.commit, until_time=change.time)


def log_command(folder: Path, names: Collection[str]) -> process.Command:
    """Return the command that prints how the lines about packages changed in the locks, oldest commit first."""
    pattern = f"^({'|'.join(re.escape(name) for name in sorted(names))})(==| )"
    return process.Command(
        argv=(
            *("git", "-C", str(folder), "log", "--reverse", f"--format={COMMIT}%H %cI", "--patch", "--unified=0"),
            *("--no-color", "--no-renames", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"),
            *("--first-parent", "-m", "--extended-regexp", "-G", pattern, "--", "constraints"),
        ),
        env={"LC_ALL": "C"},
        hint="The history of the locks is read from git; a shallow clone has only a part of it.",
    )


def changes(text: str) -> Iterator[Change]:
    """Yield the changes in the output of that command."""
    commit = time = path = ""
    lines: dict[str, tuple[list[str], list[str]]] = {}
    for line in (*text.splitlines(), COMMIT):
        if line.startswith((COMMIT, "diff --git ")):
            yield from _changes_of(commit, time, path, lines)
            lines = {}
            if line.startswith(COMMIT):
                commit, _, time = line.removeprefix(COMMIT).partition(" ")
        elif line.startswith(OLD_FILE):
            path = line.removeprefix(OLD_FILE)
        elif line.startswith(FILE):
            path = line.removeprefix(FILE)
        elif match := PIN.match(line):
            added, removed = lines.setdefault(match[2], ([], []))
            (added if match[1] == "+" else removed).append(match[3])


def _changes_of(commit: str, time: str, path: str, lines: dict[str, tuple[list[str], list[str]]]) -> Iterator[Change]:
    lock = path.rpartition("/")[2].removesuffix(".txt")
    if not path.endswith(".txt") or path.count("/") != 1 or lock.startswith(NOT_IN_IMAGES):
        return
    for name, (added, removed) in lines.items():
        yield Change(commit=commit, time=time, lock=lock, name=name, added=tuple(added), removed=tuple(removed))
