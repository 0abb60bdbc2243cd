"""Integrity of the files that a checkout keeps for the next command (docs/adr/0034).

- A file that is named by its content (a download, a blob of an image) is hashed each time it is taken.
- What is made from such files (an unpacked tree, a root image) is sealed: a file beside it lists the size and the
  change time of each of its files. If they differ, it is made again.

The kernel sets the change time (ctime, inode(7)) at every change of content, name, mode or owner, and no program can
set it. So a file that was written to, replaced, cut short by a power failure or restored from an archive is noticed
without reading it. A seal does not protect from a program that replaces the seal as well: on this machine, such a
program can as well change this library.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUFFIX = ".seal"
"""Ends the name of the seal of a file or folder, which is beside it."""


def has_content(path: Path, sha256: str) -> bool:
    """Return whether a path is a file with this content; the file is read (0.1 s for 100 MB)."""
    from hashlib import file_digest

    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def keep_intact(path: Path, sha256: str) -> bool:
    """Return whether a store has a file with this content under a path; anything else at the path is removed."""
    if not os.path.lexists(path):
        return False
    if path.is_file() and has_content(path, sha256):
        return True
    progress.say(f"Removing {path}: it is not the file with the sha256 {sha256}")
    discard(path)
    return False


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with everything in it; nothing may be there."""
    if path.is_dir() and not path.is_symlink():
        rmtree(path)
    else:
        path.unlink(missing_ok=True)


def provide(folder: Path, fill: Callable[[Path], object], *records: Path) -> None:
    """Fill a temporary folder, rename it to `folder` and seal it; nothing is done where the seal is intact.

    Args:
        folder: the folder; one of that name is always complete.
        fill: fills the temporary folder, and writes the records.
        records: files outside of the folder that belong to it.
    """
    if is_sealed(folder, *records):
        return
    from tempfile import TemporaryDirectory

    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        partial = Path(temporary) / folder.name
        partial.mkdir()
        fill(partial)
        if os.path.lexists(folder):
            progress.say(f"Replacing {folder}: its files are not those that were written, or have no seal")
            discard(folder)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has just made the same
                raise
    seal(folder, *records)


def seal(path: Path, *others: Path) -> None:
    """Seal a file or folder that is complete now, together with other files."""
    process.write(process.Document(path=seal_path(path), text=_text(path, others)))


def is_sealed(path: Path, *others: Path) -> bool:
    """Return whether a file or folder, and other files, are those that were sealed; only their state is read."""
    try:
        return file_reader.cached_bytes(seal_path(path)) == _text(path, others).encode()
    except OSError:
        return False


def seal_path(path: Path) -> Path:
    """Return the path of the seal of a file or folder."""
    return path.with_name(f"{path.name}{SUFFIX}")


def _text(path: Path, others: Iterable[Path]) -> str:
    return render(path.parent, (entry for root in (path, *others) for entry in _entries(str(root))))


def render(folder: Path, entries: Iterable[tuple[str, os.stat_result]]) -> str:
    """Return the text of a seal in a folder: the name, size in bytes and change time in nanoseconds of each file."""
    rows = [[path.removeprefix(f"{folder}/"), status.st_size, status.st_ctime_ns] for path, status in entries]
    return json.dumps(rows) + "\n"


def _entries(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield a file or link, or those of a folder at any depth; folders have a change time of their own after a rename.

    Raises:
        OSError: the path does not exist.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        yield path, status
        return
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield from _entries(entry.path)
