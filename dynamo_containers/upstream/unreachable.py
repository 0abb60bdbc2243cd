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
HEADINGS = ("input", "address", "pinned", "reason")


@dataclass(frozen=True, kw_only=True)
class UnreachableInput:
    """An input that could not be queried, and so was not refreshed."""

    name: str
    """Its row of pins.toml, or the path of its lock."""
    address: str = ""
    """Its address or reference, where the reason does not have it."""
    reason: str
    """Why it could not be queried, in one line."""
    pinned: str
    """What the pins have for it: `not locked`, `as it was` or the old pin."""


@dataclass(frozen=True, kw_only=True)
class RefreshResult(Generic[Key, APin]):
    """New pins, what changed, and the inputs that could not be queried."""

    pins: Mapping[Key, APin]
    messages: tuple[str, ...] = ()
    """What changed, each in one line."""
    unreachable: tuple[UnreachableInput, ...] = ()


def message(rows: Iterable[UnreachableInput]) -> str:
    """Return the message of a command that could not refresh some inputs."""
    return (
        f"Unreachable, so the existing pins were kept:\n{table(rows)}\n"
        "Everything else was refreshed. When these are reachable, run again: invoke lock\n"
        "In a closed network, configure mirrors: docs/how-to/mirrors.md"
    )


def table(rows: Iterable[UnreachableInput]) -> str:
    """Return a table with a line per input, sorted by name."""
    ordered = sorted(rows, key=lambda row: row.name)
    lines = (HEADINGS, *((row.name, row.address, row.pinned, row.reason) for row in ordered))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def old_pin(digests: Iterable[str], name: str) -> str:
    """Return the text for an old pin that was kept."""
    return f"the old pin {', '.join(map(_short, digests))} of {name}"


def _short(digest: str) -> str:
    algorithm, colon, value = digest.rpartition(":")
    return f"{algorithm}{colon}{value[:12]}"


def one_line(output: str) -> str:
    """Return the reason from the error output of a program: its last line that is not empty."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ").removeprefix("fatal: ") if lines else "no reason was given"
