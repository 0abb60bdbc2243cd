"""Reader of ELF files as a stream: the machine, the names of libraries, and texts that fit patterns.

A file is fed block by block and is never in memory as a whole: a library of an inference engine has a GB. The tables
of names are near the start or the end of a file (auditwheel and patchelf append them), so both ends are kept. Where a
table is elsewhere, the names are unknown and the rest is still read. The format: System V ABI, chapters 4 and 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

MAGIC = b"\x7fELF"
HEAD_BYTES, TAIL_BYTES = 16 << 20, 8 << 20
"""Bytes at the start and at the end of a file that are kept."""
LONGEST_TEXT = 8192
"""Bytes of a text around an anchor that are matched. The configuration of an FFmpeg has about 2000."""
MOST_TEXTS = 16
"""Texts of a file that are kept per pattern."""
DYNAMIC, LOAD = 2, 1
"""Types of a program header: PT_DYNAMIC, PT_LOAD."""
NEEDED, STRTAB, SONAME = 1, 5, 14
"""Tags of the dynamic section: DT_NEEDED, DT_STRTAB, DT_SONAME."""
MOST_HEADERS, MOST_TAGS = 512, 65536
"""Program headers and entries of a dynamic section that are read; a file with more is damaged."""


@dataclass(frozen=True, kw_only=True)
class TextPattern:
    """A text that is looked for in a binary."""

    name: str
    anchor: bytes
    """A part of the text that is always the same and rare; it is found fast, and the pattern is tried around it."""
    pattern: re.Pattern[bytes]
    """Tried on the whole text around the anchor: the printable bytes between two others."""


@dataclass(frozen=True, kw_only=True)
class ElfFile:
    """What a binary says about itself."""

    machine: int
    """e_machine: 62 for x86-64, 183 for AArch64."""
    soname: str = ""
    """The name by which others load it; '' for none, or where the table of names was not kept."""
    needed: tuple[str, ...] = ()
    """The libraries that it loads."""
    texts: tuple[tuple[str, str], ...] = ()
    """(name of a pattern, the text that fits it)."""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the numbers of a file are written."""

    order: str
    wide: bool

    def unpack(self, form: str, content: bytes, offset: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, content, offset)


