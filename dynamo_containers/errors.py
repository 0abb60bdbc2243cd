"""Foreseeable failures, and the exit code of each kind.

A foreseen failure is one message without a traceback: what happened, the probable reason, what to run next.
Every kind has its own exit code; they are all defined here so that they stay distinct. A bug is not a
`FatalError` and keeps its traceback. docs/errors.md lists the codes for people who script these commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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


INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


def kind_of(exit_code: int) -> type[FatalError]:
    """Return which failure a process of this library ended with; that of a bug is an ordinary failed command."""
    kinds = {kind.exit_code: kind for kind in FatalError.__subclasses__()}
    return kinds.get(exit_code, CommandFailedError) if exit_code != CheckFailedError.exit_code else CommandFailedError
