"""Reader of a wheel: its files, native code, bundled libraries, `.pth` files, commands, SBOMs and licences.

A wheel is read completely (every byte against its RECORD), or only its table of contents. The latter needs 2 MB of
torch's 800, so a file that is read over HTTP by ranges will do. Nothing is unpacked to the disk. A file that is not
what it says is refused by name: a RECORD that lies, a bomb, a name that leaves the folder.
The formats: https://packaging.python.org/en/latest/specifications/binary-distribution-format/ and PEP 770.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import IO, TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.wheel_contents import WheelContent
from dynamo_containers.prepare.contents.elf import MAGIC, ElfFile, ElfStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BLOCK = 1 << 20
MOST_FILES = 200_000
"""Files of the largest wheel that is read. torch has 13,000."""
MOST_UNPACKED = 32 << 30
"""Bytes of the largest wheel, unpacked. The largest that there is has 4 GB."""
MOST_RATIO, RATIO_FROM = 100, 256 << 20
"""A wheel of more than RATIO_FROM bytes is not MOST_RATIO times its archive. Native code has a ratio of 2 to 5."""
MOST_METADATA = 64 << 20
"""Bytes of the largest file of metadata that is read into memory: RECORD, METADATA, WHEEL, entry_points.txt."""
LIBRARY = re.compile(r"(?:^|/)[^/]*\.so(?:\.[0-9][^/]*)?$")
"""The name of native code."""
EXTENSION = re.compile(r"\.(?:cpython-[^/]*|abi3(?:-[^/]*)?|cp[0-9]+[^/]*)\.so$")
"""The name of an extension module (PEP 3149); what it brings to Python is in its package, and nothing else loads it."""
DATA_SUFFIXES = (".py", ".pyc", ".pyi", ".h", ".hpp", ".cuh", ".json", ".txt", ".md", ".html", ".js", ".cubin", ".npy")
SMALLEST_BINARY = 4096
"""A smaller file without a name of native code is not read where only the table of contents is."""
REMEDY = "Lock another release with: invoke lock --upgrade NAME"


class WheelError(LockError):
    """A locked wheel is not what it says."""


@dataclass(frozen=True, kw_only=True)
class RecordedFile:
    """A line of RECORD."""

    path: str
    sha256: str
    """Hexadecimal; '' where the line states none, as that of RECORD itself."""


def read_wheel(file: IO[bytes], filename: str, *, complete: bool) -> WheelContent:
    """Return what a wheel contains.

    Args:
        file: the wheel; it must be seekable. Without `complete`, a few ranges are read.
        filename: its name, as the index has it.
        complete: whether every byte is read, compared with RECORD, and every ELF file is parsed.

    Raises:
        WheelError: it is not a wheel, its RECORD is wrong, it unpacks to far more than it has, or a path leaves it.
    """
    with open_archive(file, filename) as archive:
        members = checked_members(archive, filename)
        metadata = _metadata_folder(members, filename)
        records = _records(archive, members, metadata, filename)
        elf_files: dict[str, ElfFile | None] = (
            {**dict(_compare_all(archive, members, records, filename))} if complete else dict(_probe(archive, members))
        )
        return _content(archive, members, metadata, filename, elf_files, complete=complete)


def read_record(file: IO[bytes], filename: str) -> tuple[RecordedFile, ...]:
    """Return the lines of the RECORD of a wheel: the path and the hash of each of its files; same errors."""
    with open_archive(file, filename) as archive:
        members = checked_members(archive, filename)
        lines = _records(archive, members, _metadata_folder(members, filename), filename)
        return tuple(RecordedFile(path=path, sha256=digest) for path, digest in lines.items())


def open_archive(file: IO[bytes], filename: str) -> zipfile.ZipFile:
    """Return the archive of a file.

    Raises:
        WheelError: it is not a zip archive.
    """
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _fault(filename, f"is not a zip archive: {error}") from None


def checked_members(archive: zipfile.ZipFile, filename: str) -> dict[str, zipfile.ZipInfo]:
    """Return path -> member of an archive, without folders.

    Raises:
        WheelError: it is a bomb, has a path twice, or one that leaves its folder.
    """
    refuse_bombs(archive, filename)
    entries = archive.infolist()
    members: dict[str, zipfile.ZipInfo] = {}
    for member in entries:
        parts = member.filename.split("/")
        if member.filename.startswith("/") or "\\" in member.filename or ".." in parts:
            raise _fault(filename, f"has a path that leaves its folder: {member.filename!r}")
        if member.filename in members:
            raise _fault(filename, f"has the file {member.filename!r} twice")
        members[member.filename] = member
    return {path: member for path, member in members.items() if not member.is_dir()}


def refuse_bombs(archive: zipfile.ZipFile, filename: str) -> None:
    """Refuse an archive that unpacks to far more than it has.

    Raises:
        WheelError: it is such a bomb.
    """
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise _fault(filename, f"has {len(entries)} files, more than {MOST_FILES}")
    unpacked = sum(member.file_size for member in entries)
    packed = sum(member.compress_size for member in entries)
    if unpacked > MOST_UNPACKED or (unpacked > RATIO_FROM and unpacked > MOST_RATIO * packed):
        raise _fault(filename, f"would unpack {packed} bytes to {unpacked}: an archive bomb")
    _refuse_overlap(entries, filename)


def _refuse_overlap(entries: list[zipfile.ZipInfo], filename: str) -> None:
    """Refuse files that share compressed bytes: so a bomb of kB unpacks to TB (bamsoftware.com/hacks/zipbomb)."""
    end = 0
    for member in sorted(entries, key=lambda entry: entry.header_offset):
        if member.header_offset < end:
            raise _fault(filename, f"has files that share bytes ({member.filename!r}): an archive bomb")
        end = member.header_offset + member.compress_size


def _fault(filename: str, reason: str) -> WheelError:
    return WheelError(f"{filename} {reason}.\n{REMEDY}")


def _metadata_folder(members: Mapping[str, zipfile.ZipInfo], filename: str) -> str:
    """Return the name of the folder `*.dist-info`, which a wheel has once."""
    folders = {path.partition("/")[0] for path in members if path.partition("/")[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise _fault(filename, f"has {len(folders)} folders *.dist-info, and a wheel has one")
    return folders.pop()


def _read(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], path: str, filename: str) -> bytes:
    """Return a file of metadata; b'' where there is none."""
    member = members.get(path)
    if member is None:
        return b""
    if member.file_size > MOST_METADATA:
        raise _fault(filename, f"has {member.file_size} bytes in {path}, more than {MOST_METADATA}")
    return b"".join(_blocks(archive, member, filename))


def _blocks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, filename: str) -> Iterator[bytes]:
    try:
        with archive.open(member) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _fault(filename, f"cannot be unpacked at {member.filename}: {error}") from None


def _records(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], metadata: str, filename: str
) -> dict[str, str]:
    """Return path -> sha256 of RECORD.

    Raises:
        WheelError: it is missing, lists a file that does not exist, or does not list one.
    """
    path = f"{metadata}/RECORD"
    text = _read(archive, members, path, filename)
    if not text:
        raise _fault(filename, f"has no {path}")
    records: dict[str, str] = {}
    try:
        for row in csv.reader(text.decode().splitlines()):
            if row:
                records[row[0]] = _hexadecimal(row[1])
    except (UnicodeDecodeError, csv.Error, IndexError, ValueError) as error:
        raise _fault(filename, f"has a {path} that cannot be read: {error}") from None
    signatures = {f"{path}{suffix}" for suffix in ("", ".jws", ".p7s")}
    absent = sorted(set(records) - set(members) - signatures)
    unlisted = sorted(set(members) - set(records) - signatures)
    if absent:
        raise _fault(filename, f"has a RECORD that lies: it lists {absent[0]!r}, which is not in the wheel")
    if unlisted:
        raise _fault(filename, f"has a RECORD that lies: it does not list {unlisted[0]!r}")
    return records


def _hexadecimal(digest: str) -> str:
    """Return the sha256 of a line of RECORD; '' for none, and for an algorithm that nobody uses."""
    kind, _, value = digest.partition("=")
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex() if kind == "sha256" else ""


def _compare_all(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], records: Mapping[str, str], filename: str
) -> Iterator[tuple[str, ElfFile]]:
    """Read every file, compare it with RECORD, and yield the path of each ELF file with what it says."""
    for path, member in members.items():
        digest, stream, size = hashlib.sha256(), None, 0
        for block in _blocks(archive, member, filename):
            if size == 0 and block.startswith(MAGIC):
                stream = ElfStream()
            if stream:
                stream.feed(block)
            digest.update(block)
            size += len(block)
        stated = records.get(path, "")
        if stated and digest.hexdigest() != stated:
            raise _fault(filename, f"has a RECORD that lies: {path} has sha256 {digest.hexdigest()}, not {stated}")
        if stream and (elf := stream.finish()):
            yield path, elf


def _probe(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> Iterator[tuple[str, ElfFile | None]]:
    """Yield the path of each file that is native code by its name, or by its first bytes where the name is silent."""
    for path, member in members.items():
        if LIBRARY.search(path):
            yield path, None
        elif member.file_size >= SMALLEST_BINARY and _may_be_binary(path, member):
            with archive.open(member) as stream:
                if stream.read(4) == MAGIC:
                    yield path, None


def _may_be_binary(path: str, member: zipfile.ZipInfo) -> bool:
    """Return whether a file may be a binary: it has the right to be run, or a name without a usual suffix."""
    if path.endswith(DATA_SUFFIXES) or ".dist-info/" in path:
        return False
    name = path.rpartition("/")[2]
    return bool(member.external_attr >> 16 & stat.S_IXUSR) or not re.search(r"\.[A-Za-z][A-Za-z0-9_]{0,9}$", name)


def _content(  # noqa: PLR0913 - the parts of a wheel
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    metadata: str,
    filename: str,
    elf_files: Mapping[str, ElfFile | None],
    *,
    complete: bool,
) -> WheelContent:
    wheel = HeaderParser().parsestr(_read(archive, members, f"{metadata}/WHEEL", filename).decode("utf-8", "replace"))
    about = HeaderParser().parsestr(
        _read(archive, members, f"{metadata}/METADATA", filename).decode("utf-8", "replace")
    )
    parsed = [elf for elf in elf_files.values() if elf]
    brought = {path.rpartition("/")[2] for path in members} | {elf.soname for elf in parsed}
    native = tuple(sorted(elf_files))
    entry_points = _read(archive, members, f"{metadata}/entry_points.txt", filename).decode("utf-8", "replace")
    return WheelContent(
        filename=filename,
        unpacked=sum(member.file_size for member in members.values()),
        files=len(members),
        pure=wheel.get("Root-Is-Purelib", "").strip().lower() == "true",
        complete=complete,
        native=native,
        libraries=tuple(path for path in native if LIBRARY.search(path) and not EXTENSION.search(path)),
        needed=tuple(sorted({name for elf in parsed for name in elf.needed} - brought)),
        machines=tuple(sorted({elf.machine for elf in parsed})),
        startup=tuple(sorted(path for path in members if _is_startup(path))),
        scripts=tuple(sorted({*_console_scripts(entry_points, filename), *_script_files(members)})),
        sboms=tuple(sorted(path for path in members if path.startswith(f"{metadata}/sboms/"))),
        licenses=tuple(sorted(path for path in members if _is_license(path, metadata))),
        license=(about.get("License-Expression") or about.get("License") or "").strip().partition("\n")[0],
    )


def _is_startup(path: str) -> bool:
    """Return whether Python reads a file at each start: a `.pth` in the folder of the packages itself."""
    folder = path.rpartition("/")[0]
    return path.endswith(".pth") and (not folder or folder.endswith((".data/purelib", ".data/platlib")))


def _is_license(path: str, metadata: str) -> bool:
    name = path.rpartition("/")[2].upper()
    return path.startswith(f"{metadata}/") and (
        path.startswith((f"{metadata}/licenses/", f"{metadata}/license_files/"))
        or name.startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"))
    )


def _console_scripts(text: str, filename: str) -> Iterator[str]:
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # the names are as they are written
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise _fault(
            filename, f"has an entry_points.txt that cannot be read: {str(error).partition(chr(10))[0]}"
        ) from None
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            yield from parser.options(section)


def _script_files(members: Mapping[str, zipfile.ZipInfo]) -> Iterator[str]:
    for path in members:
        folder, _, name = path.rpartition("/")
        if folder.endswith(".data/scripts"):
            yield name
