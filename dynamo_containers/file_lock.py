"""Lock between processes of one checkout: a locked file, which the kernel frees when a process ends."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import BusyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_SECONDS = 0.1


@contextmanager
def held(file: Path, holder: str, *, seconds: float | None = None) -> Iterator[None]:
    """Hold a lock until the end of the block, and say it if somebody else has to end first.

    Args:
        file: the file to lock; it stays, empty.
        holder: what else may hold it, as a message names it.
        seconds: how long to wait; None: until the other one ends.

    Raises:
        BusyError: the other one did not end in time.
        UsageError: the file belongs to somebody else.
    """
    with _open(file) as opened:
        if not _lock(opened.fileno()):
            progress.say(f"Waiting for {holder}")
            end = None if seconds is None else time.monotonic() + seconds
            while not _lock(opened.fileno()):
                if end is not None and time.monotonic() > end:
                    message = f"{holder[0].upper()}{holder[1:]} is still at work.\nWait for it, or end it."
                    raise BusyError(message)
                time.sleep(POLL_SECONDS)
        yield


def _open(file: Path) -> IO[bytes]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("ab")
    except PermissionError:
        message = f"{file} cannot be written by you.\nRun this as the user to whom the checkout belongs."
        raise UsageError(message) from None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
