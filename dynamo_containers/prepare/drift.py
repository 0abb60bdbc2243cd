"""Record of drift beside a folder of packages: a line per package, with its locked and its used version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import file_reader
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.os_lock import Drift
from dynamo_containers.file_reader import Author
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BUILD = Author(error=LockError, remedy="A build writes this file. Delete its folder and run again.")
NONE = "-"
"""Stands for no version: no version begins with it (deb-version(7))."""


def document(path: Path, drift: Iterable[Drift]) -> Document:
    """Return the record at a path: name, locked version, used version."""
    lines = (f"{row.name} {row.locked or NONE} {row.used or NONE}\n" for row in drift)
    return Document(path=path, text="".join(lines))


def read(path: Path) -> tuple[Drift, ...]:
    """Return the drift in a record; () where there is no record."""
    text = file_reader.read_text_if_there(path, author=BUILD) or ""
    rows = (("" if column == NONE else column for column in line.split()) for line in text.splitlines())
    return tuple(Drift(name=name, locked=locked, used=used) for name, locked, used in rows)
