"""Layers of an image in a file: a folder in the OCI image layout, or an archive of `docker save`.

The formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md, and the `manifest.json` of Docker.
A layer is a range of bytes of a file, so that several processes can read one archive.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
ATTESTATION = "vnd.docker.reference.type"
"""Annotation of a manifest that is not of an image: provenance and SBOMs of BuildKit."""
DEEPEST = 4
"""How deep indexes in indexes are read."""
BLOBS = "blobs/sha256/"
MOST_BYTES = 64 << 20
"""Bytes of the largest index, manifest or configuration that is read."""


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """The bytes of a layer: a range of a file."""

    file: Path
    offset: int
    size: int
    digest: str
    """Digest of these bytes; '' where the image does not state it."""
    content: str
    """Digest of the uncompressed bytes (`rootfs.diff_ids`)."""


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image of one platform in a file."""

    name: str
    """Its tag, or the digest of its manifest."""
    platform: str
    """As in its configuration: `linux/amd64`."""
    layers: tuple[LayerFile, ...]
    """The lowest first."""


@dataclass(frozen=True, kw_only=True)
class _Range:
    file: Path
    offset: int
    size: int


def read_images(path: Path) -> tuple[ImageFile, ...]:
    """Return the images of a layout or an archive; those of several platforms are several.

    Raises:
        UsageError: it is neither, is incomplete, or has no image.
    """
    try:
        members = _layout_files(path) if path.is_dir() else _archive_members(path)
        images = tuple(_docker_images(members) if "manifest.json" in members else _layout_images(members))
    except (OSError, tarfile.TarError, ValueError, TypeError, AttributeError) as error:
        raise _fault(path, f"cannot be read: {error}") from None
    except KeyError as error:
        raise _fault(path, f"is incomplete: it has no {error}") from None
    if not images:
        raise _fault(path, "has no image")
    return images


def open_layer(layer: LayerFile) -> IO[bytes]:
    """Return the bytes of a layer as a stream."""
    file = layer.file.open("rb", buffering=0)
    file.seek(layer.offset)
    return io.BufferedReader(_Window(file, layer.size), 1 << 20)


class _Window(io.RawIOBase):
    """A range of a file as a stream."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        size = self._file.readinto(memoryview(buffer)[: min(len(buffer), self._left)]) or 0
        self._left -= size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _fault(path: Path, reason: str) -> UsageError:
    allowed = "A folder in the OCI image layout, or an archive of `docker save`, is needed."
    return UsageError(f"{path} {reason}.\n{allowed}")


def _layout_files(folder: Path) -> dict[str, _Range]:
    names = ("index.json", "manifest.json", *(f"{BLOBS}{file.name}" for file in folder.glob(f"{BLOBS}*")))
    files = {name: folder / name for name in names if (folder / name).is_file()}
    return {name: _Range(file=file, offset=0, size=file.stat().st_size) for name, file in files.items()}


def _archive_members(path: Path) -> dict[str, _Range]:
    members: dict[str, _Range] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.isreg():
                members[member.name] = _Range(file=path, offset=member.offset_data, size=member.size)
            elif member.issym() or member.islnk():  # layers that images share, in archives of Docker before 25
                target = member.linkname.removeprefix("../")
                if target in members:
                    members[member.name] = members[target]
    return members


def _json(members: Mapping[str, _Range], name: str) -> Any:  # noqa: ANN401 - any JSON
    member = members[name]
    if member.size > MOST_BYTES:
        message = f"{name} has {member.size} bytes"
        raise ValueError(message)
    with member.file.open("rb") as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if name.startswith(BLOBS) and hashlib.sha256(content).hexdigest() != name.removeprefix(BLOBS):
        message = f"{name} has other bytes than its name states"
        raise ValueError(message)
    return file_reader.parse_json(content)


def _blob(digest: str) -> str:
    return BLOBS + digest.removeprefix("sha256:")


def _docker_images(members: Mapping[str, _Range]) -> Iterator[ImageFile]:
    for row in _json(members, "manifest.json"):
        config = _json(members, row["Config"])
        digests = (f"sha256:{name.removeprefix(BLOBS)}" if name.startswith(BLOBS) else "" for name in row["Layers"])
        layers = zip(row["Layers"], digests, config["rootfs"]["diff_ids"], strict=True)
        yield ImageFile(
            name=next(iter(row.get("RepoTags") or ()), row["Config"]),
            platform=_platform(config),
            layers=tuple(_layer(members, name, digest, content) for name, digest, content in layers),
        )


def _layout_images(members: Mapping[str, _Range]) -> Iterator[ImageFile]:
    seen = set()
    for descriptor in _manifests(members, _json(members, "index.json"), DEEPEST):
        digest = descriptor["digest"]
        if digest in seen:
            continue
        seen.add(digest)
        manifest = _json(members, _blob(digest))
        config = _json(members, _blob(manifest["config"]["digest"]))
        layers = zip((row["digest"] for row in manifest["layers"]), config["rootfs"]["diff_ids"], strict=True)
        yield ImageFile(
            name=digest,
            platform=_platform(config),
            layers=tuple(_layer(members, _blob(layer), layer, content) for layer, content in layers),
        )


def _manifests(members: Mapping[str, _Range], index: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    if depth == 0:
        message = f"indexes are nested more than {DEEPEST} deep"
        raise ValueError(message)
    for row in index["manifests"]:
        if ATTESTATION in row.get("annotations", {}):
            continue
        if row.get("mediaType") in INDEX_TYPES:
            yield from _manifests(members, _json(members, _blob(row["digest"])), depth - 1)
        else:
            yield row


def _layer(members: Mapping[str, _Range], name: str, digest: str, content: str) -> LayerFile:
    member = members[name]
    return LayerFile(file=member.file, offset=member.offset, size=member.size, digest=digest, content=content)


def _platform(config: Mapping[str, Any]) -> str:
    return f"{config['os']}/{config['architecture']}"
