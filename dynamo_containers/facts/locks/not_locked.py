"""Locks and pins that are knowingly missing: rows `lock.not-locked.*` of images.toml, each with its reason.

A missing lock with such a row is reported and is not a gap. A row for a lock that exists by now, or that nothing needs,
is refused: otherwise the same gap could come back unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.toml_table import Table

PATH = "lock.not-locked"
FILE = "containers/images.toml"
"""As `catalogue.IMAGES_FILE`, whose reader imports this module."""


@dataclass(frozen=True, kw_only=True)
class NotLocked:
    """Locks that are missing for one reason."""

    name: str
    """The name of the row."""
    locks: tuple[str, ...]
    """The locks and pins, by their names in `invoke lock --check`."""
    reason: str
    until: str
    """What makes the row obsolete."""

    def __str__(self) -> str:
        """Return the reason and its end as a sentence for a person."""
        return f"knowingly, because {self.reason} ({FILE}: {PATH}.{self.name}). Until {self.until}."


def read(rows: Mapping[str, Table]) -> dict[str, NotLocked]:
    """Return the rows of images.toml by name."""
    read_rows = {}
    for name, row in rows.items():
        read_rows[name] = NotLocked(
            name=name, locks=row.strings("locks"), reason=row.string("reason"), until=row.string("until")
        )
        row.refuse_the_rest()
    return read_rows


def by_lock(rows: Mapping[str, NotLocked]) -> dict[str, NotLocked]:
    """Return lock -> the row that names it."""
    return {lock: row for row in rows.values() for lock in row.locks}


def reason_of(rows: Mapping[str, NotLocked], locks: Collection[str]) -> str:
    """Return why missing locks are knowingly missing, a line for each row; '' where a lock has no row."""
    known = by_lock(rows)
    if not locks or not set(locks) <= known.keys():
        return ""
    return "\n".join(f"Not locked, {row}" for row in dict.fromkeys(known[lock] for lock in locks))


def check(rows: Mapping[str, NotLocked], locked: Collection[str], unknown: Iterable[str] = ()) -> None:
    """Refuse rows that are obsolete.

    Args:
        rows: the rows.
        locked: names of the locks and pins that exist.
        unknown: names in the rows that no lock or pin has.

    Raises:
        UsageError: a row names a lock that exists, or that does not need to exist.
    """
    obsolete = sorted(by_lock(rows).keys() & set(locked))
    for names, fault in ((obsolete, "is locked by now"), (tuple(unknown), "is not the name of a lock or pin")):
        for name in names:
            row = by_lock(rows)[name]
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            message = (
                f"{FILE}: {PATH}.{row.name}: {name} {fault}{others}.\n"
                f"Remove it from `locks` there, and the whole row with the last one. Then run: invoke lock --check"
            )
            raise UsageError(message)
