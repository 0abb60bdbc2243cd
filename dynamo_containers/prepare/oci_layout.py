"""OCI image layout on disk, which BuildKit reads as a named context by digest.

See https://github.com/opencontainers/image-spec/blob/main/image-layout.md. Layers are not compressed: the output of a
compressor depends on its version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, integrity, process, state
from dynamo_containers.value_types import DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.locks.os_lock import Drift
    from dynamo_containers.platforms import Platform

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, kw_only=True)
class RootImage:
    """A root image in the layout: digest and size of its manifest, and the drift of its packages."""

    digest: str
    size: int
    drift: tuple[Drift, ...] = ()


def layout(folder: Path) -> Path:
    """Return the folder of the OCI image layout, which has every root image of this checkout."""
    return folder / state.ROOT_IMAGES


def add(store: Path, tar: Path, platform: Platform, epoch: int, drift: tuple[Drift, ...]) -> RootImage:
    """Move the tar of a root file system into the layout, and add the image that has it as its layer."""
    with tar.open("rb") as file:
        layer_digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    layer_size, blob = tar.stat().st_size, blob_path(store, layer_digest)
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not integrity.keep_intact(blob, layer_digest.partition(":")[2]):  # another image may have it, and its seal
        tar.replace(blob)
    config = _write_json(store, image_config(layer_digest, platform, epoch))
    layer = {"mediaType": LAYER_TYPE, "digest": layer_digest, "size": layer_size}
    manifest = _write_json(store, image_manifest(config, layer))
    return RootImage(digest=manifest["digest"], size=manifest["size"], drift=drift)


def image_config(layer_digest: str, platform: Platform, epoch: int) -> dict[str, Any]:
    """Return the OCI image configuration of a root image."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "architecture": platform.arch,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": created,
        "history": [{"created": created, "created_by": "mmdebstrap --variant=essential"}],
        "os": "linux",
        "rootfs": {"diff_ids": [layer_digest], "type": "layers"},
    }


def image_manifest(config: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """Return the OCI image manifest of a root image of one layer."""
    return {
        "config": {"mediaType": CONFIG_TYPE, **config},
        "layers": [layer],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }


def image_index(roots: dict[Platform, RootImage]) -> dict[str, Any]:
    """Return the OCI image index of root images of several platforms."""
    return {
        "manifests": [
            {
                "digest": root.digest,
                "mediaType": MANIFEST_TYPE,
                "platform": {"architecture": platform.arch, "os": "linux"},
                "size": root.size,
            }
            for platform, root in sorted(roots.items(), key=lambda item: item[0].value)
        ],
        "mediaType": INDEX_TYPE,
        "schemaVersion": 2,
    }


def write_index(folder: Path, roots: dict[Platform, RootImage]) -> str:
    """Write an index of the root images into the layout, and return its digest."""
    store = layout(folder)
    descriptor = {"mediaType": INDEX_TYPE, **_write_json(store, image_index(roots))}
    process.write(process.Document(path=store / "oci-layout", text='{"imageLayoutVersion": "1.0.0"}'))
    path = store / "index.json"
    index = file_reader.cached_json(path)
    others = index["manifests"] if isinstance(index, dict) and isinstance(index.get("manifests"), list) else []
    if descriptor not in others:
        text = json.dumps({"manifests": [*others, descriptor], "schemaVersion": 2})
        process.write(process.Document(path=path, text=text))
    return str(descriptor["digest"])


def image_files(store: Path, digest: str) -> tuple[Path, ...]:
    """Return the files of an image in the layout: its manifest, its configuration and its layers.

    Raises:
        InvalidValueError, LookupError, TypeError: the manifest is missing or is not one.
    """
    manifest = blob_path(store, digest)
    content = file_reader.cached_json(manifest)
    descriptors = (content["config"], *content["layers"])
    return (manifest, *(blob_path(store, DIGEST.parse(descriptor["digest"])) for descriptor in descriptors))


def is_intact(files: Iterable[Path]) -> bool:
    """Return whether files in the layout have the digests of their names; each is read."""
    return all(integrity.has_content(file, file.name) for file in files)


def _write_json(store: Path, content: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    process.write(process.Document(path=blob_path(store, digest), text=text))
    return {"digest": digest, "size": len(text.encode())}


def blob_path(store: Path, digest: str) -> Path:
    """Return the path of the content with a digest in a layout."""
    return store / "blobs" / Path(digest.replace(":", "/"))
