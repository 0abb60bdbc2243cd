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
def hold(file: Path, holder: str, *, seconds: float | None = None) -> Iterator[None]:
    """Hold a lock until the end of the block; print a line when waiting for another process.

    Args:
        file: the file to lock; it is empty and not removed.
        holder: the other process that may hold it, for messages.
        seconds: the time to wait; None: without limit.

    Raises:
        BusyError: the other process did not end in time.
        UsageError: the file belongs to another user.
    """
    with _open(file) as opened:
        if not _lock(opened.fileno()):
            progress.say(f"Waiting for {holder}")
            end = None if seconds is None else time.monotonic() + seconds
            while not _lock(opened.fileno()):
                if end is not None and time.monotonic() > end:
                    message = f"{holder[0].upper()}{holder[1:]} still runs.\nWait for it, or stop it."
                    raise BusyError(message)
                time.sleep(POLL_SECONDS)
        yield


def _open(file: Path) -> IO[bytes]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("ab")
    except PermissionError:
        message = f"{file} is not writable.\nRun this command as the owner of the checkout."
        raise UsageError(message) from None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
