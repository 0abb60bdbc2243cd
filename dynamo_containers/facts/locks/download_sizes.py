"""Download sizes of locked Python packages, as constraints/sizes.toml states them.

A size is that of the one file that the target takes: its best wheel, or the source archive of what is compiled for it.
`invoke lock` writes the file, and python_sizes_refresh says how; pip-compile's own files stay as it writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.locks.requirements import COMMAND, readable
from dynamo_containers.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile

SIZES_FILE = "constraints/sizes.toml"
HEAD = "# WRITTEN BY `invoke lock`: the bytes that a target downloads for each locked Python package. Do not edit.\n"
UNSTATED = "unstated"
REMEDY = f"Renew it with: {COMMAND} --only python"
NAMED = 3
"""How many packages a message names before it only counts them."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the file says; locks by the stem of their file, such as `common-debian-amd64`."""

    stated: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Lock -> `name==version` -> bytes."""
    unstated: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Lock -> the pins (`name==version`) for which the index states no size."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """What several locks download together."""

    size: int
    """In bytes; at least that much where something is unknown."""
    unknown: tuple[str, ...]
    """The pins that no size is known of."""


def stem(path: str) -> str:
    """Return the name under which the file has a lock."""
    return Path(path).stem


def load(folder: Path) -> Sizes:
    """Read the file below `folder`.

    Raises:
        LockError: there is none, or it breaks its rules: half of a merge, for example.
    """
    if not (folder / SIZES_FILE).is_file():
        message = f"{SIZES_FILE} is missing.\nMake it with: {COMMAND} --only python"
        raise LockError(message)
    try:
        table = Table.read(folder, SIZES_FILE)
        names = table.table(UNSTATED, optional=True)
        unstated = {name: names.strings(name) for name in names.keys_left()}
        rows = table.all_tables()
        stated = {name: {pin: row.integer(pin) for pin in row.keys_left()} for name, row in rows.items()}
    except UsageError as error:
        message = f"{str(error).splitlines()[0]}\nIt is not written by hand. {REMEDY}"
        raise LockError(message) from None
    return Sizes(stated=stated, unstated=unstated)


def read(folder: Path) -> Mapping[str, Mapping[str, int]]:
    """Return lock (the stem of its file) -> `name==version` -> bytes; what the index does not state is not there.

    Raises:
        LockError: the file is missing or breaks its rules.
    """
    return load(folder).stated


def render(sizes: Sizes) -> str:
    """Return the text of the file: one line per pin, so that what moved is what differs."""
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
    """Return the pins (`name==version`) of a lock's text that have no size; a size of another version is none."""
    known = sizes.get(stem(lock.path), {})
    return tuple(each.pin for each in readable(text) if each.pin not in known)


def total(texts: Mapping[str, str], sizes: Mapping[str, Mapping[str, int]]) -> Total:
    """Return what several locks download together; a file that some of them have alike counts once.

    Args:
        texts: path -> text of each lock.
        sizes: as `read` gives them.
    """
    files: set[tuple[str, int]] = set()
    unknown: dict[str, None] = {}
    for path, text in texts.items():
        known = sizes.get(stem(path), {})
        for each in readable(text):
            if each.pin in known:
                files.add((each.pin, known[each.pin]))
            else:
                unknown[each.pin] = None
    return Total(size=sum(size for _, size in files), unknown=tuple(sorted(unknown)))


def faults(every: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Say of which locks the file does not have what they pin, with what to run; offline, in milliseconds."""
    try:
        sizes = load(folder)
    except LockError as error:
        return (str(error),)
    texts = ((lock, folder / lock.path) for lock in every)
    found = (_fault(lock, sizes, file.read_text(encoding="utf-8")) for lock, file in texts if file.is_file())
    return tuple(fault for fault in found if fault)


def _fault(lock: LockFile, sizes: Sizes, text: str) -> str:
    name = stem(lock.path)
    pins = {each.pin for each in readable(text)}
    lacking = [pin for pin in missing(lock, sizes.stated, text) if pin not in sizes.unstated.get(name, ())]
    left = sorted({*sizes.stated.get(name, ()), *sizes.unstated.get(name, ())} - pins) if pins else []
    said = [
        *([f"has no size of {_named(lacking)}, which {lock.path} pins"] if lacking else []),
        *([f"has {_named(left)}, which {lock.path} does not pin"] if left else []),
    ]
    return f"{SIZES_FILE} {' and '.join(said)}.\n{REMEDY}" if said else ""


def _named(pins: Collection[str]) -> str:
    shown = list(pins)[:NAMED]
    rest = len(pins) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
