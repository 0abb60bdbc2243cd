"""Download sizes of locked Python packages, as constraints/sizes.toml states them.

A size is that of the one file that the target downloads: its best wheel, or the source archive where it is compiled.
`invoke lock` writes the file (lock/python/sizes.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.requirements import COMMAND, read_if_valid
from dynamo_containers.toml_table import Table
from dynamo_containers.value_types import LOCK_NAME, LOCKED_PIN, SIZE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile

SIZES_FILE = "constraints/sizes.toml"
HEAD = "# WRITTEN BY `invoke lock`: the bytes that a target downloads for each locked Python package. Do not edit.\n"
UNSTATED = "unstated"
REMEDY = f"Update it with: {COMMAND} --only python"
AUTHOR = file_reader.tool(f"{COMMAND} --only python")
NAMED_PINS = 3
"""Pins that a message names before it counts the rest."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Content of the file, by the name of the lock, such as `common-debian-amd64`."""

    stated: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Lock -> `name==version` -> bytes."""
    unstated: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Lock -> the pins (`name==version`) for which the index states no size."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """Download size of several locks together."""

    size: int
    """In bytes; a lower bound where sizes are unknown."""
    unknown: tuple[str, ...]
    """Pins whose size is unknown."""


def lock_name(path: str) -> str:
    """Return the name under which this file and messages show a lock."""
    return Path(path).stem


def load(folder: Path) -> Sizes:
    """Read the file below `folder`.

    Raises:
        LockError: it is missing or invalid, for example in the middle of a merge.
    """
    if not os.path.lexists(folder / SIZES_FILE):
        message = f"{SIZES_FILE} is missing.\nCreate it with: {COMMAND} --only python"
        raise LockError(message)
    table = Table.read(folder, SIZES_FILE, AUTHOR)
    names = table.table(UNSTATED, optional=True).check_names(LOCK_NAME)
    unstated = {name: names.texts(name, LOCKED_PIN) for name in names.keys_left()}
    rows = table.check_names(LOCK_NAME).all_tables()
    stated = {name: _stated(row) for name, row in rows.items()}
    return Sizes(stated=stated, unstated=unstated)


def _stated(row: Table) -> dict[str, int]:
    return {pin: row.number(pin, SIZE) for pin in row.check_names(LOCKED_PIN).keys_left()}


def read(folder: Path) -> Mapping[str, Mapping[str, int]]:
    """Return the stated sizes: name of the lock -> `name==version` -> bytes.

    Raises:
        LockError: the file is missing or invalid.
    """
    return load(folder).stated


def render(sizes: Sizes) -> str:
    """Return the text of the file: one line per pin, so that a move is a small diff."""
    tables = [
        f"\n[{name}]\n" + "".join(f'"{pin}" = {size}\n' for pin, size in sorted(rows.items()))
        for name, rows in sorted(sizes.stated.items())
    ]
    lists = [
        f"{name} = [\n" + "".join(f'    "{pin}",\n' for pin in sorted(pins)) + "]\n"
        for name, pins in sorted(sizes.unstated.items())
        if pins
    ]
    unstated = ["\n# The index states no size of these.\n", f"[{UNSTATED}]\n", *lists] if lists else []
    return "".join((HEAD, *tables, *unstated))


def missing(lock: LockFile, sizes: Mapping[str, Mapping[str, int]], text: str) -> tuple[str, ...]:
    """Return the pins (`name==version`) of a lock's text whose size is missing."""
    stated = sizes.get(lock_name(lock.path), {})
    return tuple(package.pin for package in read_if_valid(text) if package.pin not in stated)


def total(texts: Mapping[str, str], sizes: Mapping[str, Mapping[str, int]]) -> Total:
    """Return the download size of several locks; a file that several of them pin counts once.

    Args:
        texts: path -> text of each lock.
        sizes: the result of `read`.
    """
    files: set[tuple[str, int]] = set()
    unknown: dict[str, None] = {}
    for path, text in texts.items():
        stated = sizes.get(lock_name(path), {})
        for package in read_if_valid(text):
            if package.pin in stated:
                files.add((package.pin, stated[package.pin]))
            else:
                unknown[package.pin] = None
    return Total(size=sum(size for _, size in files), unknown=tuple(sorted(unknown)))


def faults(locks: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Return a message for each lock whose pins and sizes do not match; offline, in milliseconds."""
    try:
        sizes = load(folder)
    except LockError as error:
        return (str(error),)
    files = ((lock, folder / lock.path) for lock in locks)
    # A lock that cannot be read is a fault of its own, which is not repeated here.
    texts = ((lock, file_reader.cached_text(file)) for lock, file in files)
    messages = (_fault(lock, sizes, text) for lock, text in texts if text is not None)
    return tuple(message for message in messages if message)


def _fault(lock: LockFile, sizes: Sizes, text: str) -> str:
    name = lock_name(lock.path)
    pins = {package.pin for package in read_if_valid(text)}
    absent = [pin for pin in missing(lock, sizes.stated, text) if pin not in sizes.unstated.get(name, ())]
    surplus = sorted({*sizes.stated.get(name, ()), *sizes.unstated.get(name, ())} - pins) if pins else []
    complaints = [
        *([f"has no size of {_first_pins(absent)}, which {lock.path} pins"] if absent else []),
        *([f"has {_first_pins(surplus)}, which {lock.path} does not pin"] if surplus else []),
    ]
    return f"{SIZES_FILE} {' and '.join(complaints)}.\n{REMEDY}" if complaints else ""


def _first_pins(pins: Collection[str]) -> str:
    shown = list(pins)[:NAMED_PINS]
    rest = len(pins) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
