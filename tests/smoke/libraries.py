"""Judgement of libraries that could not be opened (tests/smoke/inside/open_libraries.py)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MISSING = re.compile(r"(\S+): cannot open shared object file: No such file or directory")
"""What the dynamic loader says of a library that another one links."""


def unexplained(failed: Mapping[str, str], missing: Iterable[str], unloadable: Collection[str]) -> list[str]:
    """Return a line for each library that could not be opened for no known reason: its path and the loader's words.

    Args:
        failed: path of a library -> why it could not be opened.
        missing: patterns of libraries that an image may lack (the driver's, those of a vendor's network).
        unloadable: patterns of paths that cannot be opened, by the image's row.
    """
    missing = tuple(missing)
    return [
        f"{file}: {error}"
        for file, error in failed.items()
        if not fits(file.lstrip("/"), unloadable)
        and not ((match := MISSING.match(error)) and fits(match[1].rpartition("/")[2], missing))
    ]


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns fits."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
