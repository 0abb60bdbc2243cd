"""Expected failures, and the exit code of each kind.

An expected failure is a message without a traceback: what happened, the probable reason, what to run next. Each kind
has its own exit code; all are defined here so that they stay distinct. A bug is not a `FatalError` and shows its
traceback. docs/errors.md lists the codes for scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class FatalError(Exception):
    """An expected failure: its message is for people, its `exit_code` for scripts."""

    exit_code = 1


class CheckFailedError(FatalError):
    """A check ran and failed."""

    exit_code = 1


class UsageError(FatalError):
    """Unknown image, stage, platform or bases on the command line, or an invalid data file."""

    exit_code = 2


class NoEngineError(FatalError):
    """There is no usable Docker Engine."""

    exit_code = 3


class LockError(FatalError):
    """A lock or a pin is missing, or does not match its inputs."""

    exit_code = 4


class NotLockedError(LockError):
    """Locks do not exist that need addresses which not every machine reaches; `locks` has their names."""

    def __init__(self, message: str, locks: tuple[str, ...]) -> None:
        super().__init__(message)
        self.locks = locks


class DownloadError(FatalError):
    """A download failed, or has another content than the pinned one."""

    exit_code = 5


class NoSpaceError(FatalError):
    """The disk is too small for the build."""

    exit_code = 6


class CommandFailedError(FatalError):
    """A command failed; its output is above the message."""

    exit_code = 7


class BusyError(FatalError):
    """Another process uses a resource of this command: a port, a lock file, the folder of an engine."""

    exit_code = 8


class UnsupportedHostError(FatalError):
    """A requirement of the machine is not met and cannot be installed privately (root, apt, a kernel feature)."""

    exit_code = 9


class UnreachableError(FatalError):
    """A remote service is unreachable: its existing pins were kept, and everything else was done."""

    exit_code = 10


def unknown_name(kind: str, name: str, choices: Iterable[str], hint: str = "") -> UsageError:
    """Return the error for a name on the command line that does not exist.

    Args:
        kind: what the name is for: `image`, `platform`.
        name: the unknown name, as it was typed.
        choices: the names that exist, in the order of the message.
        hint: one more line: what else to do.
    """
    names = list(choices)
    listed = f"choose from: {', '.join(names)}" if names else "none is defined"
    lines = [f'unknown {kind} "{name}" ({listed})']
    if similar := similar_name(name, names):
        lines.append(f"Did you mean {similar}?")
    return UsageError("\n".join([*lines, *([hint] if hint else [])]))


def similar_name(name: str, choices: Iterable[str]) -> str:
    """Return the choice that a mistyped name is closest to ('' for none); `arm64` is close to `linux/arm64`."""
    import difflib  # it takes milliseconds, and only a mistake needs it

    spellings = {choice.lower().rpartition("/")[2]: choice for choice in choices}
    spellings |= {choice.lower(): choice for choice in choices}
    return next((spellings[close] for close in difflib.get_close_matches(name.lower(), spellings, n=1)), "")


HUNG_UP = 129
"""The exit code after the terminal was closed: 128 + SIGHUP, as in shells."""
INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT."""
TERMINATED = 143
"""The exit code after `kill`, `timeout` or a cancelled CI job: 128 + SIGTERM."""


def kind_of(exit_code: int) -> type[FatalError]:
    """Return the failure for the exit code of a process of this library; a bug is an ordinary failed command."""
    kinds = {kind.exit_code: kind for kind in FatalError.__subclasses__()}
    return kinds.get(exit_code, CommandFailedError) if exit_code != CheckFailedError.exit_code else CommandFailedError
