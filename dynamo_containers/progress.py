"""Progress of long commands."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = 5.0
"""Seconds after which a person begins to wonder."""


@contextmanager
def said(words: Callable[[], str], *, every: float = EVERY) -> Iterator[None]:
    """Print what `words` returns, and for how long this goes on, every few seconds until the block ends."""
    ended, began = threading.Event(), time.monotonic()

    def say() -> None:
        while not ended.wait(every):
            print(f"  {words()}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    # A daemon: whatever happens to the block, nobody waits for it.
    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
