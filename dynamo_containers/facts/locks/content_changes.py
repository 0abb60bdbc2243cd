"""What is new in a package that moved: libraries, files that run at each start, native code, commands, size.

A stolen account or a changed build shows there first: a `.pth` runs at each start of Python, a binary in a package that
was pure runs unasked. What is suspicious must be accepted by name, with a reason (`lock.accepted-content`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.moves import table
from dynamo_containers.facts.locks.wheel_contents import library_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.facts.locks.wheel_contents import WheelContent

GROWTH, LEAST_GROWTH = 3, 5_000_000
"""A package that is GROWTH times as large as before is suspicious, from as many bytes more on."""


class ChangeKind(Enum):
    """What is new in a package."""

    LIBRARY = "bundled library"
    NATIVE = "native code"
    STARTUP = "file that runs at each start"
    SCRIPT = "command"
    SIZE = "size"


@dataclass(frozen=True, kw_only=True)
class ContentChange:
    """Something new in a version of a package."""

    package: str
    version: str
    kind: ChangeKind
    detail: str
    suspicious: bool
    accepted: str = ""
    """The reason for which it is accepted; '' for none."""


def accepted_key(package: str, version: str) -> str:
    """Return the key of `lock.accepted-content` that accepts what is suspicious in a version of a package."""
    return f"{package}=={version}"


def changes(
    package: tuple[str, str], before: WheelContent | None, after: WheelContent, accepted: Mapping[str, str]
) -> tuple[ContentChange, ...]:
    """Return what is new in a package.

    Args:
        package: its name, and the version that it moved to.
        before: the content of the version that it moved from; None for a package that is new.
        after: the content of the new version.
        accepted: the rows `lock.accepted-content`: `name==version` -> the reason.
    """
    name, version = package
    reason = accepted.get(accepted_key(name, version), "")
    return tuple(
        ContentChange(
            package=name,
            version=version,
            kind=kind,
            detail=detail,
            suspicious=suspicious,
            accepted=reason if suspicious else "",
        )
        for kind, detail, suspicious in _changes(before, after)
    )


def _changes(before: WheelContent | None, after: WheelContent) -> Iterator[tuple[ChangeKind, str, bool]]:
    """Yield (kind, detail, whether it is suspicious). The commands and the size of a new package are not suspicious."""
    old_libraries = {library_name(path) for path in before.libraries} if before is not None else set()
    for library in sorted({library_name(path) for path in after.libraries} - old_libraries):
        yield ChangeKind.LIBRARY, library, False
    old_startup = before.startup if before is not None else ()
    for path in sorted({*after.startup} - {*old_startup}):
        yield ChangeKind.STARTUP, path, True
    was_native = bool(before.native) if before is not None else not after.pure
    if after.native and not was_native:
        claim = "its WHEEL says that it has none" if after.pure else "the version before had none"
        yield ChangeKind.NATIVE, f"{after.native[0]} ({len(after.native)} in all; {claim})", True
    if before is None:
        return
    for script in sorted({*after.scripts} - {*before.scripts}):
        yield ChangeKind.SCRIPT, script, False
    if after.unpacked > max(GROWTH * before.unpacked, before.unpacked + LEAST_GROWTH):
        yield ChangeKind.SIZE, f"{before.unpacked / 1e6:.1f} -> {after.unpacked / 1e6:.1f} MB", True


def refused(rows: Iterable[ContentChange]) -> tuple[ContentChange, ...]:
    """Return what is suspicious and was not accepted."""
    return tuple(row for row in rows if row.suspicious and not row.accepted)


def changes_table(rows: Iterable[ContentChange]) -> str:
    """Return the table of what is new in packages that moved, as Markdown; empty when there is nothing."""
    lines = [
        (
            f"{row.package}=={row.version}",
            row.kind.value,
            row.detail,
            row.accepted or ("ACCEPT" if row.suspicious else "-"),
        )
        for row in dict.fromkeys(rows)
    ]
    if not lines:
        return ""
    return "New in packages that moved:\n\n" + table(lines, ("package", "new", "what", "accepted"))
