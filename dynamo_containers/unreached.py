"""What could not be asked, and what stays because of it? Rows of one neutral kind, for the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NOT_LOCKED = "not locked"
AS_IT_WAS = "as it was"


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """One input that could not be refreshed."""

    what: str
    """The pin or the lock."""
    why: str
    """Who did not answer, in one line."""
    kept: str
    """What there is instead: the old pin, or none."""


def message(rows: Iterable[Unreached]) -> str:
    """Return the message about them."""
    lines = [f"  {row.what}: {row.kept}\n      {row.why}" for row in sorted(rows, key=lambda row: row.what)]
    return (
        "Could not be asked, so what it pins was not refreshed:\n"
        + "\n".join(lines)
        + "\nEverything else was done. Where these can be reached, run again: invoke lock"
    )
