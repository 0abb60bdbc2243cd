"""What is in the layers of an image, each of them, and what do they make together?

Read from `docker save` on this machine, so that it is as fast for an emulated platform, and sees what a later layer
hides: a secret that was deleted is still in its layer.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from multiprocessing import get_context
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import zstandard

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
"""The files whose content is kept."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
ELF = b"\x7fELF"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""How a stream begins (RFC 1952, RFC 8878)."""


@dataclass(frozen=True, kw_only=True)
class LayerEntry:
    """One file of one layer."""

    path: str
    """From the root, without the leading slash, as layers have it."""
    layer: int
    directory: bool
    mode: int
    uid: int
    gid: int
    mtime: float
    link: str
    elf_machine: int | None
    leaks: tuple[str, ...]
    """What it holds that must be in no image, by name: the value itself is shown nowhere."""
    content: bytes | None
    """Its content, for the few files of KEEP."""


@dataclass(frozen=True, kw_only=True)
class SavedImage:
    """An image as `docker save` writes it."""

    config: dict[str, Any]
    config_leaks: tuple[str, ...]
    """What the configuration or its history says that must be in no image."""
    layers: tuple[tuple[LayerEntry, ...], ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Return the digest of each layer's content, lowest first."""
        return tuple(self.config["rootfs"]["diff_ids"])

    @cached_property
    def files(self) -> Mapping[str, LayerEntry]:
        """Return what a container sees: upper layers replace and remove what is below."""
        merged: dict[str, LayerEntry] = {}
        for layer in self.layers:
            for path in _removed_paths(layer, merged):
                del merged[path]
            merged |= {entry.path: entry for entry in layer if WHITEOUT not in entry.path}
        return merged

    def named(self, *names: str) -> list[str]:
        """Return the paths whose last part is like one of the patterns."""
        return sorted(path for path in self.files if any(matches(path, name) for name in names))


def matches(path: str, pattern: str) -> bool:
    """Say whether a path fits a pattern: one with a slash from the root on, another by the path's last part."""
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
    """Read a file that `docker save` wrote, by tag, looking for what must not leak in all of it.

    A layer that several images share is in the file once and is read once.

    Raises:
        CouldNotCheckError: a layer is not what an image's configuration says.
    """
    with tarfile.open(file) as archive:
        manifests = json.loads(_read(archive, "manifest.json"))
        texts = {manifest["Config"]: _read(archive, manifest["Config"]) for manifest in manifests}
        sizes = {member.name: member.size for member in archive}
    numbers = {name: number for manifest in reversed(manifests) for number, name in enumerate(manifest["Layers"])}
    # The largest first, so that no process is left alone with it. Not forked: the caller may have threads.
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
        message = "docker save: the layers are not those that the image's configuration names."
        raise CouldNotCheckError(message)
    leaks = tuple(trace.name for trace in forbidden if trace.is_in(text))
    return SavedImage(config=config, config_leaks=leaks, layers=tuple(entries for _, entries in read))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is no file"
    return member.read()


class _Digesting:
    """A stream that hashes what is read from it: tarfile reads it front to back."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - whatever decompressor
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block: bytes = self._stream.read(size)
        self.sha256.update(block)
        return block

    def finish(self) -> str:
        while self.read(1 << 20):
            pass
        return f"sha256:{self.sha256.hexdigest()}"


def _layer(file: Path, name: str, number: int, forbidden: tuple[Forbidden, ...]) -> tuple[str, tuple[LayerEntry, ...]]:
    with tarfile.open(file) as archive:
        blob = archive.extractfile(name)
        assert blob is not None, f"{name} is no file"
        stream = _Digesting(decompressed(blob))
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as layer:  # type: ignore[call-overload]
            entries = tuple(_entries(layer, number, forbidden))
        return stream.finish(), entries


def decompressed(blob: Any) -> Any:  # noqa: ANN401 - three kinds of streams
    magic = blob.read(4)
    blob.seek(0)
    if magic == ZSTD:
        return zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True)
    return gzip.GzipFile(fileobj=blob) if magic.startswith(GZIP) else blob


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
