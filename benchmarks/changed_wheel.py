"""What would a wheel be after a change of one line? The same wheel with a line more: values only.

See https://packaging.python.org/en/latest/specifications/binary-distribution-format/ for RECORD.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile


def changed(content: bytes, line: str) -> bytes:
    """Return a wheel with a comment more at the end of its first module, and a RECORD that fits.

    Raises:
        ValueError: it has no module.
    """
    with ZipFile(BytesIO(content)) as wheel:
        entries = wheel.infolist()
        files = {entry.filename: wheel.read(entry) for entry in entries}
    modules = sorted(name for name in files if name.endswith(".py"))
    if not modules:
        message = "The wheel has no module that a line could be added to."
        raise ValueError(message)
    module = modules[0]
    files[module] += f"\n# {line}\n".encode()
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    files[record] = recorded(files[record].decode(), module, files[module]).encode()
    made = BytesIO()
    with ZipFile(made, "w", ZIP_DEFLATED, compresslevel=1) as wheel:
        for entry in entries:
            wheel.writestr(entry, files[entry.filename])
    return made.getvalue()


def recorded(record: str, name: str, content: bytes) -> str:
    """Return a RECORD that has this content of a file."""
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    line = f"{name},sha256={digest},{len(content)}"
    return re.sub(rf"^{re.escape(name)},.*$", line, record, flags=re.MULTILINE)
