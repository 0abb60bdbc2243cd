"""What the locks of several images have in common: whole locks are split, and put together again.

The packages that all of them have in the same version, with the same files, stand in the lock of the shared layer, and
each image's own lock has the rest. pip-compile knows nothing of it: it makes the whole lock of each image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

VIA = re.compile(r"^    # via(?: (?P<one>.+))?$|^    #   (?P<next>.+)$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One package of a lock, in the lines of pip-compile."""

    pin: tuple[str, ...]
    """`name==version` and its hashes."""
    via: tuple[str, ...]
    """Who requires it."""

    @property
    def name(self) -> str:
        """Return the package."""
        return self.pin[0].partition("==")[0]

    @property
    def version(self) -> str:
        """Return its version, with the marker where the pin has one."""
        return self.pin[0].partition("==")[2].removesuffix(" \\")

    def text(self) -> str:
        """Return the lines, as pip-compile writes them."""
        via = [f"    # via {self.via[0]}"] if len(self.via) == 1 else ["    # via", *(f"    #   {v}" for v in self.via)]
        return "\n".join([*self.pin, *(via if self.via else ())]) + "\n"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A lock in its parts."""

    head: str
    entries: Mapping[str, Entry]
    tail: str
    """What pip-compile says at the end about packages that it left out."""

    def text(self) -> str:
        """Return the lock."""
        return self.head + "".join(self.entries[name].text() for name in sorted(self.entries)) + self.tail


def parse(text: str) -> Parsed:
    """Part a lock into its packages."""
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
    return Parsed(head=_lines(head), entries={entry.name: entry for entry in entries}, tail=_lines(tail))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _entry(block: list[str]) -> Entry:
    found = [VIA.match(line) for line in block]
    pin = tuple(line for line, via in zip(block, found, strict=True) if not via)
    via = tuple(each["one"] or each["next"] for each in found if each and (each["one"] or each["next"]))
    return Entry(pin=pin, via=via)


def whole(shared: str, own: str) -> str:
    """Return the whole lock of an image, given the shared lock and its own: what `part` took apart."""
    mine = parse(own)
    return replace(mine, entries={**parse(shared).entries, **mine.entries}).text()


def leaning(lock: str, others: Iterable[str], patterns: Collection[str]) -> str:
    """Return what pip-compile is to start from: an image's lock, and what others have of the packages to be alike.

    pip-compile keeps such a pin where it fits, so that the images agree where they can. Only of those packages: each
    pin that does not fit costs it another round.
    """
    mine = parse(lock)
    known = {
        name: entry for other in others for name, entry in parse(other).entries.items() if _matches(name, patterns)
    }
    return replace(mine, entries={**known, **mine.entries}).text()


def part(locks: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Take what whole locks have in common out of them.

    Args:
        locks: name -> whole lock.

    Returns:
        The packages in common, and name -> the lock without them.
    """
    parsed = {name: parse(text) for name, text in locks.items()}
    first, *others = parsed.values()
    common = {
        name: replace(entry, via=_together(each.entries[name].via for each in parsed.values()))
        for name, entry in first.entries.items()
        if all(name in other.entries and other.entries[name].pin == entry.pin for other in others)
    }
    rest = {
        name: replace(lock, entries={key: entry for key, entry in lock.entries.items() if key not in common}).text()
        for name, lock in parsed.items()
    }
    return Parsed(head="", entries=common, tail="").text(), rest


def saying(line: str, lock: str) -> str:
    """Return a lock whose head has this line about what it shares, and no older one."""
    head, inputs, rest = lock.partition("# inputs: ")
    said, end, rest = rest.partition("\n")
    return head + inputs + said + end + line + "\n" + re.sub(r"^# shares .*\n", "", rest, count=1)


def _together(vias: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({via for each in vias for via in each}))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A package that images should have alike, and what each has instead: its version and who requires it."""

    name: str
    found: tuple[tuple[str, str, str], ...]
    """(lock, version, who requires it)."""


def differences(locks: Mapping[str, str], patterns: Collection[str]) -> tuple[Difference, ...]:
    """Return the packages that are to be alike, that several of the locks have, and that differ."""
    parsed = {name: parse(text).entries for name, text in locks.items()}
    names = sorted({name for entries in parsed.values() for name in entries if _matches(name, patterns)})
    rows = ((name, [(lock, entries[name]) for lock, entries in parsed.items() if name in entries]) for name in names)
    return tuple(
        Difference(name=name, found=tuple((lock, entry.version, ", ".join(entry.via)) for lock, entry in having))
        for name, having in rows
        if len({entry.pin for _, entry in having}) > 1
    )


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
