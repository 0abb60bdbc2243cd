"""Copy of a wheel with an additional line, or without its large files.

See https://packaging.python.org/en/latest/specifications/binary-distribution-format/ for RECORD.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from fnmatch import fnmatchcase
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zipfile import ZipInfo

LARGE_BYTES = 200_000
"""Size from which a small wheel leaves a file out."""
SMALL_FILES = 30
"""Maximum number of files of a small wheel, besides the required ones."""


def with_line(content: bytes, line: str) -> bytes:
    """Return a wheel with a comment at the end of its first module, and a correct RECORD.

    Raises:
        ValueError: the wheel has no module.
    """
    files = _files(content)
    modules = sorted((entry for entry in files if entry.filename.endswith(".py")), key=lambda entry: entry.filename)
    if not modules:
        message = "The wheel has no module that a line could be added to."
        raise ValueError(message)
    module = modules[0]
    files[module] += f"\n# {line}\n".encode()
    record = _record(files)
    files[record] = with_digest(files[record].decode(), module.filename, files[module]).encode()
    return _wheel(files)


def without_large_files(content: bytes, required: Iterable[str] = ()) -> bytes:
    """Return a wheel with its first files, without large ones, and with those that match a pattern; RECORD is correct.

    The files of `.dist-info` do not count toward the limit, but large ones are left out as well.
    """
    files = _files(content)
    record = _record(files)
    patterns = (record.filename, *required)
    others = [entry for entry in files if not any(fnmatchcase(entry.filename, pattern) for pattern in patterns)]
    large = [entry for entry in others if entry.file_size >= LARGE_BYTES]
    rest = [entry for entry in others if entry.file_size < LARGE_BYTES and ".dist-info/" not in entry.filename]
    rest.sort(key=lambda entry: not entry.filename.endswith(".py"))  # modules first, each in the wheel's order
    left_out = {entry.filename for entry in (*large, *rest[SMALL_FILES:])}
    lines = files[record].decode().splitlines(keepends=True)
    files[record] = "".join(line for line in lines if line.rsplit(",", 2)[0].strip('"') not in left_out).encode()
    return _wheel({entry: data for entry, data in files.items() if entry.filename not in left_out})


def with_digest(record: str, name: str, content: bytes) -> str:
    """Return a RECORD with the digest and size of a changed file."""
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    line = f"{name},sha256={digest},{len(content)}"
    return re.sub(rf"^{re.escape(name)},.*$", line, record, flags=re.MULTILINE)


def _files(content: bytes) -> dict[ZipInfo, bytes]:
    """Return the files of a wheel with their content, in the order of the archive."""
    with ZipFile(BytesIO(content)) as wheel:
        return {entry: wheel.read(entry) for entry in wheel.infolist()}


def _record(files: Iterable[ZipInfo]) -> ZipInfo:
    return next(entry for entry in files if entry.filename.endswith(".dist-info/RECORD"))


def _wheel(files: dict[ZipInfo, bytes]) -> bytes:
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED, compresslevel=1) as wheel:
        for entry, data in files.items():
            wheel.writestr(entry, data)
    return content.getvalue()
