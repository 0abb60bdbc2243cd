"""What a wheel contains, as facts about one hash: files, native code, bundled libraries, what it would run.

The bytes of a hash never change, so what was read once stays true. The readers are in prepare/contents/wheel.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GRAFT = re.compile(r"(?:-[0-9a-f]{8})+(?=\.so)")
"""The part of a hash that auditwheel puts into the name of a library that it copies: `libx264-0b814221.so.165`."""


@dataclass(frozen=True, kw_only=True)
class WheelContent:
    """Content of one wheel."""

    filename: str
    unpacked: int
    """Bytes of all its files."""
    files: int
    pure: bool
    """Whether its WHEEL says that it has no native code (Root-Is-Purelib)."""
    complete: bool = False
    """Whether every byte was read and equals its RECORD; otherwise its table of contents was."""
    native: tuple[str, ...] = ()
    """Paths of its binaries and libraries."""
    libraries: tuple[str, ...] = ()
    """Those of them that are shared libraries, not extension modules of Python."""
    needed: tuple[str, ...] = ()
    """What its native code loads that it does not bring (DT_NEEDED); only of a wheel that was read completely."""
    machines: tuple[int, ...] = ()
    """e_machine of its native code; as far as headers were read."""
    startup: tuple[str, ...] = ()
    """Paths of its `.pth` files: each start of Python reads these and runs their lines."""
    scripts: tuple[str, ...] = ()
    """Names of the commands that it installs."""
    sboms: tuple[str, ...] = ()
    """Paths of its SBOMs (PEP 770)."""
    licenses: tuple[str, ...] = ()
    """Paths of its licence files."""
    license: str = ""
    """Its licence as its metadata says: an SPDX expression, or the older free text."""


def library_name(path: str) -> str:
    """Return the name of a library without folder, version and the hash of auditwheel: `libx264`."""
    return GRAFT.sub("", path.rpartition("/")[2]).partition(".so")[0]


def library_version(path: str) -> str:
    """Return the version in the name of a library: `165` of `libx264-0b814221.so.165`; '' for none."""
    return path.rpartition("/")[2].partition(".so")[2].removeprefix(".")
