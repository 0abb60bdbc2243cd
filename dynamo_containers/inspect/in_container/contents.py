"""Bytes of an image by package and file, printed as JSON by the image's own Python.

Only the standard library is available. The RECORD of a wheel lists its files
(https://packaging.python.org/en/latest/specifications/recording-installed-packages/), /var/lib/dpkg/info those of an OS
package. Other large files have a line each, other small files a line for their folder.
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
        root: the folder, without a slash at its end; '' is the whole image.
        mounted: mounted paths, which are not part of the image.
    """
    files = dict(_files(root, mounted))
    owners = _owners(root, files)
    sizes: dict[str, int] = {}
    for path, size in files.items():
        owner = owners.get(path) or owners.get(_source(path)) or f"file {_shown(path.removeprefix(root), size)}"
        sizes[owner] = sizes.get(owner, 0) + size
    return sizes


def _files(root: str, mounted: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield (path, bytes) of every file of the image; hard links count once."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root or "/"):
        place = folder.rstrip("/")
        folders[:] = [name for name in folders if f"{place}/{name}" not in mounted]
        for path in (f"{place}/{name}" for name in names if f"{place}/{name}" not in mounted):
            status = os.lstat(path)
            key = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and (status.st_nlink == 1 or key not in seen):
                seen.add(key)
                yield path, status.st_size


def _owners(root: str, files: Collection[str]) -> dict[str, str]:
    owners: dict[str, str] = {}
    # Where two packages have a path, the file of the last one by name stays (containers/bin/clashes).
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
    """Yield the real paths of the files of a Debian package: /lib is a link to /usr/lib."""
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123
        for line in lines:
            folder, _, name = line.rstrip("\n").rpartition("/")
            yield f"{_real(root + folder)}/{name}"


@cache
def _real(folder: str) -> str:
    return os.path.realpath(folder).rstrip("/")


def _source(path: str) -> str:
    """Return the module of compiled byte code: no RECORD lists byte code that is compiled after the installation."""
    match = BYTE_CODE.fullmatch(path)
    return f"{match['folder']}/{match['module']}.py" if match else ""


def _shown(path: str, size: int) -> str:
    return path if size >= SMALL else "/".join([*path.split("/")[:-1][: DEPTH + 1], "*"])


def _mounted() -> frozenset[str]:
    """Return the paths that the engine mounts into a container (proc_pid_mountinfo(5): the fifth field)."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:  # noqa: PTH123
        return frozenset(line.split()[4] for line in lines)


if __name__ == "__main__":
    print(json.dumps(contents("", _mounted())))
