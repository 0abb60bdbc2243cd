"""Differences between two images or two states of the locks, as Markdown.

Markdown that is as readable at a terminal; a section only where something differs.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the types of the fields
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.download_sizes import lock_name
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import ABSENT, Move, moves_table, table
from dynamo_containers.inspect.explain import human

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from dynamo_containers.inspect.sizes.manifest import ImageSize

    Values: TypeAlias = Mapping[str, str]

ROWS = 100
"""How many rows of a table are shown."""
WIDTH = 80
"""How much of a value is shown, in characters."""
NO_DIFFERENCE = "No differences."
PINS = "containers/pins.toml"


@dataclass(frozen=True, kw_only=True)
class ImageContents:
    """Contents of an image."""

    title: str
    packages: Mapping[str, Values]
    """Kind, such as `Python` -> package -> version."""
    size: ImageSize | None
    """Uncompressed; None where its history does not match its layers."""
    settings: Mapping[str, Values]
    """Section, such as `Environment` -> name -> value."""


@dataclass(frozen=True, kw_only=True)
class LockContents:
    """Contents of some locks."""

    title: str
    packages: Mapping[str, Values]
    """The lock's path -> package -> version."""
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The lock's path -> `name==version` -> bytes of a download, as far as they are stated."""
    pins: Values = field(default_factory=dict)
    """Key of containers/pins.toml -> its value."""


@dataclass(frozen=True, kw_only=True)
class PackageMove:
    """A package that was added, removed, or has another version."""

    kind: str
    """`Python`, `OS` or `wheelhouse` of an image; of locks the path of the lock."""
    name: str
    before: str | None
    """Its version; null where it was added."""
    after: str | None
    """Its version; null where it was removed."""
    download_change: int | None = None
    """How many bytes more its download has; null of images, and where no size is stated."""


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """A layer that only one of two images has."""

    name: str
    before: int | None
    """Uncompressed bytes in the first image; null where it has no such layer."""
    after: int | None
    """Uncompressed bytes in the second image; null where it has no such layer."""


@dataclass(frozen=True, kw_only=True)
class LayerDifference:
    """Layers of two images."""

    before: int
    """Uncompressed bytes of the first image."""
    after: int
    """Uncompressed bytes of the second image."""
    shared_layers: int
    """How many layers of the first image the second one has too."""
    shared_bytes: int
    """Their uncompressed bytes."""
    changes: tuple[LayerChange, ...]


