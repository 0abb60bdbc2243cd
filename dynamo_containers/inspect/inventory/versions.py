"""Order of versions, per type of package: PEP 440, Semantic Versioning, and the order of dpkg; pure."""

from __future__ import annotations

import re
from functools import cache, total_ordering
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SEMVER = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")
"""https://semver.org, also with `v` before it and with parts left out, as Go and its advisories write it."""


class UnknownVersionError(ValueError):
    """A text is not a version of its type of package."""


@cache
def key(kind: str, text: str) -> Any:  # noqa: ANN401 - comparable with the keys of the same kind
    """Return what a version is ordered by.

    Args:
        kind: the type of package, as package URLs name it: `pypi`, `cargo`, `golang`, `deb`.
        text: the version.

    Raises:
        UnknownVersionError: the text is not a version, or the order of the type is not known here.
    """
    if kind not in ORDERS:
        raise UnknownVersionError(kind)
    return ORDERS[kind](text)


def _pep440(text: str) -> Any:  # noqa: ANN401 - as above
    from packaging.version import InvalidVersion, Version

    try:
        # Without the local part: 2.11.0+cu130 is a build of 2.11.0, and advisories are about releases.
        return Version(Version(text).public)
    except InvalidVersion:
        raise UnknownVersionError(text) from None


def _semver(text: str) -> tuple[object, ...]:
    match = SEMVER.fullmatch(text)
    if not match:
        raise UnknownVersionError(text)
    numbers = tuple(int(part or 0) for part in match.group(1, 2, 3))
    before = match[4]
    # A pre-release is before its release; numbers are before words (rule 11).
    words = (
        tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in before.split(".")) if before else ()
    )
    return (*numbers, 0 if before else 1, words)


@total_ordering
class DebianVersion:
    """A version of a .deb, in the order of dpkg (Debian policy 5.6.12)."""

    def __init__(self, text: str) -> None:
        """Split it into epoch, upstream version and revision."""
        epoch, _, rest = text.rpartition(":")
        if not re.fullmatch(r"\d*", epoch) or not re.fullmatch(r"[A-Za-z0-9.+~:-]+", rest):
            raise UnknownVersionError(text)
        upstream, dash, revision = rest.rpartition("-")
        self._parts = (int(epoch or 0), *(_words(part) for part in ((upstream, revision) if dash else (rest, "0"))))

    def __eq__(self, other: object) -> bool:
        """Return whether dpkg calls them equal."""
        return isinstance(other, DebianVersion) and self._parts == other._parts

    def __lt__(self, other: DebianVersion) -> bool:
        """Return whether it is earlier."""
        return self._parts < other._parts

    def __hash__(self) -> int:
        """Return a number that equal versions share."""
        return hash(self._parts)


def _words(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return a text as pairs of letters and a number; `~` is before the end, letters are before other signs."""
    pairs = re.findall(r"(\D*)(\d*)", text)
    return tuple(((*map(_rank, letters), END), int(number or 0)) for letters, number in pairs)


END = 1
"""The rank of the end of a text, between `~` and all other signs."""


def _rank(sign: str) -> int:
    if sign == "~":
        return 0
    return ord(sign) + (2 if sign.isalpha() else 256)


ORDERS: dict[str, Callable[[str], Any]] = {
    "pypi": _pep440,
    "cargo": _semver,
    "golang": _semver,
    "deb": DebianVersion,
}
"""Type of package -> its order."""
