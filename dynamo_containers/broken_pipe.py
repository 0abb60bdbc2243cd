"""Broken pipes: a command whose output is no longer read (`| head`) ends without a message."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def exit_quietly() -> Iterator[None]:
    """End the process by SIGPIPE, without a message, when the reader of its output has gone.

    Python ignores that signal, because of sockets. A broken pipe of another kind stays an error.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def _reader_is_gone() -> bool:
    """Return whether the other end of standard output or standard error is closed (POLLERR: poll(2))."""
    streams = select.poll()
    for stream in (sys.stdout, sys.stderr):
        streams.register(stream, 0)
    return bool(streams.poll(0))
