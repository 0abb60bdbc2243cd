"""Writer of the locks of OS packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.facts.locks.os_lock import render

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package


def write_lock(
    lock: OsLock, folder: Path, packages: tuple[Package, ...], locked_at: str = "", root_digest: str = ""
) -> None:
    """Write the lock, completely or not at all; see `render`."""
    process.write(process.Document(path=folder / lock.file, text=render(lock, packages, locked_at, root_digest)))
