"""Files of each layer of an image, and the files that a container sees.

They are read from `docker save` on this machine. So emulated platforms are as fast as native ones, and files that a
later layer deletes are seen as well: a deleted secret is still in its layer.
"""

from __future__ import annotations

import json
import tarfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from multiprocessing import get_context
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dynamo_containers.prepare.contents.compression import decompressed
from dynamo_containers.prepare.contents.layer import HashingReader
from tests.smoke.containers import CouldNotCheckError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.smoke.forbidden import Forbidden

KEEP = (
    "etc/ssl/certs/ca-certificates.crt",
    "usr/share/ca-certificates/*.crt",
    "usr/share/ca-certificates/*/*.crt",
    "var/lib/dpkg/info/ca-certificates.md5sums",
)
"""Patterns of the files whose content is kept."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
ELF = b"\x7fELF"


@dataclass(frozen=True, kw_only=True)
class LayerEntry:
    """A file of a layer."""

    path: str
    """Relative to the root, without a leading slash."""
    layer: int
    directory: bool
    mode: int
    uid: int
    gid: int
    mtime: float
    link: str
    elf_machine: int | None
    leaks: tuple[str, ...]
    """Names of the forbidden strings in it; their values are never shown."""
    content: bytes | None
    """Its content if it matches KEEP."""


@dataclass(frozen=True, kw_only=True)
class SavedImage:
    """An image written by `docker save`."""

    config: dict[str, Any]
    config_leaks: tuple[str, ...]
    """Names of the forbidden strings in the configuration and its history."""
    layers: tuple[tuple[LayerEntry, ...], ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Return the digest of each uncompressed layer, lowest first."""
        return tuple(self.config["rootfs"]["diff_ids"])

    @cached_property
    def files(self) -> Mapping[str, LayerEntry]:
        """Return the files that a container sees: upper layers replace and remove those of lower layers."""
        merged: dict[str, LayerEntry] = {}
        for layer in self.layers:
            for path in _removed_paths(layer, merged):
                del merged[path]
            merged |= {entry.path: entry for entry in layer if WHITEOUT not in entry.path}
        return merged

    def named(self, *names: str) -> list[str]:
        """Return the paths that match one of the patterns."""
        return sorted(path for path in self.files if any(matches(path, name) for name in names))


def matches(path: str, pattern: str) -> bool:
    """Return whether a path matches a pattern: with a slash the whole path, otherwise the file name."""
    if "/" not in pattern:
        return fnmatchcase(path.rpartition("/")[2], pattern)
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def _removed_paths(layer: Iterable[LayerEntry], merged: Mapping[str, LayerEntry]) -> list[str]:
    gone: set[str] = set()
    for entry in layer:
        path = PurePosixPath(entry.path)
        if path.name == OPAQUE:
            gone |= {lower_path for lower_path in merged if lower_path.startswith(f"{path.parent}/")}
        elif path.name.startswith(WHITEOUT):
            hidden = str(path.with_name(path.name.removeprefix(WHITEOUT)))
            gone |= {lower_path for lower_path in merged if lower_path == hidden or lower_path.startswith(f"{hidden}/")}
    return sorted(gone)


def read_saved_images(file: Path, forbidden: tuple[Forbidden, ...]) -> dict[str, SavedImage]:
    """Return the images of a file written by `docker save`, by tag, with all forbidden strings in them.

    A layer that several images share is in the file once and is read once.

    Raises:
        CouldNotCheckError: a layer differs from the configuration of its image.
    """
    with tarfile.open(file) as archive:
        manifests = json.loads(_read(archive, "manifest.json"))
        texts = {manifest["Config"]: _read(archive, manifest["Config"]) for manifest in manifests}
        sizes = {member.name: member.size for member in archive}
    numbers = {name: number for manifest in reversed(manifests) for number, name in enumerate(manifest["Layers"])}
    # The largest layer first, so that the processes end together. Not forked: the caller may have threads.
    largest_first = sorted(numbers, key=lambda name: -sizes[name])
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        parts = {name: pool.submit(_layer, file, name, numbers[name], forbidden) for name in largest_first}
        read = {name: part.result() for name, part in parts.items()}
    return {
        tag: _saved(texts[manifest["Config"]], [read[name] for name in manifest["Layers"]], forbidden)
        for manifest in manifests
        for tag in manifest["RepoTags"]
    }


def _saved(text: bytes, read: list[tuple[str, tuple[LayerEntry, ...]]], forbidden: tuple[Forbidden, ...]) -> SavedImage:
    config = json.loads(text)
    if [digest for digest, _ in read] != config["rootfs"]["diff_ids"]:
        message = "docker save: the layers differ from those in the configuration of the image."
        raise CouldNotCheckError(message)
    leaks = tuple(trace.name for trace in forbidden if trace.is_in(text))
    return SavedImage(config=config, config_leaks=leaks, layers=tuple(entries for _, entries in read))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is not a file"
    return member.read()


def _layer(file: Path, name: str, number: int, forbidden: tuple[Forbidden, ...]) -> tuple[str, tuple[LayerEntry, ...]]:
    with tarfile.open(file) as archive:
        blob = archive.extractfile(name)
        assert blob is not None, f"{name} is not a file"
        stream = HashingReader(decompressed(blob))
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as layer:  # type: ignore[call-overload]
            entries = tuple(_entries(layer, number, forbidden))
        return stream.finish(), entries


def _entries(layer: tarfile.TarFile, number: int, forbidden: tuple[Forbidden, ...]) -> Iterator[LayerEntry]:
    for member in layer:
        stream = layer.extractfile(member) if member.isreg() else None
        content = stream.read() if stream else b""
        path = member.name.removeprefix("./").rstrip("/")
        yield LayerEntry(
            path=path,
            layer=number,
            directory=member.isdir(),
            mode=member.mode,
            uid=member.uid,
            gid=member.gid,
            mtime=member.mtime,
            link=member.linkname,
            elf_machine=int.from_bytes(content[18:20], "little") if content.startswith(ELF) else None,
            leaks=tuple(trace.name for trace in forbidden if trace.is_in(content) or trace.is_in(path.encode())),
            content=content if any(matches(path, pattern) for pattern in KEEP) else None,
        )
