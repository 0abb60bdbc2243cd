"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed (docs/adr/0039).

`install` takes them over as early as possible. While a command loads, nothing is to be cleaned up: the first signal
prints a message and ends the process. While it works (`interruptible`), the first signal is passed on to its child
processes, of every thread, and raises `Stopped` in the main thread; a child that does not end in time is killed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from dynamo_containers.errors import HUNG_UP, INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Ending(NamedTuple):
    """How a command ends that a signal ends."""

    message: str
    exit_code: int


ENDINGS = {
    signal.SIGINT: Ending("interrupted; nothing half-made is used later", INTERRUPTED),
    signal.SIGTERM: Ending("terminated; nothing half-made is used later", TERMINATED),
    signal.SIGHUP: Ending("the terminal was closed; nothing half-made is used later", HUNG_UP),
}
SECONDS_TO_STOP = 5.0
"""Seconds between a signal and SIGKILL for the child processes. GitHub Actions, for one, waits 7.5 s before its own."""
SECONDS_UNTIL_AGAIN = 1.0
"""Seconds after which a second signal is a second wish: a closed terminal sends SIGHUP twice, by kernel and shell."""
SECONDS_TO_END = 60.0
"""Seconds between a signal and the end of the process, whatever it still cleans up."""
SECONDS_TO_RETRY = 0.01
"""Seconds until `Stopped` is raised again where Python could not raise it."""


class Stopped(KeyboardInterrupt):
    """A signal ends this command. It is a KeyboardInterrupt, so that invoke, nox, pip and pytest clean up as well."""

    def __init__(self, number: int) -> None:
        super().__init__(ENDINGS[signal.Signals(number)].message)
        self.number = number


class _State:
    """What happened in this process."""

    def __init__(self) -> None:
        self.number = 0
        """The signal that ends this command; 0 for none."""
        self.since = 0.0
        """When it came, by time.monotonic."""
        self.interruptible = False
        """Whether a signal raises `Stopped`."""
        self.swallowed = False
        """Whether Python could not raise `Stopped`: it came during a callback of the garbage collector."""
        self.children: dict[int, Callable[[int], None]] = {}
        """Process id of a running child process -> sends it a signal."""


_state = _State()


def ending(error: BaseException | None = None) -> Ending:
    """Return how the command ends that `Stopped` has reached, or a KeyboardInterrupt of a library in its place."""
    number = error.number if isinstance(error, Stopped) else _state.number
    return ENDINGS[signal.Signals(number or signal.SIGINT)]


def install() -> None:
    """Take over the signals that end a command; one that is ignored stays ignored (nohup, `&` in a script)."""
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    signal.signal(signal.SIGALRM, _on_alarm)
    sys.unraisablehook = _unraisable


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Stopped` in this block where a signal comes; outside, the process ends at once."""
    before, _state.interruptible = _state.interruptible, True
    try:
        yield
    finally:
        _state.interruptible = before
        if not before:
            # A process that ends takes its handlers back first, and would then be killed by the alarm.
            signal.setitimer(signal.ITIMER_REAL, 0)


def interruptible_to_the_end() -> None:
    """Raise `Stopped` from now on, in a program of another library; it ends with our exit code, not that library's."""
    import atexit

    _state.interruptible = True
    atexit.register(_end_as_stopped)


@contextmanager
def child(process: int, send: Callable[[int], None]) -> Iterator[None]:
    """Let a signal that ends this command end a child process too, whichever thread waits for it.

    Args:
        process: its process id.
        send: sends it a signal that it has not seen; does nothing if it has ended.
    """
    _state.children[process] = send
    try:
        yield
    finally:
        _state.children.pop(process, None)


def check() -> None:
    """End a thread whose command is being ended.

    Raises:
        Stopped: a signal has come. Not in the main thread, which has seen it and may clean up.
    """
    if _state.number:
        import threading

        if threading.current_thread() is not threading.main_thread():
            raise Stopped(_state.number)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _state.number:
        if time.monotonic() - _state.since >= SECONDS_UNTIL_AGAIN:
            _send(signal.SIGKILL)
            _leave(number)
        return
    _state.number, _state.since = number, time.monotonic()
    if number == signal.SIGHUP:
        _forget_terminal()
    if not _state.interruptible:
        _leave(number)
    _send(number if number == signal.SIGINT else signal.SIGTERM)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP)
    raise Stopped(number)


def _on_alarm(_number: int, _frame: FrameType | None) -> None:
    """Do what is due after a signal: raise `Stopped` once more, kill the child processes, or end the process."""
    elapsed = time.monotonic() - _state.since
    if _state.swallowed:
        _state.swallowed = False
        signal.setitimer(signal.ITIMER_REAL, max(SECONDS_TO_STOP - elapsed, SECONDS_TO_RETRY))
        raise Stopped(_state.number)
    _send(signal.SIGKILL)
    if elapsed >= SECONDS_TO_END:
        _leave(_state.number)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP)


def _send(number: int) -> None:
    for send in tuple(_state.children.values()):
        send(number)


def _unraisable(unraisable: Any) -> None:  # noqa: ANN401 - sys.UnraisableHookArgs exists for type checkers alone
    """Raise `Stopped` later where Python cannot: in a callback of the garbage collector, of which imports have many."""
    if isinstance(unraisable.exc_value, Stopped):
        _state.swallowed = True
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_RETRY)
        return
    sys.__unraisablehook__(unraisable)


def _end_as_stopped() -> None:
    _state.interruptible = False  # there is nothing left that `Stopped` could reach
    if _state.number:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        _end_children()
        _leave(_state.number)


def _end_children() -> None:
    """Tell every child process to end that is left: nox loses one that it is starting when the signal comes."""
    children = f"/proc/self/task/{os.getpid()}/children"
    with suppress(OSError), open(children, encoding="ascii") as processes:  # noqa: PTH123 - loads before pathlib
        for process in processes.read().split():
            os.kill(int(process), signal.SIGTERM)


def _forget_terminal() -> None:
    """Let what is still printed go nowhere where the terminal is gone: writing there is an error."""
    streams = select.poll()
    for stream in (1, 2):
        streams.register(stream, 0)
    for stream, _ in streams.poll(0):  # it reports POLLHUP and POLLERR without being asked: poll(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream)
        os.close(null)


def _leave(number: int) -> NoReturn:
    """End the process now, with its message and exit code; nothing is cleaned up."""
    end = ENDINGS[signal.Signals(number)]
    with suppress(OSError):
        os.write(2, f"{end.message}\n".encode())
    os._exit(end.exit_code)
