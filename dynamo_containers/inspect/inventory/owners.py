"""Owner of each file of an image, from the lists in the image itself: dpkg's, and the RECORD of each wheel; pure.

`nox -s test-inventory` compares the owners with the inventory: what has no owner, or one that is not listed, is a gap.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from dynamo_containers.inspect.inventory.components import ComponentKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.inspect.inventory.components import ImageInventory

DPKG_LIST = re.compile(r"var/lib/dpkg/info/(?P<name>[^/:]+)(?::[a-z0-9]+)?\.list")
RECORD = re.compile(r"(?P<folder>.*?)(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info/RECORD")
CACHED = re.compile(r"__pycache__/(?P<name>[^/]+?)\.cpython-\d+(?:\.opt-\d)?\.pyc$")
MERGED = re.compile(r"(?:lib|lib32|lib64|libx32|bin|sbin)/")
"""Folders that are links to those in /usr; lists of dpkg may have the older path."""


def is_list(path: str) -> bool:
    """Return whether a file of an image lists the files of a package."""
    return bool(DPKG_LIST.fullmatch(path) or RECORD.fullmatch(path))


def owners(lists: Mapping[str, str], binaries: Mapping[str, str]) -> dict[str, str]:
    """Return path -> what owns it: `deb NAME`, `python NAME==VERSION` or `binary NAME`.

    Args:
        lists: path -> text of the files that list the files of packages; paths have no slash at their start.
        binaries: path -> name of the binaries that the image has beside packages.
    """
    owned = {path.removeprefix("/"): f"binary {name}" for path, name in binaries.items()}
    for path, text in lists.items():
        if match := DPKG_LIST.fullmatch(path):
            owned |= {_merged(line.removeprefix("/")): f"deb {match['name']}" for line in text.splitlines()}
        elif match := RECORD.fullmatch(path):
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            owned |= dict.fromkeys(_recorded(match["folder"], text), f"python {name}=={match['version']}")
    return owned


def _merged(path: str) -> str:
    return f"usr/{path}" if MERGED.match(path) else path


def _recorded(folder: str, text: str) -> Iterator[str]:
    for row in csv.reader(text.splitlines()):
        if row:
            parts: list[str] = []
            for part in f"{folder}{row[0]}".split("/"):  # `../../../bin/x` leaves site-packages
                if part == ".." and parts:
                    parts.pop()
                elif part != ".":
                    parts.append(part)
            yield "/".join(parts)


def owner_of(path: str, owned: Mapping[str, str]) -> str:
    """Return what owns a file; '' for nothing. Compiled modules belong to what has their source."""
    source = CACHED.sub(r"\g<name>.py", path)
    return owned.get(path) or owned.get(_merged(path)) or owned.get(source) or owned.get(_merged(source)) or ""


def unlisted(paths: Iterable[str], owned: Mapping[str, str], inventory: ImageInventory) -> dict[str, str]:
    """Return path -> its owner ('' for none), of the files that belong to nothing in the inventory."""
    listed = {_name(row.kind, row.name, row.version) for row in inventory.components if not row.inside}
    binaries = {row.name for row in inventory.components if row.kind in {ComponentKind.BINARY, ComponentKind.DEB}}
    result = {}
    for path in paths:
        owner = owner_of(path, owned)
        is_listed = owner in listed or owner.removeprefix("binary ") in binaries
        if not (owner and is_listed):
            result[path] = owner
    return result


def _name(kind: ComponentKind, name: str, version: str) -> str:
    return f"python {name}=={version}" if kind is ComponentKind.PYTHON else f"{kind.value} {name}"
