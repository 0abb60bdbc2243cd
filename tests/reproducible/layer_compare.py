"""First difference between two layers that should be equal, given the members of their tars.

Their attributes: https://www.gnu.org/software/tar/manual/html_node/Standard.html, docs/explanation/reproducible.md.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from itertools import zip_longest
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of the tar of a layer."""

    name: str
    kind: str
    """The type flag of the tar format: 0 a file, 1 a hard link, 2 a symbolic link, 5 a folder, ..."""
    mode: int
    owner: tuple[int, int]
    """UID and GID."""
    mtime: float
    """Seconds since 1970."""
    link: str = ""
    """The target of a link."""
    size: int = 0
    """Bytes of the content."""
    sha256: str = ""
    """Digest of the content; '' without content."""
    extra: tuple[tuple[str, str], ...] = ()
    """Extended attributes and other PAX headers."""


@dataclass(frozen=True, kw_only=True)
class LayerDifference:
    """The first difference between two layers."""

    name: str
    """The file; '' if only the tar itself differs."""
    description: str
    """Text for users: `mode 0644 and 0664`."""


def members(tar: IO[bytes]) -> tuple[Member, ...]:
    """Return the members of an uncompressed or gzip-compressed tar in its order.

    Raises:
        tarfile.TarError: the file is not a tar.
    """
    with tarfile.open(fileobj=tar, mode="r|*") as archive:
        return tuple(_member(archive, entry) for entry in archive)


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    content = archive.extractfile(entry) if entry.isreg() else None
    headers = {key: value for key, value in entry.pax_headers.items() if key not in {"path", "linkpath", "mtime"}}
    return Member(
        name=entry.name,
        kind=entry.type.decode(),
        mode=entry.mode,
        owner=(entry.uid, entry.gid),
        mtime=entry.mtime,
        link=entry.linkname,
        size=entry.size,
        sha256=_sha256(content) if content else "",
        extra=tuple(sorted(headers.items())),
    )


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def first_difference(first: Sequence[Member], second: Sequence[Member]) -> LayerDifference | None:
    """Return the first difference: a file of only one layer, then a property of a file, then the order; or None."""
    first_members, second_members = _by_name(first), _by_name(second)
    return (
        _only_in_one(first_members, second_members) or _within(first_members, second_members) or _order(first, second)
    )


def _by_name(listing: Sequence[Member]) -> dict[str, Member]:
    return {member.name: member for member in listing}


def _only_in_one(first: Mapping[str, Member], second: Mapping[str, Member]) -> LayerDifference | None:
    lonely = sorted(first.keys() ^ second.keys())
    if not lonely:
        return None
    build = "first" if lonely[0] in first else "second"
    return LayerDifference(name=lonely[0], description=f"only in the {build} build")


def _within(first: Mapping[str, Member], second: Mapping[str, Member]) -> LayerDifference | None:
    for name in first:
        differences = [
            f"{label} {a} and {b}"
            for (label, a), (_, b) in zip(_properties(first[name]), _properties(second[name]), strict=True)
            if a != b
        ]
        if differences:
            return LayerDifference(name=name, description=", ".join(differences))
    return None


def _properties(member: Member) -> tuple[tuple[str, str], ...]:
    """Return the (label, value) pairs of a member for users."""
    content = f"of {member.size} bytes, sha256 {member.sha256[:12]}" if member.sha256 else "none"
    return (
        ("type", member.kind),
        ("mode", f"{member.mode:04o}"),
        ("owner", "{}:{}".format(*member.owner)),
        ("mtime", f"{member.mtime:.9f}".rstrip("0").rstrip(".")),
        ("link to", member.link),
        ("content", content),
        ("extra headers", " ".join(f"{key}={value}" for key, value in member.extra)),
    )


def _order(first: Sequence[Member], second: Sequence[Member]) -> LayerDifference | None:
    """Return the first difference in the order of members, or in a member that is there more than once."""
    for place, (first_member, second_member) in enumerate(zip_longest(first, second), 1):
        names = [member.name if member else "the end" for member in (first_member, second_member)]
        if names[0] != names[1]:
            return LayerDifference(
                name=names[0], description=f"order in the tar: place {place} has {names[0]} and {names[1]}"
            )
        if first_member != second_member:  # there more than once
            return LayerDifference(
                name=names[0], description=f"is there more than once, and differs at place {place} of the tar"
            )
    return None


def first_offset(first: IO[bytes], second: IO[bytes]) -> int | None:
    """Return the offset of the first byte in which two contents differ, counted from 0; None where they are equal."""
    start = 0
    while True:
        first_chunk, second_chunk = first.read(CHUNK), second.read(CHUNK)
        if first_chunk != second_chunk:
            pairs = enumerate(zip_longest(first_chunk, second_chunk))
            return start + next(place for place, (a, b) in pairs if a != b)
        if not first_chunk:
            return None
        start += len(first_chunk)
