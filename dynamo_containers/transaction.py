"""Transaction over files of a folder: all of them get their new text, or none does.

1. Each new text is written beside its file and reaches the disk.
2. A journal that names the files appears: from here on the transaction is decided.
3. The new files replace the old ones, one after the other, which needs no space on the disk.
4. The journal is removed.

A process that dies before step 2 has changed nothing. Of one that dies later, the journal stays: `is_pending` tells
it to whoever reads the files, and `complete` does the rest of steps 3 and 4. See docs/adr/0038.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process
from dynamo_containers.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NEW = ".new"
"""The suffix of a new text beside its file: `constraints/.tools.txt.new`."""
ABSENT = ""
"""The digest of a file that does not exist."""


def digest(file: Path) -> str:
    """Return the sha256 of a file; ABSENT where it does not exist."""
    return hashlib.sha256(file_reader.read_bytes(file)).hexdigest() if file.is_file() else ABSENT


def is_pending(journal: Path) -> bool:
    """Return whether a process died, or is, between the first and the last file of a transaction."""
    return journal.is_file()


def replace_all(folder: Path, journal: Path, texts: Mapping[str, str]) -> None:
    """Give files their new texts, all or none.

    Args:
        folder: the folder that the paths are relative to.
        journal: the file of the journal.
        texts: path -> new text.

    Raises:
        NoSpaceError: the disk is full; nothing was changed.
        UnsupportedHostError: a file cannot be written, such as in a read-only folder; nothing was changed.
    """
    rows = {
        path: {"old": digest(folder / path), "new": hashlib.sha256(text.encode()).hexdigest()}
        for path, text in texts.items()
    }
    try:
        for path, text in texts.items():
            _write(_beside(folder / path), text)
        _write(journal, json.dumps(rows, indent=2) + "\n")
        _sync_folder(journal.parent)
        complete(folder, journal)
    except BaseException:
        if is_pending(journal):  # the transaction is decided, so that Ctrl-C comes too late
            complete(folder, journal)
        else:
            for path in texts:
                _beside(folder / path).unlink(missing_ok=True)
        raise


def complete(folder: Path, journal: Path) -> tuple[str, ...]:
    """Do what is left of a transaction whose process died; return its files, none where nothing was left.

    Where every file is as it was before, such as after `git checkout`, the transaction is dropped.

    Raises:
        LockError: a file was changed since by something else.
    """
    if not is_pending(journal):
        return ()
    rows: dict[str, dict[str, str]] = file_reader.parse_json(file_reader.read_text(journal))
    states = {path: (digest(folder / path), digest(_beside(folder / path))) for path in rows}
    left = [path for path, row in rows.items() if states[path] == (row["old"], row["new"])]
    done = [path for path, row in rows.items() if states[path][0] == row["new"]]
    foreign = [path for path in rows if path not in left and path not in done]
    if foreign and any(states[path][0] != row["old"] for path, row in rows.items()):
        raise LockError(_changed_since(foreign, journal))
    for path in rows:
        if not foreign and path in left:
            _beside(folder / path).replace(folder / path)
        _beside(folder / path).unlink(missing_ok=True)
    for parent in {(folder / path).parent for path in rows}:
        _sync_folder(parent)
    journal.unlink(missing_ok=True)
    return () if foreign else tuple(rows)


def remove_leftovers(journal: Path, folders: Iterable[Path]) -> None:
    """Remove what a process left that died before its transaction was decided: new texts, and parts of them."""
    files = (file for folder in folders for file in folder.glob(f".*{NEW}*"))
    for file in (*files, *journal.parent.glob(f".{journal.name}.*")):
        file.unlink(missing_ok=True)


def _changed_since(paths: Iterable[str], journal: Path) -> str:
    return (
        f"An interrupted command wrote a part of its files, and these were changed since: {', '.join(paths)}.\n"
        f"Restore them (git status, git checkout), remove {journal}, and run the same command again."
    )


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}{NEW}")


def _write(file: Path, text: str) -> None:
    with process.replace_file(file) as opened:
        opened.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """Let renames in a folder reach the disk; some file systems of networks cannot, and order them themselves."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
