"""Files in an unpacked package, whose links are followed inside the package alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_LINKS = 40
"""The links that Linux follows in one path (MAXSYMLINKS)."""


def find(package: Path, name: str) -> Path | None:
    """Return a file of an unpacked package, with its links followed; None if the package has no such file.

    A link is followed as in an image whose root is the package: `/` is the package, and `..` of it the package itself.
    So no link leads to a file of this machine, and absolute links inside a package work.

    Args:
        package: the folder of the unpacked package.
        name: the path of the file below it.
    """
    pending, parts, links = name.split("/")[::-1], list[str](), 0
    while pending:
        part = pending.pop()
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            path = package.joinpath(*parts, part)
            if not path.is_symlink():
                parts.append(part)
                continue
            links += 1
            if links > MOST_LINKS:
                return None
            target = str(path.readlink())
            parts = [] if target.startswith("/") else parts
            pending += target.split("/")[::-1]
    file = package.joinpath(*parts)
    return file if file.is_file() else None