@dataclass(frozen=True, kw_only=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


@dataclass(kw_only=True)
class TextSearch:
    """Search of a stream for texts; a text may span blocks, and is matched when all of it was read."""

    patterns: tuple[TextPattern, ...]
    texts: dict[tuple[str, str], None] = field(default_factory=dict)
    _rest: bytes = b""
    _start: int = 0
    """Position in `_rest` from which on no anchor was looked for."""

    def feed(self, block: bytes) -> None:
        """Search the next block."""
        content = self._rest + block
        end = max(self._start, len(content) - LONGEST_TEXT)
        self._find(content, end)
        cut = max(0, end - LONGEST_TEXT)
        self._rest, self._start = content[cut:], end - cut

    def finish(self) -> tuple[tuple[str, str], ...]:
        """Return (name of a pattern, text) of all that was found."""
        self._find(self._rest, len(self._rest))
        return tuple(self.texts)

    def _find(self, content: bytes, end: int) -> None:
        """Match the texts around the anchors that begin before `end`."""
        for anchor in {pattern.anchor for pattern in self.patterns}:
            position = content.find(anchor, self._start, end + len(anchor) - 1)
            while position >= 0:
                start, text = text_around(content, position)
                self._match(anchor, text)
                position = content.find(anchor, max(start + len(text), position + 1), end + len(anchor) - 1)

    def _match(self, anchor: bytes, text: bytes) -> None:
        for pattern in self.patterns:
            if pattern.anchor == anchor and pattern.pattern.search(text) and len(self.texts) < MOST_TEXTS:
                self.texts[pattern.name, text.decode("ascii", "replace")] = None


def text_around(content: bytes, position: int) -> tuple[int, bytes]:
    """Return the start, and the printable bytes around a position, as `strings` would print them."""
    start = max(0, position - LONGEST_TEXT)
    before = content[start:position]
    cut = max((index for index in range(len(before) - 1, -1, -1) if not _is_printable(before[index])), default=-1)
    begin = start + cut + 1
    after = content[position : position + LONGEST_TEXT]
    end = next((index for index, byte in enumerate(after) if not _is_printable(byte)), len(after))
    return begin, content[begin : position + end]


def _is_printable(byte: int) -> bool:
    return 32 <= byte < 127 or byte == 9  # noqa: PLR2004 - ASCII, and the tabulator


class ElfStream:
    """A file that is read as a stream of blocks."""

    def __init__(self, patterns: Iterable[TextPattern] = ()) -> None:
        self._search = TextSearch(patterns=tuple(patterns))
        self._head, self._tail, self._size = bytearray(), bytearray(), 0

    def feed(self, block: bytes) -> None:
        """Read the next block; the blocks have any size."""
        if self._search.patterns:
            self._search.feed(block)
        room = HEAD_BYTES - len(self._head)
        if room > 0:
            self._head += block[:room]
        if len(block) > room:
            self._tail += block[max(room, 0) :]
            del self._tail[:-TAIL_BYTES]
        self._size += len(block)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return (name of a pattern, text) of all that was found, also in a file that is no ELF file."""
        return self._search.finish()

    def finish(self) -> ElfFile | None:
        """Return what the file says; None where it is no ELF file."""
        header = bytes(self._head[:64])
        if not header.startswith(MAGIC) or len(header) < 52:  # noqa: PLR2004 - bytes of the shorter header
            return None
        layout = _Layout(order=">" if header[5] == 2 else "<", wide=header[4] == 2)  # noqa: PLR2004 - ELFDATA2MSB, ELFCLASS64
        (machine,) = layout.unpack("H", header, 18)
        try:
            soname, needed = self._names(layout, header)
        except (struct.error, IndexError, OverflowError):  # a damaged table
            soname, needed = "", ()
        return ElfFile(machine=machine, soname=soname, needed=needed, texts=self.texts())

    def _read(self, offset: int, size: int) -> bytes:
        """Return bytes of the file, fewer where they were not kept."""
        if offset < len(self._head):
            return bytes(self._head[offset : offset + size])
        start = self._size - len(self._tail)
        return bytes(self._tail[offset - start : offset - start + size]) if offset >= start else b""

    def _names(self, layout: _Layout, header: bytes) -> tuple[str, tuple[str, ...]]:
        segments = self._segments(layout, header)
        dynamic = next((segment for segment in segments if segment.kind == DYNAMIC), None)
        if dynamic is None:
            return "", ()
        step = 16 if layout.wide else 8
        content = self._read(dynamic.offset, min(dynamic.size, MOST_TAGS * step))
        form = "qQ" if layout.wide else "iI"
        tags = [layout.unpack(form, content, start) for start in range(0, len(content) - step + 1, step)]
        table = next((value for tag, value in tags if tag == STRTAB), 0)
        offset = next(
            (
                segment.offset + table - segment.address
                for segment in segments
                if segment.kind == LOAD and segment.address <= table < segment.address + segment.size
            ),
            -1,
        )
        if offset < 0:
            return "", ()
        soname = next((self._text(offset + value) for tag, value in tags if tag == SONAME), "")
        return soname, tuple(self._text(offset + value) for tag, value in tags if tag == NEEDED)

    def _segments(self, layout: _Layout, header: bytes) -> list[_Segment]:
        start = layout.unpack("Q", header, 32)[0] if layout.wide else layout.unpack("I", header, 28)[0]
        size, count = layout.unpack("HH", header, 54 if layout.wide else 42)
        content = self._read(start, size * min(count, MOST_HEADERS))
        segments = []
        for number in range(min(count, MOST_HEADERS)):
            if layout.wide:
                kind, _, offset, address, _, length = layout.unpack("IIQQQQ", content, number * size)
            else:
                kind, offset, address, _, length = layout.unpack("IIIII", content, number * size)
            segments.append(_Segment(kind=kind, offset=offset, address=address, size=length))
        return segments

    def _text(self, offset: int) -> str:
        return self._read(offset, 512).partition(b"\0")[0].decode("utf-8", "replace")
