"""Inputs that could not be queried, and the pins that stay because of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = TypeVar("Key")
APin = TypeVar("APin")
NOT_LOCKED = "not locked"
AS_IT_WAS = "as it was"
HEAD = ("what", "asked", "stays", "why")


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """One input that could not be refreshed."""

    what: str
    """The pin or the lock."""
    asked: str = ""
    """The address or reference, where the reason does not name it."""
    why: str
    """Who did not answer, in one line."""
    kept: str
    """What there is instead: the old pin, or none."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Key, APin]):
    """The pins as they are to be, what a person is to be told, and who could not be asked."""

    pins: Mapping[Key, APin]
    said: tuple[str, ...] = ()
    unreachable: tuple[Unreached, ...] = ()


def message(rows: Iterable[Unreached]) -> str:
    """Return the message about them."""
    return (
        f"Could not be asked, so what it pins was not refreshed:\n{table(rows)}\n"
        "Everything else was done. Where these can be reached, run again: invoke lock\n"
        "In a closed network, name mirrors of them: docs/how-to/mirrors.md"
    )


def table(rows: Iterable[Unreached]) -> str:
    """Return one line for each, by name."""
    ordered = sorted(rows, key=lambda row: row.what)
    lines = (HEAD, *((row.what, row.asked, row.kept, row.why) for row in ordered))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def old_pin(digests: Iterable[str], of: str) -> str:
    """Return the words for an old pin that stays."""
    return f"the old pin {', '.join(map(_short, digests))} of {of}"


def _short(digest: str) -> str:
    algorithm, colon, value = digest.rpartition(":")
    return f"{algorithm}{colon}{value[:12]}"


def one_line(output: str) -> str:
    """Return the reason out of what a program or a library complained: its last line that is not empty."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ").removeprefix("fatal: ") if lines else "no reason was given"
