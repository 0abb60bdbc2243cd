"""Uncompressed bytes of a stream that is compressed by gzip, zstd or xz, with bounded memory."""

from __future__ import annotations

import gzip
import lzma
import zlib
from typing import Any, Protocol

BLOCK = 1 << 20
GZIP, ZSTD, XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00"
"""First bytes of a compressed stream (RFC 1952, RFC 8878, the .xz file format)."""
COMPRESSED = (GZIP, ZSTD, XZ)
LARGEST_WINDOW = 64 << 20
"""Bytes of memory that a stream may ask for. BuildKit's levels of zstd need 8 MB, `xz -9` needs 65."""


class Reader(Protocol):
    """A stream that is read from start to end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; b'' at the end."""


class PeekedReader:
    """A stream whose first bytes were read and are read again."""

    def __init__(self, start: bytes, stream: Reader) -> None:
        self._start, self._stream = start, stream

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        if self._start:
            block, self._start = self._start[:size], self._start[size:]
            return block
        return self._stream.read(size)


class _XzReader:
    """The uncompressed bytes of an xz stream; LZMAFile has no limit of memory."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._engine = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=LARGEST_WINDOW + (4 << 20))

    def read(self, size: int, /) -> bytes:
        while not self._engine.eof:
            packed = self._stream.read(BLOCK) if self._engine.needs_input else b""
            if not packed and self._engine.needs_input:
                message = "the compressed bytes end early"
                raise EOFError(message)
            if block := self._engine.decompress(packed, size):
                return block
        return b""


def read_fully(stream: Reader, size: int) -> bytes:
    """Return as many bytes, fewer only at the end."""
    content = b""
    while len(content) < size and (block := stream.read(size - len(content))):
        content += block
    return content


def decompressed(stream: Reader) -> Reader:
    """Return the uncompressed bytes of a stream; those of a stream that is not compressed are as they are."""
    start = read_fully(stream, max(len(magic) for magic in COMPRESSED))
    source: Any = PeekedReader(start, stream)
    if start.startswith(ZSTD):
        import zstandard  # a stream that is not compressed by it needs no import

        engine = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        zstd: Reader = engine.stream_reader(source, read_size=BLOCK, read_across_frames=True)
        return zstd
    if start.startswith(GZIP):
        return gzip.GzipFile(fileobj=source, mode="rb")
    return _XzReader(source) if start.startswith(XZ) else source


def errors() -> tuple[type[Exception], ...]:
    """Return the errors of damaged streams."""
    import zstandard  # as above

    return EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError
