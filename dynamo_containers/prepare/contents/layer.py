"""Check of one layer of an image as a stream: what of its files the rules deny.

Nothing of a layer is written to the disk under a name, and no file of it is in memory as a whole: a layer of 10 GB
needs as much memory as one of 10 MB. Archives in a layer are read too (wheels, zip, jar, tar, deb, static libraries),
to a depth and a number of bytes; one that cannot be read is a finding, because what was not checked has not passed.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.content import FOREIGN, SETUID, STARTUP, UNREADABLE
from dynamo_containers.prepare.contents import compression, elf
from dynamo_containers.prepare.contents.compression import COMPRESSED, PeekedReader, decompressed, read_fully
from dynamo_containers.prepare.contents.elf import ElfStream, TextPattern
from dynamo_containers.prepare.contents.wheel import WheelError, refuse_bombs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.facts.content import ContentRules
    from dynamo_containers.prepare.contents.compression import Reader

BLOCK = 1 << 20
ZIP, AR, TAR_MAGIC, TAR_OFFSET = b"PK\x03\x04", b"!<arch>\n", b"ustar", 257
OTHER_BINARIES = (b"MZ", b"\xcf\xfa\xed\xfe")
"""First bytes of native code of other systems (PE, Mach-O): it cannot run, but it is published."""
MOST_NESTED, DEEPEST = 8 << 30, 3
"""Bytes that one archive in a layer may unpack to, and how deep archives in archives are read."""
MOST_HEADER = 1 << 20
"""Bytes of an extended header of a tar: a path. A larger one would fill the memory."""
PACKAGES = re.compile(r"(?:^|/)(?:site|dist)-packages/[^/]+\.pth$")
STARTUP_NAMES = ("sitecustomize.py", "usercustomize.py")
"""Modules that Python imports at each start, wherever they are on its path."""
DEVICES = frozenset({190, 224, 247})
"""e_machine of code that no processor of a host runs: NVIDIA's cubins, AMD's code objects, BPF objects."""
SHOWN = 200
"""Characters of evidence."""


class LayerError(Exception):
    """An archive is not what its first bytes say; the message is a reason."""


@dataclass(frozen=True, kw_only=True)
class DeniedFile:
    """A file that a rule denies."""

    path: str
    """In the image, without a leading slash; `ARCHIVE!/PATH` for a file of an archive."""
    rule: str
    evidence: str
    """What was seen: a name, a text in the file, a number of a header."""


@dataclass(frozen=True, kw_only=True)
class LayerContent:
    """What was read of a layer."""

    digest: str
    """Digest of its bytes, as they are in the file."""
    content: str
    """Digest of its uncompressed bytes; '' where it was not computed."""
    files: int
    unpacked: int
    binaries: int
    """ELF files, also in archives."""
    denied: tuple[DeniedFile, ...]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What is looked for, ready for a stream."""

    names: tuple[tuple[str, re.Pattern[str]], ...]
    """(rule, pattern of a name)."""
    texts: tuple[TextPattern, ...]
    machine: int
    """e_machine of the platform."""

    def denied_name(self, name: str) -> str:
        """Return the rule that denies the name of a file or a library; '' for none."""
        lower = name.lower()
        return next((rule for rule, pattern in self.names if pattern.match(lower)), "")

    def matched_text(self, rule: str, text: str) -> str:
        """Return the part of a text for which a rule denies it."""
        matches = (row.pattern.search(text.encode()) for row in self.texts if row.name == rule)
        return next((match.group().decode() for match in matches if match), "")


def scan_of(rules: ContentRules, machine: int) -> Scan:
    """Return what is looked for in the layers of a platform."""
    names = (
        (rule, re.compile(translate(pattern.lower()))) for rule, row in rules.denied.items() for pattern in row.files
    )
    return Scan(names=tuple(names), texts=tuple(_text_patterns(rules)), machine=machine)


def _text_patterns(rules: ContentRules) -> Iterator[TextPattern]:
    """Yield a pattern per rule and anchor: options share the beginning `--enable-`, so they are found in one pass."""
    groups: dict[tuple[str, bytes], list[bytes]] = {}
    for rule, row in rules.denied.items():
        for text in row.texts:
            anchor = text[: len("--enable-")].encode()
            groups.setdefault((rule, anchor), []).append(text.encode())
    for (rule, anchor), texts in groups.items():
        pattern = re.compile(b"|".join(re.escape(text) for text in texts))
        yield TextPattern(name=rule, anchor=anchor, pattern=pattern)


class HashingReader:
    """A stream that hashes the bytes read from it, and knows how many they are."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        block = self._stream.read(size)
        self.sha256.update(block)
        self.size += len(block)
        return block

    def finish(self) -> str:
        """Read the rest, and return the digest of everything."""
        while self.read(BLOCK):
            pass
        return f"sha256:{self.sha256.hexdigest()}"


class _Limited:
    """A stream that ends with an error after as many bytes: the unpacked content of an archive."""

    def __init__(self, stream: Reader, most: int) -> None:
        self._stream, self._left, self._most = stream, most, most

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            message = f"it unpacks to more than {self._most} bytes: an archive bomb"
            raise LayerError(message)
        return block


def unpack_errors() -> tuple[type[Exception], ...]:
    """Return the errors of archives that are damaged or not what they say."""
    others = (NotImplementedError, RuntimeError, ValueError)  # of zipfile: a method, a password, a header
    return (LayerError, WheelError, tarfile.TarError, zipfile.BadZipFile, *compression.errors(), *others)


def scan_layer(stream: Reader, scan: Scan) -> LayerContent:
    """Return what the rules deny in a layer.

    Args:
        stream: the bytes of the layer as a registry has them: a tar, plain or compressed by gzip or zstd.
        scan: what is looked for.

    Raises:
        LayerError: it cannot be read to its end.
    """
    walk = _Walk(scan)
    packed = HashingReader(stream)
    try:
        unpacked = HashingReader(decompressed(packed))
        walk.tar(unpacked, "", DEEPEST)
        content = unpacked.finish()
    except unpack_errors() as error:
        raise LayerError(str(error) or type(error).__name__) from None
    return LayerContent(
        digest=packed.finish(),
        content=content,
        files=walk.files,
        unpacked=unpacked.size,
        binaries=walk.binaries,
        denied=tuple(walk.denied),
    )


class _BoundedMember(tarfile.TarInfo):
    """A member whose extended header is not larger than a path needs: tarfile reads such a header into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedMember:
        member = super().frombuf(buf, encoding, errors)
        is_header = member.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        is_name = member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if (is_header or is_name) and member.size > MOST_HEADER:
            message = f"a header of {member.size} bytes"
            raise LayerError(message)
        return member


