"""What is new in a package that moved: libraries, files that run at each start, native code, commands, size.

A stolen account or a changed build shows there first: a `.pth` runs at each start of Python, a binary in a package that
was pure runs unasked. What is suspicious must be accepted by name, with a reason (`lock.accepted-content`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.moves import table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from dynamo_containers.facts.locks.contents import FileContents

GROWTH, LEAST_GROWTH = 3, 5_000_000
"""A package that is GROWTH times as large as before is suspicious, from as many bytes more on."""
ANY_PLATFORM = "-any.whl"
"""The end of the name of a wheel that claims to be for every platform, so that it has no native code."""
KEY = "lock.accepted-content"


@dataclass(frozen=True, kw_only=True)
class ContentChange:
    """Something new in a file of a package."""

    package: str
    """`name==version`."""
    detail: str
    suspicious: bool


def changes(
    before: FileContents | None, after: FileContents, libraries: tuple[Collection[str], Collection[str]]
) -> tuple[ContentChange, ...]:
    """Return what is new in a package.

    Args:
        before: the file that its lock had; None for a package that is new.
        after: the file that its lock has now.
        libraries: the names of the shared libraries in both.
    """
    rows = [(f"library {name}", False) for name in sorted({*libraries[1]} - {*libraries[0]})]
    rows += _suspicious(before, after)
    if before is not None:
        rows += [(f"command {name}", False) for name in sorted({*after.scripts} - {*before.scripts})]
    return tuple(ContentChange(package=after.pin, detail=detail, suspicious=suspicious) for detail, suspicious in rows)


def _suspicious(before: FileContents | None, after: FileContents) -> Iterator[tuple[str, bool]]:
    old_startup = before.startup if before is not None else ()
    for path in sorted({*after.startup} - {*old_startup}):
        yield f"{path} runs at each start of Python", True
    was_native = bool(before.native) if before is not None else not after.file.endswith(ANY_PLATFORM)
    if after.native and not was_native:
        claim = "its name says that it has none" if after.file.endswith(ANY_PLATFORM) else "the file before had none"
        yield f"native code ({claim})", True
    if before is not None and before.unpacked:
        grew = after.unpacked - before.unpacked
        if after.unpacked > GROWTH * before.unpacked and grew > LEAST_GROWTH:
            yield f"{before.unpacked / 1e6:.1f} -> {after.unpacked / 1e6:.1f} MB", True


def not_accepted(files: Iterable[FileContents], accepted: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each package with suspicious content that no row of images.toml accepts."""
    rows: dict[str, dict[str, None]] = {}
    for file in files:
        if file.suspicious and file.pin not in accepted:
            rows.setdefault(file.pin, {}).update(dict.fromkeys(file.suspicious))
    return tuple(f"{pin}: {'; '.join(details)}" for pin, details in sorted(rows.items()))


def refusal(lines: Iterable[str]) -> str:
    """Return the message for packages with suspicious content; '' for none."""
    listed = "\n  ".join(lines)
    if not listed:
        return ""
    return (
        f"Suspicious content of packages was not accepted:\n  {listed}\n"
        f'Look at it, and accept it in [{KEY}] of containers/images.toml: "name==version" = "the reason". '
        "Or lock another version."
    )


def changes_table(rows: Iterable[ContentChange]) -> str:
    """Return the table of what is new in packages that moved, as Markdown; empty when there is nothing."""
    lines = [(row.package, row.detail, "must be accepted" if row.suspicious else "-") for row in dict.fromkeys(rows)]
    return "New in packages that moved:\n\n" + table(lines, ("package", "new", "suspicious")) if lines else ""
