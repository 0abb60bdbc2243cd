"""Progress of long tasks: one line per task, in place at a terminal, plain lines in a log.

A terminal shows the lines of all current tasks below the other output; they vanish when their tasks end. Where standard
error is not a terminal, or a dumb one, a plain line is printed every few seconds. Nothing is shown of a short task, and
`rich`, which draws the lines, is imported only when there is something to draw.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

LOG_SECONDS = 5.0
"""Seconds between two lines in a log."""
DELAY_SECONDS = 0.5
"""Seconds before a terminal shows anything."""
REFRESH_SECONDS = 0.2
"""Seconds between two frames at a terminal."""
KILOBYTE, MEGABYTE = 1e3, 1e6
TENTHS_BELOW = 10
"""Numbers from here on are shown without decimals."""
MINUTE, HOUR = 60, 3600
WIDEST = 100
"""Columns that a line fills at the most."""
BAR_COLUMNS = 16
BAR, ASCII_BAR = "━━", "#-"
"""What has arrived and what has not; without colors only the second pair tells them apart."""
NARROW = 72
"""Columns below which there is no room for a bar."""


class Task:
    """A task that may take long: its title and the bytes that have arrived."""

    def __init__(self, title: str, total: int = 0, summary: str = "") -> None:
        self.title = title
        self.total = total
        """The expected number of bytes; 0 if unknown."""
        self.summary = summary
        """The line after it has succeeded, without bytes and time; '' for none."""
        self.size = 0
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, size: int) -> None:
        """Count bytes that have arrived; threads may share a task."""
        with self._lock:
            self.size += size

    @property
    def seconds(self) -> float:
        """The time since the task began."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float | None:
        """The part that has arrived, from 0 to 1; None if the total is unknown."""
        return self.size / self.total if 0 <= self.size <= self.total > 0 else None

    def state(self) -> tuple[str, ...]:
        """Return bytes, rate and time left where they are known, else the time since the task began."""
        seconds = self.seconds
        if not self.size and not self.total:
            return (duration(seconds),)
        size = byte_count(self.size) if self.share is None else f"{byte_count(self.size)} of {byte_count(self.total)}"
        if not self.size or not seconds:
            return size, duration(seconds)
        rate = self.size / seconds
        remaining = duration((self.total - self.size) / rate)
        return size, f"{byte_count(rate)}/s", duration(seconds) if self.share is None else f"{remaining} left"


def byte_count(size: float) -> str:
    """Return a number of bytes as a person reads it, in kB or MB as indexes and disks count."""
    if size < MEGABYTE:
        return f"{size / KILOBYTE:.0f} kB"
    return f"{_rounded(size / MEGABYTE)} MB"


def duration(seconds: float) -> str:
    """Return a time as a person reads it."""
    rounded = round(seconds)
    if rounded < MINUTE:
        return f"{rounded} s"
    if rounded < HOUR:
        return f"{rounded // MINUTE} min {rounded % MINUTE} s"
    return f"{rounded // HOUR} h {rounded % HOUR // MINUTE} min"


def _rounded(number: float) -> str:
    return f"{number:.1f}" if number < TENTHS_BELOW else f"{number:.0f}"


@contextmanager
def task(title: str, *, total: int = 0, summary: str = "") -> Iterator[Task]:
    """Show the progress of the block.

    Args:
        title: the name of the task in its line.
        total: the number of bytes that will arrive; 0 if unknown.
        summary: the line after the block has succeeded, to which bytes and time are added; '' for none.
    """
    current = Task(title, total, summary)
    _display.add(current)
    try:
        yield current
    finally:
        _display.remove(current)
    if current.summary:
        size = f", {byte_count(current.size)}" if current.size else ""
        say(f"{current.summary}{size} in {duration(current.seconds)}")


def say(line: str) -> None:
    """Print lines on standard error in one write, above the lines of current tasks; threads may call it."""
    if line:
        _display.say(line.removesuffix("\n"))


@contextmanager
def paused() -> Iterator[None]:
    """Leave the terminal to a command that writes to it by itself."""
    _display.pause()
    try:
        yield
    finally:
        _display.resume()


def in_place() -> bool:
    """Return whether standard error is a terminal whose lines can be drawn again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


class _Display:
    """The lines of all current tasks. One thread draws them while there are tasks; every write is under the lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tasks: list[Task] = []
        self._live: Live | None = None
        self._pauses = 0
        self._ended = threading.Event()

    def add(self, current: Task) -> None:
        with self._lock:
            self._tasks.append(current)
            if len(self._tasks) == 1:
                self._ended = threading.Event()
                draw = self._draw_until if in_place() else self._log_until
                # A daemon: whatever happens to the tasks, the process can end.
                threading.Thread(target=draw, args=(self._ended,), daemon=True).start()

    def remove(self, current: Task) -> None:
        with self._lock:
            self._tasks.remove(current)
            if not self._tasks:
                self._ended.set()
                self._erase()
            elif self._live is not None:
                self._draw()

    def say(self, line: str) -> None:
        with self._lock:
            if self._live is None:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
                return
            self._live.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def pause(self) -> None:
        with self._lock:
            self._pauses += 1
            self._erase()

    def resume(self) -> None:
        with self._lock:
            self._pauses -= 1

    def _erase(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _log_until(self, ended: threading.Event) -> None:
        while not ended.wait(LOG_SECONDS):
            with self._lock:
                if self._tasks and not self._pauses and not ended.is_set():
                    lines = (", ".join((current.title, *current.state())) for current in self._tasks)
                    self.say(f"  {'; '.join(lines)}")

    def _draw_until(self, ended: threading.Event) -> None:
        if ended.wait(DELAY_SECONDS):
            return
        import rich.live  # noqa: F401 - takes a moment, in which nobody has to wait for the lock

        while not ended.wait(REFRESH_SECONDS):
            with self._lock:
                if self._tasks and not self._pauses and not ended.is_set():
                    self._draw()

    def _draw(self) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=_console(), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=True
            )
            self._live.start()
        self._live.update(self._lines(self._live.console), refresh=True)

    def _lines(self, console: Console) -> Text:
        from rich.text import Text

        # The last column stays free: a terminal that wraps a full line would show it twice.
        width = min(console.width - 1, WIDEST)
        signs = ASCII_BAR if console.options.ascii_only or console.no_color else BAR
        text = Text("\n").join(_line(current, width, signs) for current in self._tasks)
        text.no_wrap, text.overflow = True, "crop"
        return Text(text.plain) if console.no_color else text


def _console() -> Console:
    from rich.console import Console

    class VisibleCursor(Console):
        """A console that never hides the cursor: a process that is killed could not show it again."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - as rich calls it
            return False

    return VisibleCursor(file=sys.stderr, force_terminal=True)


def _line(current: Task, width: int, signs: str) -> Text:
    from rich.text import Text

    parts = current.state()
    # Where it is narrow, the rate is left out first and the bytes next.
    states = ["  ".join(shown) for shown in (parts, (parts[0], parts[-1]), parts[-1:])]
    state = next((shown for shown in states if len(current.title) + 2 + len(shown) <= width), states[-1])
    bar = Text()
    if current.share is not None and width >= NARROW:
        full = round(current.share * BAR_COLUMNS)
        bar = Text.assemble("  ", (signs[0] * full, "green"), (signs[1] * (BAR_COLUMNS - full), "dim"))
    title = Text(current.title)
    title.truncate(max(width - len(bar) - len(state) - 2, 1), overflow="crop" if signs == ASCII_BAR else "ellipsis")
    return Text.assemble(title, bar, "  ", (state, "cyan"))


_display = _Display()