@dataclass(frozen=True, kw_only=True)
class ValueChange:
    """A setting or pin that differs."""

    section: str
    """`Environment`, `Start`, `Labels` or containers/pins.toml."""
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Answer of `invoke diff`."""

    kind: str
    """`images` or `locks`."""
    before: str
    """The first one, as it was named."""
    after: str
    """The second one, as it was named."""
    packages: tuple[PackageMove, ...]
    layers: LayerDifference | None
    """Null of locks, and where the history of an image does not match its layers."""
    settings: tuple[ValueChange, ...]
    added_locks: tuple[str, ...] = ()
    removed_locks: tuple[str, ...] = ()


def of_images(before: ImageContents, after: ImageContents) -> Difference:
    """Return what differs between two images."""
    return Difference(
        kind="images",
        before=before.title,
        after=after.title,
        packages=tuple(
            PackageMove(kind=kind, name=name, before=old, after=new)
            for kind, name, old, new in _changes(before.packages, after.packages)
        ),
        layers=_layers(before.size, after.size) if before.size and after.size else None,
        settings=_values(before.settings, after.settings),
    )


def of_locks(before: LockContents, after: LockContents) -> Difference:
    """Return what differs between two states of the locks."""
    return Difference(
        kind="locks",
        before=before.title,
        after=after.title,
        packages=tuple(
            _move(before, after, change)
            for change in _changes(dict(sorted(before.packages.items())), dict(sorted(after.packages.items())))
        ),
        layers=None,
        settings=_values({PINS: before.pins}, {PINS: after.pins}),
        added_locks=tuple(sorted(after.packages.keys() - before.packages.keys())),
        removed_locks=tuple(sorted(before.packages.keys() - after.packages.keys())),
    )


def _changes(
    before: Mapping[str, Values], after: Mapping[str, Values]
) -> Iterable[tuple[str, str, str | None, str | None]]:
    """Yield (section, name, before, after) of every value that differs."""
    for section in dict.fromkeys((*before, *after)):
        old, new = before.get(section, {}), after.get(section, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield section, name, old.get(name), new.get(name)


def _values(before: Mapping[str, Values], after: Mapping[str, Values]) -> tuple[ValueChange, ...]:
    return tuple(
        ValueChange(section=section, name=name, before=old, after=new)
        for section, name, old, new in _changes(before, after)
    )


def _move(before: LockContents, after: LockContents, change: tuple[str, str, str | None, str | None]) -> PackageMove:
    lock, name, old, new = change
    sizes = {**before.sizes.get(lock, {}), **after.sizes.get(lock, {})}
    old_size, new_size = (0 if version is None else sizes.get(f"{name}=={version}") for version in (old, new))
    more = None if old_size is None or new_size is None else new_size - old_size
    return PackageMove(kind=lock, name=name, before=old, after=new, download_change=more)


def _layers(before: ImageSize, after: ImageSize) -> LayerDifference:
    shared = {layer.content for layer in before.layers} & {layer.content for layer in after.layers}
    common = [layer for layer in before.layers if layer.content in shared]
    removed, added = ([layer for layer in size.layers if layer.content not in shared] for size in (before, after))
    return LayerDifference(
        before=before.unpacked,
        after=after.unpacked,
        shared_layers=len(common),
        shared_bytes=sum(layer.unpacked for layer in common),
        changes=(
            *(LayerChange(name=layer.name, before=layer.unpacked, after=None) for layer in removed),
            *(LayerChange(name=layer.name, before=None, after=layer.unpacked) for layer in added),
        ),
    )


def text(difference: Difference) -> str:
    """Return a difference as Markdown."""
    sections = [
        *(_lock_packages(difference) if difference.kind == "locks" else _image_packages(difference)),
        _layer_section(difference.layers) if difference.kind == "images" else "",
        *(_value_section(section, difference) for section in dict.fromkeys(row.section for row in difference.settings)),
    ]
    title = f"# {difference.before} -> {difference.after}"
    return "\n\n".join((title, *(list(filter(None, sections)) or [NO_DIFFERENCE])))


def _section(title: str, lines: Sequence[str], rows: int = ROWS) -> str:
    """Return a section; of a table the two lines of its head do not count."""
    most = rows + (2 if lines[0].startswith("|") else 0)
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join((f"## {title}", "", *lines[:most], *more))


def _lock_packages(difference: Difference) -> Iterable[str]:
    """Yield the sections about locks; a package that moves alike in several locks is a single row."""
    if difference.packages:
        moves = [
            Move(
                kind=LockKind.OS if lock_name(move.kind).startswith("os-") else LockKind.PYTHON,
                name=move.name,
                old=move.before,
                new=move.after,
                lock=lock_name(move.kind),
                size_change=move.download_change,
            )
            for move in difference.packages
        ]
        yield _section(f"Packages: {_counts(difference.packages)}", moves_table(moves).splitlines())
    if difference.added_locks:
        yield _section("New locks", difference.added_locks)
    if difference.removed_locks:
        yield _section("Removed locks", difference.removed_locks)


def _image_packages(difference: Difference) -> Iterable[str]:
    for kind in dict.fromkeys(move.kind for move in difference.packages):
        moves = [move for move in difference.packages if move.kind == kind]
        rows = [(move.name, move.before or ABSENT, move.after or ABSENT) for move in moves]
        lines = table(rows, ("package", "from", "to")).splitlines()
        yield _section(f"{kind} packages: {_counts(moves)}", lines)


def _counts(moves: Iterable[PackageMove]) -> str:
    """Return how many packages were added, removed and moved; each counts once, whatever locks it is in."""
    rows = {(move.name, move.before, move.after) for move in moves}
    added, removed = sum(old is None for _, old, _ in rows), sum(new is None for _, _, new in rows)
    return f"{added} added, {removed} removed, {len(rows) - added - removed} moved"


def _layer_section(layers: LayerDifference | None) -> str:
    if layers is None:
        return _section("Layers", ["NOT COMPARED: the history of an image does not have one line for each layer."])
    if not layers.changes:
        return ""
    rows = [(change.name, _bytes(change.before), _bytes(change.after)) for change in layers.changes]
    rows.append((f"{layers.shared_layers} in both, {human(layers.shared_bytes)}", "", ""))
    growth = layers.after - layers.before
    sign = "+" if growth >= 0 else "-"
    title = f"Layers: {human(layers.before)} -> {human(layers.after)} ({sign}{human(abs(growth))}), uncompressed"
    return _section(title, table(rows, ("layer", "from", "to")).splitlines())


def _bytes(size: int | None) -> str:
    return ABSENT if size is None else human(size)


def _value_section(section: str, difference: Difference) -> str:
    rows = [
        (change.name, _short(change.before), _short(change.after))
        for change in difference.settings
        if change.section == section
    ]
    return _section(section, table(rows, ("", "from", "to")).splitlines())


def _short(value: str | None) -> str:
    if value is None:
        return ABSENT
    line = " ".join(value.split()).replace("|", "\\|")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
