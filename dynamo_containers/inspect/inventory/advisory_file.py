"""Advisories of a file: one in the OSV format, a list of them, or a zip of an ecosystem as osv.dev publishes it."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.errors import UsageError
from dynamo_containers.file_reader import PERSON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_ADVISORIES = 500_000
MOST_BYTES = 16 << 20
"""Bytes of the largest advisory that is read."""
OTHER_FORMATS = {
    "openvex": "OpenVEX, which says what is not affected; an advisory in the OSV format is needed",
    "csaf": "CSAF; an advisory in the OSV format is needed",
    "CycloneDX": "CycloneDX, an SBOM; an advisory in the OSV format is needed",
    "SPDX": "SPDX, an SBOM; an advisory in the OSV format is needed",
}
"""What the beginning of another format has -> what it is."""


def find(path: Path, name: str) -> dict[str, Any]:
    """Return the advisory with an id or an alias.

    Raises:
        UsageError: the file does not have it, is of another format, or cannot be read.
    """
    aliases: dict[str, Any] = {}
    count = 0
    for record in _records(path, name):
        count += 1
        if str(record.get("id", "")).lower() == name.lower():
            return record
        if not aliases and name.lower() in {str(alias).lower() for alias in record.get("aliases") or ()}:
            aliases = record
    if aliases:
        return aliases
    message = f"{path} has no advisory {name} (it has {count})."
    raise UsageError(message)


def _records(path: Path, name: str) -> Iterator[dict[str, Any]]:
    content = file_reader.read_bytes(path, author=PERSON)
    if content.startswith(b"PK"):
        yield from _zip_records(path, name)
        return
    try:
        document = file_reader.parse_json(content)
    except ValueError:
        raise _other_format(path, "text, or damaged JSON") from None
    for record in document if isinstance(document, list) else [document]:
        yield _record(path, record)


def _zip_records(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the advisories of a zip; only that of the name, if there is a file of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist() if member.filename.endswith(".json")}
            if len(members) > MOST_ADVISORIES:
                raise PERSON.fault(str(path), f"has more than {MOST_ADVISORIES} advisories")
            named = {file: member for file, member in members.items() if file.lower() == f"{name.lower()}.json"}
            for file, member in (named or members).items():
                if member.file_size > MOST_BYTES:
                    raise PERSON.fault(str(path), f"has an advisory of {member.file_size} bytes: {file}")
                yield _record(path, file_reader.parse_json(archive.read(member)))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise PERSON.fault(str(path), f"is a damaged zip archive: {error}") from None


def _record(path: Path, record: object) -> dict[str, Any]:
    """Return an advisory, or refuse another format by its name."""
    if isinstance(record, dict) and isinstance(record.get("id"), str) and "affected" in record:
        return record
    if isinstance(record, dict) and isinstance(record.get("id"), str) and "modified" in record:
        return {**record, "affected": []}
    text = str(record)[:2000]
    raise _other_format(
        path, next((what for mark, what in OTHER_FORMATS.items() if mark in text), "JSON of another kind")
    )


def _other_format(path: Path, what: str) -> UsageError:
    message = (
        f"{path} is not an advisory in the OSV format: it is {what}.\nThe format: https://ossf.github.io/osv-schema/"
    )
    return UsageError(message)
