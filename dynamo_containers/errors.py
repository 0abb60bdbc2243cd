"""Foreseeable failures, and the exit code of each kind.

A foreseen failure is one message without a traceback: what happened, the probable reason, what to run next.
Every kind has its own exit code; they are all defined here so that they stay distinct. A bug is not a
`FatalError` and keeps its traceback. docs/errors.md lists the codes for people who script these commands.
"""

from __future__ import annotations


class FatalError(Exception):
    """A foreseen failure: the message is for the person at the terminal, `exit_code` for the script."""

    exit_code = 1


class CheckFailedError(FatalError):
    """A check ran and its answer is no."""

    exit_code = 1


class UsageError(FatalError):
    """Unknown image, stage, platform or bases on the command line, or a data file that breaks its own rules."""

    exit_code = 2


class NoEngineError(FatalError):
    """No usable Docker Engine, so nothing could be built or checked."""

    exit_code = 3


class LockError(FatalError):
    """A lock or a pin is missing, or it no longer fits what it was made from."""

    exit_code = 4


class DownloadError(FatalError):
    """A download failed, or its bytes are not the pinned ones."""

    exit_code = 5


class NoSpaceError(FatalError):
    """The disk cannot hold what the build would write."""

    exit_code = 6


class CommandFailedError(FatalError):
    """A program that a plan started ended with an error; its own output stands above the message."""

    exit_code = 7


class BusyError(FatalError):
    """Something else holds what this command needs: a port, a lock file, an engine's folder."""

    exit_code = 8


class UnsupportedHostError(FatalError):
    """The machine lacks something that cannot be installed privately (root, Debian's apt, a kernel feature)."""

    exit_code = 9


class UnreachableError(FatalError):
    """Something outside could not be asked: what is pinned of it stays as it was, and all the rest was done."""

    exit_code = 10


INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


def kind_of(exit_code: int) -> type[FatalError]:
    """Return which failure a process of this library ended with; that of a bug is an ordinary failed command."""
    kinds = {kind.exit_code: kind for kind in FatalError.__subclasses__()}
    return kinds.get(exit_code, CommandFailedError) if exit_code != CheckFailedError.exit_code else CommandFailedError
