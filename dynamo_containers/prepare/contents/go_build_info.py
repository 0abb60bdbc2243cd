"""Modules of a Go binary, from the build information that the Go linker writes into it (debug/buildinfo).

Since Go 1.18 the text is in the binary itself; older binaries have pointers to it and give none. Distributions may
build without it, as Debian does for NATS and etcd: such a binary gives none either.
Format: src/debug/buildinfo/buildinfo.go of Go.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from packageurl import PackageURL

from dynamo_containers.facts.locks.contents import ListedComponent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"\xff Go buildinf:"
"""Start of the build information, which is aligned to 16 bytes."""
ALIGNMENT, HEADER_BYTES, INLINE = 16, 32, 2
"""Bytes of alignment and of the header; the flag of texts that follow the header itself."""
SENTINEL = 16
"""Bytes of a mark before and after the text about modules."""
MOST_TEXT = 16 << 20


def go_modules(path: Path) -> tuple[ListedComponent, ...]:
    """Return the modules of a binary, and Go's standard library as one; none where it has no build information."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return ()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            version, text = _texts(content)
    return tuple(sorted({ListedComponent(purl=purl) for purl in _purls(version, text)}))


def _texts(content: mmap.mmap) -> tuple[str, str]:
    at = content.find(MAGIC)
    while at >= 0 and at % ALIGNMENT:
        at = content.find(MAGIC, at + 1)
    if at < 0 or at + HEADER_BYTES > len(content) or not content[at + 15] & INLINE:
        return "", ""
    version, at = _string(content, at + HEADER_BYTES)
    modules, _ = _string(content, at)
    is_marked = len(modules) > 2 * SENTINEL and modules[-SENTINEL - 1 : -SENTINEL] == b"\n"
    text = modules[SENTINEL:-SENTINEL] if is_marked else b""
    return version.decode("utf-8", "replace"), text.decode("utf-8", "replace")


def _string(content: mmap.mmap, at: int) -> tuple[bytes, int]:
    """Return a text with its length before it, as a varint, and where it ends; b'' for a length that cannot be."""
    length = shift = 0
    for at in range(at, min(at + 10, len(content))):  # noqa: B020, PLR1704 - the position moves on
        length |= (content[at] & 0x7F) << shift
        shift += 7
        if not content[at] & 0x80:
            break
    start = at + 1
    if length > MOST_TEXT or start + length > len(content):
        return b"", start
    return content[start : start + length], start + length


def _purls(version: str, text: str) -> Iterator[str]:
    number = version.partition(" ")[0].removeprefix("go")
    if number[:1].isdigit():
        yield PackageURL("golang", None, "stdlib", number).to_string()
    rows = [row for line in text.splitlines() if len(row := line.split("\t")) >= FIELDS]
    for row, following in zip(rows, [*rows[1:], [""]], strict=False):
        # `=>` replaces the module of the line before it.
        is_module = row[0] in {"mod", "dep"} and following[0] != "=>"
        if is_module or row[0] == "=>":
            yield _module(row[1], row[2])


FIELDS = 3
"""Kind of line, path and version of a module."""


def _module(path: str, version: str) -> str:
    namespace, _, name = path.rpartition("/")
    # The purl type's definition wants lower case.
    return PackageURL("golang", namespace.lower() or None, name.lower(), version.strip("()")).to_string()
