"""Bytes of an image by package and file; run inside the image by its own Python, prints JSON.

Nothing but the standard library is there. What wheels installed stands in their RECORD
(https://packaging.python.org/en/latest/specifications/recording-installed-packages/), what dpkg installed in the lists
of /var/lib/dpkg/info. A file that neither names has its own line, or with small ones that of its folder.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

SMALL = 10**6
"""Files below this many bytes are counted with their folder."""
DEPTH = 3
"""How many parts the name of such a folder has."""
DPKG = "var/lib/dpkg/info"
DIST_INFO = re.compile(r"(?P<name>.+?)-[^-]+\.dist-info")
BYTE_CODE = re.compile(r"(?P<folder>.*)/__pycache__/(?P<module>[^/]+?)\.[^./]+(?:\.opt-\d)?\.pyc")


def contents(root: str, mounted: Collection[str] = ()) -> dict[str, int]:
    """Return `python NAME`, `os NAME` or `file PATH` (from `root`, a folder with a star) -> the bytes of its files.

    Args:
        root: the folder to look at, without a slash at its end: '' is the whole image.
        mounted: paths that are not the image's own.
    """
    files = dict(_files(root, mounted))
    owners = _owners(root, files)
    found: dict[str, int] = {}
    for path, size in files.items():
        owner = owners.get(path) or owners.get(_source(path)) or f"file {_shown(path.removeprefix(root), size)}"
        found[owner] = found.get(owner, 0) + size
    return found


def _files(root: str, mounted: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield (path, bytes) of every file of the image; one of several names counts once."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root or "/"):
        place = folder.rstrip("/")
        folders[:] = [name for name in folders if f"{place}/{name}" not in mounted]
        for path in (f"{place}/{name}" for name in names if f"{place}/{name}" not in mounted):
            said = os.lstat(path)
            key = (said.st_dev, said.st_ino)
            if stat.S_ISREG(said.st_mode) and (said.st_nlink == 1 or key not in seen):
                seen.add(key)
                yield path, said.st_size


def _owners(root: str, files: Collection[str]) -> dict[str, str]:
    owners: dict[str, str] = {}
    # Of a path that two packages have, the last one's file stays, by name (containers/bin/clashes).
    for path in sorted(path for path in files if path.endswith(("/RECORD", ".list"))):
        folder, _, name = path.rpartition("/")
        if name == "RECORD" and (match := DIST_INFO.fullmatch(folder.rpartition("/")[2])):
            owner = "python " + re.sub(r"[-_.]+", "-", match["name"]).lower()
            owners |= dict.fromkeys(_recorded(path), owner)
        elif folder == f"{root}/{DPKG}" and name.endswith(".list"):
            owner = "os " + name.removesuffix(".list").partition(":")[0]
            owners |= dict.fromkeys(_listed(root, path), owner)
    return owners


def _recorded(record: str) -> Iterator[str]:
    place = os.path.dirname(os.path.dirname(record))  # noqa: PTH120 - a hundred thousand paths
    with open(record, encoding="utf-8", newline="") as file:  # noqa: PTH123
        for row in csv.reader(file):
            yield os.path.normpath(f"{place}/{row[0]}")


def _listed(root: str, file: str) -> Iterator[str]:
    """Yield what a package of Debian has, where it really is: /lib is a link to /usr/lib."""
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123
        for line in lines:
            folder, _, name = line.rstrip("\n").rpartition("/")
            yield f"{_real(root + folder)}/{name}"


@cache
def _real(folder: str) -> str:
    return os.path.realpath(folder).rstrip("/")


def _source(path: str) -> str:
    """Return the module that byte code was compiled from: no RECORD has what is compiled after an installation."""
    match = BYTE_CODE.fullmatch(path)
    return f"{match['folder']}/{match['module']}.py" if match else ""


def _shown(path: str, size: int) -> str:
    return path if size >= SMALL else "/".join([*path.split("/")[:-1][: DEPTH + 1], "*"])


def _mounted() -> frozenset[str]:
    """Return what the engine mounts into a container (proc_pid_mountinfo(5): the fifth field)."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:  # noqa: PTH123
        return frozenset(line.split()[4] for line in lines)


if __name__ == "__main__":
    print(json.dumps(contents("", _mounted())))
