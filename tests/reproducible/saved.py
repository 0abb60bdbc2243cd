"""In what do two images differ that should be the same? Reads two files that `docker save` wrote."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from tests.reproducible.layer_compare import LayerDifference, first_difference, first_offset, members
from tests.smoke.layers import decompressed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def manifest_digest(file: Path) -> str:
    """Return the digest of the manifest of the only image of the file: the platform's digest.

    Raises:
        ValueError: the file holds another number of images.
    """
    with tarfile.open(file) as archive:
        (only,) = json.loads(_read(archive, "index.json"))["manifests"]
    return str(only["digest"])


def difference(one: Path, other: Path) -> str:
    """Return in what the only image of the two files differs, for a person; '' where nothing does.

    The layers are compared from below; the first that differs is the cause of what is above it, more often than not.
    """
    digests = [manifest_digest(file) for file in (one, other)]
    if digests[0] == digests[1]:
        return ""
    (left, left_config), (right, right_config) = _image(one), _image(other)
    for number, (a, b) in enumerate(zip(left["layers"], right["layers"], strict=False)):
        if a["digest"] != b["digest"]:
            made_by = _made_by(left_config, number)
            return f"layer {number} ({made_by}): {_in_layer(one, other, a['digest'], b['digest'])}"
    if len(left["layers"]) != len(right["layers"]):
        return f"the number of layers: {len(left['layers'])} and {len(right['layers'])}"
    keys = [key for key in {**left_config, **right_config} if left_config.get(key) != right_config.get(key)]
    said = [f"{key}: {left_config.get(key)} and {right_config.get(key)}" for key in keys]
    return "the configuration: " + "; ".join(said) if said else f"the manifest: {left} and {right}"


def _image(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration."""
    with tarfile.open(file) as archive:
        manifest = json.loads(_read(archive, _blob(manifest_digest(file))))
        return manifest, json.loads(_read(archive, _blob(manifest["config"]["digest"])))


def _made_by(config: dict[str, Any], number: int) -> str:
    lines = [line["created_by"] for line in config["history"] if not line.get("empty_layer")]
    return " ".join(lines[number].split())[:80]


def _in_layer(one: Path, other: Path, left: str, right: str) -> str:
    with _layer(one, left) as tar:
        ours = members(tar)
    with _layer(other, right) as tar:
        theirs = members(tar)
    found = first_difference(ours, theirs)
    if found is None:
        return "the same members, otherwise written or compressed"
    return f"{found.name or 'the tar'}: {found.what}{_where(one, other, left, right, found)}"


def _where(one: Path, other: Path, left: str, right: str, found: LayerDifference) -> str:
    """Return at which byte the content of a file differs, if that is what does."""
    with _layer(one, left) as a, _layer(other, right) as b, _content(a, found.name) as x, _content(b, found.name) as y:
        offset = first_offset(x, y) if x and y else None
    return "" if offset is None else f", first at byte {offset}"


@contextmanager
def _layer(file: Path, digest: str) -> Iterator[IO[bytes]]:
    with tarfile.open(file) as archive:
        blob = archive.extractfile(_blob(digest))
        assert blob is not None, f"{digest} is no file"
        yield decompressed(blob)


@contextmanager
def _content(layer: IO[bytes], name: str) -> Iterator[IO[bytes] | None]:
    with tarfile.open(fileobj=layer, mode="r|") as archive:
        found = next((member for member in archive if member.name == name), None)
        yield archive.extractfile(found) if found else None


def _blob(digest: str) -> str:
    """Return where an image layout has a blob (the OCI image layout specification)."""
    return f"blobs/{digest.replace(':', '/')}"


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is no file"
    return member.read()
