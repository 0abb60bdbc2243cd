"""Broken pipes: a command whose reader went away (`| head`) ends quietly."""

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
def needed() -> Iterator[None]:
    """End the process by SIGPIPE, without a word, when the reader of its output has gone.

    Python ignores that signal, for the sake of sockets: a broken pipe of any other kind is an error as before.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _gone():
            raise
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def _gone() -> bool:
    """Say whether the other end of standard output or standard error is closed (POLLERR: poll(2))."""
    ends = select.poll()
    for stream in (sys.stdout, sys.stderr):
        ends.register(stream, 0)
    return bool(ends.poll(0))
