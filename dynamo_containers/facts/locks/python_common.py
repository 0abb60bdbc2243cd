"""Shared Python locks: the full locks of several images are split into a shared lock and the rest of each image.

The shared lock has the packages that all of them pin in the same version with the same files.
pip-compile does not know about this: it resolves the full lock of each image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

VIA = re.compile(r"^    # via(?: (?P<only>.+))?$|^    #   (?P<next>.+)$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One package of a lock, in the format of pip-compile."""

    pin: tuple[str, ...]
    """`name==version` and its hashes."""
    via: tuple[str, ...]
    """The packages and files that require it."""

    @property
    def name(self) -> str:
        """Return the name of the package."""
        return self.pin[0].partition("==")[0]

    @property
    def version(self) -> str:
        """Return its version, with the marker if the pin has one."""
        return self.pin[0].partition("==")[2].removesuffix(" \\")

    def text(self) -> str:
        """Return the lines in the format of pip-compile."""
        via = [f"    # via {self.via[0]}"] if len(self.via) == 1 else ["    # via", *(f"    #   {v}" for v in self.via)]
        return "\n".join([*self.pin, *(via if self.via else ())]) + "\n"


@dataclass(frozen=True, kw_only=True)
class ParsedLock:
    """A lock, split into its head, packages and tail."""

    head: str
    entries: Mapping[str, Entry]
    tail: str
    """Comments of pip-compile about packages that it left out."""

    def text(self) -> str:
        """Return the lock."""
        return self.head + "".join(self.entries[name].text() for name in sorted(self.entries)) + self.tail


def parse(text: str) -> ParsedLock:
    """Split a lock into its packages."""
    head: list[str] = []
    tail: list[str] = []
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith(" ") and blocks:
            blocks[-1].append(line)
        elif line and not line.startswith("#"):
            blocks.append([line])
        else:
            (tail if blocks else head).append(line)
    entries = [_entry(block) for block in blocks]
    return ParsedLock(head=_lines(head), entries={entry.name: entry for entry in entries}, tail=_lines(tail))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _entry(block: list[str]) -> Entry:
    matches = [VIA.match(line) for line in block]
    pin = tuple(line for line, match in zip(block, matches, strict=True) if not match)
    via = tuple(match["only"] or match["next"] for match in matches if match and (match["only"] or match["next"]))
    return Entry(pin=pin, via=via)


def join(shared: str, rest: str) -> str:
    """Return the full lock of an image from the shared lock and the rest; the inverse of `split`."""
    parsed = parse(rest)
    return replace(parsed, entries={**parse(shared).entries, **parsed.entries}).text()


def with_pins_of(lock: str, others: Iterable[str], patterns: Collection[str]) -> str:
    """Return an image's lock with the pins that other locks have of the packages to share.

    pip-compile starts from it and keeps a pin that fits, so that the images agree where they can. Other packages are
    not added, because each pin that does not fit costs pip-compile another round.
    """
    parsed = parse(lock)
    entries = {
        name: entry for other in others for name, entry in parse(other).entries.items() if _matches(name, patterns)
    }
    return replace(parsed, entries={**entries, **parsed.entries}).text()


def split(locks: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Split full locks into the packages that all of them share and the rest of each.

    Args:
        locks: name -> full lock.

    Returns:
        The shared packages, and name -> the lock without them.
    """
    parsed = {name: parse(text) for name, text in locks.items()}
    first, *others = parsed.values()
    common = {
        name: replace(entry, via=_merged(lock.entries[name].via for lock in parsed.values()))
        for name, entry in first.entries.items()
        if all(name in other.entries and other.entries[name].pin == entry.pin for other in others)
    }
    rest = {
        name: replace(lock, entries={key: entry for key, entry in lock.entries.items() if key not in common}).text()
        for name, lock in parsed.items()
    }
    return ParsedLock(head="", entries=common, tail="").text(), rest


def with_shares_line(line: str, lock: str) -> str:
    """Return a lock whose head has this line about the lock that it shares, in place of an older one."""
    head, inputs, rest = lock.partition("# inputs: ")
    digest, end, rest = rest.partition("\n")
    return head + inputs + digest + end + line + "\n" + re.sub(r"^# shares .*\n", "", rest, count=1)


def _merged(requirers: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for names in requirers for name in names}))


@dataclass(frozen=True, kw_only=True)
class VersionDifference:
    """A package that images should share, and the version that each has instead."""

    name: str
    versions: tuple[tuple[str, str, str], ...]
    """(lock, version, what requires it)."""


def differences(locks: Mapping[str, str], patterns: Collection[str]) -> tuple[VersionDifference, ...]:
    """Return the packages to share (by pattern) that differ between locks."""
    parsed = {name: parse(text).entries for name, text in locks.items()}
    names = sorted({name for entries in parsed.values() for name in entries if _matches(name, patterns)})
    rows = ((name, [(lock, entries[name]) for lock, entries in parsed.items() if name in entries]) for name in names)
    return tuple(
        VersionDifference(
            name=name, versions=tuple((lock, entry.version, ", ".join(entry.via)) for lock, entry in entries)
        )
        for name, entries in rows
        if len({entry.pin for _, entry in entries}) > 1
    )


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