class _Walk:
    """The files of a layer, one after the other; only what is denied is kept."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.files = self.binaries = 0
        self.denied: dict[DeniedFile, None] = {}

    def deny(self, path: str, rule: str, evidence: str) -> None:
        self.denied[DeniedFile(path=path, rule=rule, evidence=evidence[:SHOWN])] = None

    def tar(self, stream: Reader, place: str, depth: int) -> None:
        source: Any = stream
        with tarfile.open(fileobj=source, mode="r|", bufsize=BLOCK, tarinfo=_BoundedMember) as archive:
            members: list[tarfile.TarInfo] = archive.members  # type: ignore[attr-defined] # that of `getmembers`
            while (member := archive.next()) is not None:
                members.clear()  # tarfile keeps them all, and a layer has up to 200,000
                self.files += 1
                path = place + member.name.removeprefix("./").strip("/")
                self.startup(path)
                if member.issym() or member.islnk():
                    self.name(path)
                if not member.isdir() and not member.issym() and member.mode & (stat.S_ISUID | stat.S_ISGID):
                    self.deny(path, SETUID, f"mode {member.mode:04o}")
                if member.isreg() and member.size and (content := archive.extractfile(member)):
                    self.file(content, path, depth)

    def name(self, path: str) -> None:
        """Check the name of a binary or a link; the sources of FFmpeg have a libx264.c."""
        name = path.rpartition("/")[2]
        if rule := self.scan.denied_name(name):
            self.deny(path, rule, f"the name {name}")

    def startup(self, path: str) -> None:
        name = path.rpartition("/")[2]
        if name in STARTUP_NAMES or (name.endswith(".pth") and PACKAGES.search(path)):
            self.deny(path, STARTUP, f"the name {name}")

    def file(self, stream: Reader, path: str, depth: int) -> None:
        start = read_fully(stream, tarfile.BLOCKSIZE)
        content = PeekedReader(start, stream)
        if start.startswith((elf.MAGIC, *OTHER_BINARIES)):
            self.binary(content, path)
        elif _is_archive(start, path):
            try:
                self.archive(start, content, path, depth)
            except unpack_errors() as error:
                self.deny(path, UNREADABLE, str(error).partition("\n")[0] or type(error).__name__)

    def binary(self, stream: Reader, path: str) -> None:
        self.name(path)
        binary = ElfStream(self.scan.texts)
        while block := stream.read(BLOCK):
            binary.feed(block)
        parsed = binary.finish()
        for rule, text in binary.texts():
            self.deny(path, rule, f"the text {self.scan.matched_text(rule, text)!r} in: {text}")
        if parsed is None:
            return
        self.binaries += 1
        if parsed.machine not in {self.scan.machine, *DEVICES}:
            self.deny(path, FOREIGN, f"ELF machine {parsed.machine}, not {self.scan.machine}")
        for kind, name in (("SONAME", parsed.soname), *(("NEEDED", name) for name in parsed.needed)):
            if rule := self.scan.denied_name(name):
                self.deny(path, rule, f"{kind} {name}")

    def archive(self, start: bytes, stream: Reader, path: str, depth: int) -> None:
        """Check the files of an archive in a layer.

        Raises:
            LayerError: it is nested too deeply, or a bomb; and the errors of its format.
        """
        if depth == 0:
            message = f"archives are read to a depth of {DEEPEST}"
            raise LayerError(message)
        if start[TAR_OFFSET:].startswith(TAR_MAGIC):
            self.tar(_Limited(stream, MOST_NESTED), f"{path}!/", depth - 1)
        elif start.startswith(COMPRESSED):
            unpacked = _Limited(decompressed(stream), MOST_NESTED)
            self.file(unpacked, f"{path}!", depth - 1)
            while unpacked.read(BLOCK):  # what is damaged near its end is damaged
                pass
        elif start.startswith(AR):
            self.name(path)
            self.ar(_Limited(stream, MOST_NESTED), path, depth - 1)
        else:
            self.zip(stream, path, depth - 1)

    def zip(self, stream: Reader, path: str, depth: int) -> None:
        """Check a zip archive; its table of contents is at its end, so it is copied to a file without a name."""
        with tempfile.TemporaryFile() as spool:
            limited = _Limited(stream, MOST_NESTED)
            while block := limited.read(BLOCK):
                spool.write(block)
            with zipfile.ZipFile(spool) as archive:
                refuse_bombs(archive, "it")
                for member in archive.infolist():
                    self.startup(f"{path}!/{member.filename}")
                    if not member.is_dir() and member.file_size:
                        with archive.open(member) as content:
                            self.file(content, f"{path}!/{member.filename}", depth)

    def ar(self, stream: Reader, path: str, depth: int) -> None:
        """Check the members of an ar archive: a static library or a .deb (ar(5))."""
        read_fully(stream, len(AR))
        while header := read_fully(stream, 60):
            if header[58:] != b"`\n":
                message = "a damaged member of an ar archive"
                raise LayerError(message)
            size = int(header[48:58].decode("ascii", "replace"))
            name = header[:16].decode("utf-8", "replace").strip().rstrip("/")
            member = _Part(stream, size)
            self.file(member, f"{path}!/{name}", depth)
            while member.read(BLOCK):
                pass
            if size % 2:
                stream.read(1)


def _is_archive(start: bytes, path: str) -> bool:
    is_archive = start.startswith((ZIP, AR, *COMPRESSED)) or start[TAR_OFFSET:].startswith(TAR_MAGIC)
    return is_archive or (start.startswith(b"#!") and path.endswith((".pyz", ".pex")))  # a zip behind a line of text


class _Part:
    """The next bytes of a stream, as a stream."""

    def __init__(self, stream: Reader, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(min(size, self._left)) if self._left else b""
        if self._left and not block:
            message = "it ends early"
            raise LayerError(message)
        self._left -= len(block)
        return block
