"""Snapshot of a folder, by which a test sees that nothing was written into it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Check that a block writes nothing below a folder: a file that comes and goes changes its folder's time."""
    before = _snapshot(folder)
    yield
    assert _snapshot(folder) == before


def _snapshot(folder: Path) -> dict[Path, tuple[int, int, int]]:
    paths = (folder, *folder.rglob("*"))
    return {path: (status.st_mtime_ns, status.st_size, status.st_mode) for path in paths for status in [path.lstat()]}
