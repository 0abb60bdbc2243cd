"""Small ELF files and wheels, written byte by byte, so that tests need no compiler for either machine."""

from __future__ import annotations

import base64
import hashlib
import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

X86_64, AARCH64 = 62, 183
FFMPEG = "--disable-static --enable-shared --prefix=/tmp/vendor --enable-version3 --enable-libx264 --disable-libxml2"


def elf(
    soname: str = "", needed: tuple[str, ...] = (), text: str = "", machine: int = X86_64, padding: int = 0
) -> bytes:
    """Return a 64-bit shared library: its header, two program headers, names, dynamic section, text."""
    names, offsets = b"\0", []
    for name in (soname, *needed):
        offsets.append(len(names))
        names += name.encode() + b"\0"
    strings = 64 + 2 * 56
    tags = [(5, strings), *((1, offset) for offset in offsets[1:]), *([(14, offsets[0])] if soname else []), (0, 0)]
    dynamic = struct.pack("<" + "qQ" * len(tags), *(number for tag in tags for number in tag))
    start = strings + len(names)
    content = names + dynamic + b"\0" * (padding + 1) + text.encode() + b"\0"
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, strings + len(content), strings + len(content), 4096)
    segment = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    return header + load + segment + content


def wheel(
    folder: Path, files: Mapping[str, bytes], *, name: str = "toy", version: str = "1", pure: bool = True
) -> Path:
    """Write a wheel with these files, and with a WHEEL, a METADATA and a true RECORD unless they are among them."""
    metadata = f"{name}-{version}.dist-info"
    contents = {
        f"{metadata}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: {str(pure).lower()}\n".encode(),
        f"{metadata}/METADATA": f"Name: {name}\nVersion: {version}\nLicense-Expression: MIT\n".encode(),
        **files,
    }
    contents.setdefault(f"{metadata}/RECORD", record(contents, f"{metadata}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in contents.items():
            archive.writestr(member, content)
    return path


def record(contents: Mapping[str, bytes], own_path: str) -> bytes:
    """Return the RECORD of files."""
    lines = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in contents.items()]
    return "\n".join([*lines, f"{own_path},,"]).encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
