"""Difference between two images that should be equal, from two files written by `docker save`."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from dynamo_containers.prepare.contents.compression import decompressed
from tests.reproducible.layer_compare import LayerDifference, first_difference, first_offset, members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def manifest_digest(file: Path) -> str:
    """Return the digest of the manifest of the only image of the file, which is that of its platform.

    Raises:
        ValueError: the file holds another number of images.
    """
    with tarfile.open(file) as archive:
        (only,) = json.loads(_read(archive, "index.json"))["manifests"]
    return str(only["digest"])


def difference(first: Path, second: Path) -> str:
    """Return the difference between the images of two files as text for users; '' if they are equal.

    The layers are compared from the lowest on; the first difference is usually the cause of those in later layers.
    """
    digests = [manifest_digest(file) for file in (first, second)]
    if digests[0] == digests[1]:
        return ""
    (first_manifest, first_config), (second_manifest, second_config) = _image(first), _image(second)
    for number, (a, b) in enumerate(zip(first_manifest["layers"], second_manifest["layers"], strict=False)):
        if a["digest"] != b["digest"]:
            made_by = _made_by(first_config, number)
            return f"layer {number} ({made_by}): {_in_layer(first, second, a['digest'], b['digest'])}"
    if len(first_manifest["layers"]) != len(second_manifest["layers"]):
        return f"the number of layers: {len(first_manifest['layers'])} and {len(second_manifest['layers'])}"
    keys = [key for key in {**first_config, **second_config} if first_config.get(key) != second_config.get(key)]
    changes = [f"{key}: {first_config.get(key)} and {second_config.get(key)}" for key in keys]
    if changes:
        return f"the configuration: {'; '.join(changes)}"
    return f"the manifest: {first_manifest} and {second_manifest}"


def _image(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration."""
    with tarfile.open(file) as archive:
        manifest = json.loads(_read(archive, _blob(manifest_digest(file))))
        return manifest, json.loads(_read(archive, _blob(manifest["config"]["digest"])))


def _made_by(config: dict[str, Any], number: int) -> str:
    lines = [line["created_by"] for line in config["history"] if not line.get("empty_layer")]
    return " ".join(lines[number].split())[:80]


def _in_layer(first: Path, second: Path, first_digest: str, second_digest: str) -> str:
    with _layer(first, first_digest) as tar:
        first_members = members(tar)
    with _layer(second, second_digest) as tar:
        second_members = members(tar)
    change = first_difference(first_members, second_members)
    if change is None:
        return "the same members, otherwise written or compressed"
    position = _position(first, second, first_digest, second_digest, change)
    return f"{change.name or 'the tar'}: {change.description}{position}"


def _position(first: Path, second: Path, first_digest: str, second_digest: str, change: LayerDifference) -> str:
    """Return the first different byte of a file if its content differs."""
    with (
        _layer(first, first_digest) as a,
        _layer(second, second_digest) as b,
        _content(a, change.name) as x,
        _content(b, change.name) as y,
    ):
        offset = first_offset(x, y) if x and y else None
    return "" if offset is None else f", first at byte {offset}"


@contextmanager
def _layer(file: Path, digest: str) -> Iterator[IO[bytes]]:
    with tarfile.open(file) as archive:
        blob = archive.extractfile(_blob(digest))
        assert blob is not None, f"{digest} is not a file"
        unpacked: Any = decompressed(blob)
        yield unpacked


@contextmanager
def _content(layer: IO[bytes], name: str) -> Iterator[IO[bytes] | None]:
    with tarfile.open(fileobj=layer, mode="r|") as archive:
        member = next((member for member in archive if member.name == name), None)
        yield archive.extractfile(member) if member else None


def _blob(digest: str) -> str:
    """Return the path of a blob in an image layout (the OCI image layout specification)."""
    return f"blobs/{digest.replace(':', '/')}"


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is not a file"
    return member.read()
