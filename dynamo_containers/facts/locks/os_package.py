"""One .deb or RPM, by content."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """One .deb or RPM, by content. `path` is relative to the root of `archive`, such as `debian` or `ubuntu`."""

    name: str
    version: str
    architecture: str
    archive: str
    path: str
    size: int
    sha256: str
