"""Terminal of tests: programs run in a real pseudoterminal, and what they write appears on a small screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTROL = re.compile(r"\x1b\[(?P<parameters>[?\d;]*)(?P<letter>[A-Za-z])")
SECONDS = 30


@dataclass(kw_only=True)
class Screen:
    """What a person sees: lines of text, of which a program can erase and write again the lowest ones."""

    columns: int
    rows: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    cursor_visible: bool = True

    def write(self, text: str) -> None:
        """Show text, obeying the control sequences for cursor movement and erasing."""
        position = 0
        while position < len(text):
            if control := CONTROL.match(text, position):
                self._obey(control["parameters"], control["letter"])
                position = control.end()
                continue
            self._put(text[position])
            position += 1

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        else:
            if self.column >= self.columns:
                self.column = 0
                self._down()
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    def _obey(self, parameters: str, letter: str) -> None:
        if letter == "A":
            self.row = max(0, self.row - int(parameters or 1))
        elif letter == "K":
            line = self.rows[self.row]
            self.rows[self.row] = "" if parameters == "2" else line[: self.column]
        elif parameters == "?25":
            self.cursor_visible = letter == "h"
        elif letter != "m":
            message = f"the screen does not know ESC [ {parameters} {letter}"
            raise AssertionError(message)

    @property
    def lines(self) -> list[str]:
        """Return the lines of the screen without the empty ones at its end."""
        text = "\n".join(line.rstrip() for line in self.rows).rstrip()
        return text.splitlines()


@dataclass(frozen=True, kw_only=True)
class Session:
    """A program that ended: its exit code, what it wrote, and the screen after each piece that it wrote."""

    returncode: int
    output: str
    frames: tuple[tuple[str, ...], ...]
    screen: Screen


def run_python(
    code: str,
    *,
    columns: int = 80,
    resized_to: int = 0,
    interrupt_at: str = "",
    environment: dict[str, str] | None = None,
) -> Session:
    """Run Python code with this library as `run` does."""
    variables = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **(environment or {})}
    return run(
        (sys.executable, "-c", code),
        columns=columns,
        resized_to=resized_to,
        interrupt_at=interrupt_at,
        environment=variables,
    )


def run(
    argv: tuple[str, ...],
    *,
    columns: int = 80,
    resized_to: int = 0,
    interrupt_at: str = "",
    environment: dict[str, str] | None = None,
) -> Session:
    """Run a program whose standard streams are a pseudoterminal.

    Args:
        argv: the program.
        columns: the width of the terminal.
        resized_to: the width after the first output; 0 for no change.
        interrupt_at: Ctrl-C is pressed when this is on the screen; '' for never.
        environment: variables of the program besides TERM, which is xterm unless it is here.
    """
    master, slave = pty.openpty()
    _resize(slave, columns)
    settings = termios.tcgetattr(slave)
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    variables |= {"TERM": "xterm", **(environment or {})}
    with subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
    ) as program:
        screen, output, frames = Screen(columns=columns), "", []
        for text in _pieces(master, program):
            output += text
            screen.write(text)
            frames.append(tuple(screen.lines))
            if resized_to:
                _resize(slave, resized_to)
                screen.columns = resized_to
            if interrupt_at and any(interrupt_at in line for line in screen.lines):
                os.killpg(program.pid, signal.SIGINT)
                interrupt_at = ""
        returncode = program.wait(SECONDS)
    assert termios.tcgetattr(slave) == settings
    os.close(slave)
    os.close(master)
    return Session(returncode=returncode, output=output, frames=tuple(frames), screen=screen)


@contextmanager
def closable(argv: tuple[str, ...], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """Start a program whose terminal has this program alone; yield it, and what closes the window of the terminal."""
    master, slave = pty.openpty()
    # `setsid --ctty` makes the terminal the program's own, which the kernel tells when it is closed.
    # Below `nohup`, the program would inherit that SIGHUP is ignored.
    start = ("env", "--default-signal=INT,TERM,HUP", "setsid", "--ctty", *argv)
    program = subprocess.Popen(start, cwd=folder, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        yield program, partial(os.close, master)
    finally:
        program.kill()
        program.wait()


def _pieces(master: int, program: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what a program writes until it ends."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.05)
        if ready:
            with suppress(OSError):
                yield os.read(master, 1 << 16).decode("utf-8", "replace")
        elif program.poll() is not None:
            return
    program.kill()
    message = f"the program did not end within {SECONDS} s"
    raise AssertionError(message)


def _resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
