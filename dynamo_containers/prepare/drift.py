"""Record of drift, kept with a folder of packages: a package per line, with its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.os_lock import Drift
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NONE = "-"
"""Stands for no version: none begins so (deb-version(7))."""


def document(record: Path, rows: Iterable[Drift]) -> Document:
    """Return the record: name, locked version, used version."""
    lines = (f"{row.name} {row.locked or NONE} {row.used or NONE}\n" for row in rows)
    return Document(path=record, text="".join(lines))


def read(record: Path) -> tuple[Drift, ...]:
    """Return what a record says; nothing, where there is none."""
    rows = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    words = (("" if word == NONE else word for word in row.split()) for row in rows)
    return tuple(Drift(name=name, locked=locked, used=used) for name, locked, used in words)
