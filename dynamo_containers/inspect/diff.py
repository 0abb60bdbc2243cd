"""Differences between two images or two states of the locks, as Markdown.

Markdown that is as readable at a terminal; a section only where something differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.python_moves import ABSENT, Move, report, table
from dynamo_containers.inspect.explain import human

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.inspect.sizes.manifest import ImageSize

    Names = Mapping[str, str]

ROWS = 100
"""How many rows of a table are shown."""
WIDTH = 80
"""How much of a value is shown, in characters."""
NOTHING = "Nothing differs."


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What an image has."""

    title: str
    packages: Mapping[str, Names]
    """Kind, such as `Python` -> package -> version."""
    size: ImageSize | None
    """Uncompressed; None where its history does not fit its layers."""
    settings: Mapping[str, Names]
    """Section, such as `Environment` -> what is set -> its value."""


@dataclass(frozen=True, kw_only=True)
class Locked:
    """What the locks say."""

    title: str
    packages: Mapping[str, Names]
    """The lock's path -> package -> version."""
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The lock's path -> `name==version` -> bytes of a download, as far as they are stated."""
    pins: Names = field(default_factory=dict)
    """Key of containers/pins.toml -> its value."""


def of_images(one: Looked, other: Looked) -> str:
    """Return what differs between two images."""
    kinds = dict.fromkeys((*one.packages, *other.packages))
    sections = [
        *(_packages(kind, one.packages.get(kind, {}), other.packages.get(kind, {})) for kind in kinds),
        _layers(one.size, other.size),
        *(
            _values(name, one.settings.get(name, {}), other.settings.get(name, {}))
            for name in dict.fromkeys((*one.settings, *other.settings))
        ),
    ]
    return _text(one.title, other.title, sections)


def of_locks(one: Locked, other: Locked) -> str:
    """Return what differs between two states of the locks: the same lines together, whatever locks they are in."""
    moved = [
        move
        for lock in sorted({*one.packages, *other.packages})
        for move in _moves(lock, one.packages.get(lock, {}), other.packages.get(lock, {}), one, other)
    ]
    added, gone = ([*here.packages.keys() - there.packages.keys()] for here, there in ((other, one), (one, other)))
    sections = [
        _section(f"Packages: {_counted(moved)}", report(moved).splitlines()) if moved else "",
        _section("Locks that are new", sorted(added)) if added else "",
        _section("Locks that are gone", sorted(gone)) if gone else "",
        _values("containers/pins.toml", one.pins, other.pins),
    ]
    return _text(one.title, other.title, sections)


def _text(one: str, other: str, sections: Sequence[str]) -> str:
    said = [section for section in sections if section]
    return "\n\n".join((f"# {one} -> {other}", *(said or [NOTHING])))


def _section(title: str, lines: Sequence[str], rows: int = ROWS) -> str:
    """Return a section; of a table the two lines of its head do not count."""
    most = rows + (2 if lines[0].startswith("|") else 0)
    left = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join((f"## {title}", "", *lines[:most], *left))


def _moves(lock: str, before: Names, after: Names, one: Locked, other: Locked) -> list[Move]:
    sizes: dict[str, int | None] = {**one.sizes.get(lock, {}), **other.sizes.get(lock, {})}

    def size(name: str, versions: Names) -> int | None:
        return sizes.get(f"{name}=={versions[name]}") if name in versions else 0

    found = []
    for name in _different(before, after):
        old, new = size(name, before), size(name, after)
        change = None if old is None or new is None else new - old
        stem = lock.removeprefix("constraints/").removesuffix(".txt")
        found.append(Move(name=name, old=before.get(name), new=after.get(name), lock=stem, size=change))
    return found


def _different(before: Names, after: Names) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _counted(moved: Sequence[Move]) -> str:
    """Return how many packages came, went and moved, each once in whatever locks."""
    rows = {(move.name, move.old, move.new) for move in moved}
    added, removed = sum(old is None for _, old, _ in rows), sum(new is None for _, _, new in rows)
    return f"{added} added, {removed} removed, {len(rows) - added - removed} moved"


def _packages(kind: str, before: Names, after: Names) -> str:
    names = _different(before, after)
    if not names:
        return ""
    moved = [Move(name=name, old=before.get(name), new=after.get(name), lock="", size=None) for name in names]
    rows = [(move.name, move.old or ABSENT, move.new or ABSENT) for move in moved]
    return _section(f"{kind} packages: {_counted(moved)}", table(rows, ("package", "from", "to")).splitlines())


def _layers(one: ImageSize | None, other: ImageSize | None) -> str:
    if one is None or other is None:
        return _section("Layers", ["NOT COMPARED: the history of an image has not one line for each of its layers."])
    alike = {layer.content for layer in one.layers} & {layer.content for layer in other.layers}
    if all(layer.content in alike for size in (one, other) for layer in size.layers):
        return ""
    rows = [(layer.name, human(layer.unpacked), ABSENT) for layer in one.layers if layer.content not in alike]
    rows += [(layer.name, ABSENT, human(layer.unpacked)) for layer in other.layers if layer.content not in alike]
    shared = [layer for layer in one.layers if layer.content in alike]
    what = f"{len(shared)} in both, {human(sum(layer.unpacked for layer in shared))}"
    rows.append((what, "", ""))
    change = other.unpacked - one.unpacked
    sign = "+" if change >= 0 else "-"
    title = f"Layers: {human(one.unpacked)} -> {human(other.unpacked)} ({sign}{human(abs(change))}), uncompressed"
    return _section(title, table(rows, ("layer", "from", "to")).splitlines())


def _values(title: str, before: Names, after: Names) -> str:
    rows = [(name, _short(before.get(name)), _short(after.get(name))) for name in _different(before, after)]
    return _section(title, table(rows, ("", "from", "to")).splitlines()) if rows else ""


def _short(value: str | None) -> str:
    if value is None:
        return ABSENT
    line = " ".join(value.split()).replace("|", "\\|")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
