"""Small images in files: layers, a folder in the OCI image layout, an archive of `docker save`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@dataclass(frozen=True)
class Mode:
    """The content of a file that has other rights than usual."""

    content: bytes
    mode: int


def tar(files: Mapping[str, bytes | Mode | str]) -> bytes:
    """Return a tar: path -> content, or (a text) the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, file in files.items():
            member = tarfile.TarInfo(path)
            if isinstance(file, str):
                member.type, member.linkname = tarfile.SYMTYPE, file
                archive.addfile(member)
                continue
            content = file.content if isinstance(file, Mode) else file
            member.size, member.mode = len(content), file.mode if isinstance(file, Mode) else 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Layout:
    """A folder in the OCI image layout, to which images are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def blob(self, content: bytes) -> dict[str, Any]:
        """Write a blob, and return its descriptor."""
        name = digest(content)
        (self.folder / "blobs" / name.replace(":", "/")).write_bytes(content)
        return {"digest": name, "size": len(content)}

    def image(self, *layers: bytes, arch: str = "amd64", compressor: str = "zstd") -> str:
        """Add an image of these tars, and return the digest of its manifest."""
        diff_ids = [digest(layer) for layer in layers]
        config = {"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        manifest = {
            "config": self.blob(json.dumps(config).encode()),
            "layers": [self.blob(COMPRESSORS[compressor](layer)) for layer in layers],
        }
        self.manifests.append(self.blob(json.dumps(manifest).encode()))
        self._write_index()
        return str(self.manifests[-1]["digest"])

    def nest(self) -> None:
        """Put the manifests into an index below the index, beside an attestation."""
        inner = self.blob(json.dumps({"manifests": self.manifests}).encode())
        attestation = {"digest": "sha256:0", "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
        self.manifests = [{"mediaType": "application/vnd.oci.image.index.v1+json", **inner}, attestation]
        self._write_index()

    def _write_index(self) -> None:
        (self.folder / "index.json").write_text(json.dumps({"manifests": self.manifests}))


def docker_save(path: Path, *layers: bytes, tag: str = "toy:1") -> Path:
    """Write an archive as Docker without containerd's store: plain layers, and a link for one that repeats."""
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest(layer) for layer in layers]}}
    names = [f"{number}/layer.tar" for number, _ in enumerate(layers)]
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": names}]
    files: dict[str, bytes | Mode | str] = {
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    for name, layer in zip(names, layers, strict=True):
        earlier = next((other for other, content in files.items() if content == layer), "")
        files[name] = f"../{earlier}" if earlier else layer
    path.write_bytes(tar(files))
    return path
