"""Size of an image by layer, from its manifest and history.

See https://github.com/opencontainers/image-spec/blob/main/manifest.md and config.md: the layers of a manifest are
the lines of the history that are not empty, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

TREE = "COPY /tree /"
"""The instruction by which targets add a layer of Python packages (containers/*/Dockerfile)."""
NAMED = "# layer: "
"""Start of the line of a RUN's script that has the name of its layer (containers/*/Dockerfile)."""
BOOTSTRAP = "mmdebstrap"
"""Start of the history of a bootstrapped root image (prepare/oci_layout.py)."""
SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class MeasuredLayer:
    """A layer of an image; sizes in bytes."""

    name: str
    digest: str
    """Digest of its compressed bytes, by which a registry names it."""
    content: str
    """Digest of its uncompressed bytes, which is the same for every compressor."""
    packed: int
    """Compressed, as it is pulled."""
    unpacked: int
    """Uncompressed; 0 where only a registry was queried."""


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """Layers of an image of one platform, from the lowest on."""

    layers: tuple[MeasuredLayer, ...]

    @property
    def packed(self) -> int:
        """Return the bytes of a pull into an empty store."""
        return sum(layer.packed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        """Return the bytes on a disk."""
        return sum(layer.unpacked for layer in self.layers)

    @property
    def largest(self) -> MeasuredLayer:
        """Return the layer that takes longest to pull."""
        return max(self.layers, key=lambda layer: layer.packed)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> ImageSize:
    """Return the size of an image, given its layers as JSON.

    Raises:
        TypeError: a row has other keys than a layer.
    """
    return ImageSize(layers=tuple(MeasuredLayer(**row) for row in rows))


def measured(
    manifest: Mapping[str, Any],
    contents: Sequence[str],
    history: Sequence[tuple[int, str]],
    targets: Sequence[str] = (),
) -> ImageSize:
    """Return the size of an image.

    Args:
        manifest: its manifest, in the form of a registry.
        contents: `rootfs.diff_ids` of its configuration.
        history: (bytes of the files, created by) of every line from the lowest on, empty ones too.
        targets: the targets that copy a `/tree` into it, from the lowest on; each names its layer.

    Raises:
        ValueError: the manifest and the history have different numbers of layers.
    """
    lines = [(size, created_by) for size, created_by in history if _is_layer(created_by)]
    trees = iter(targets)
    names = [next(trees, TREE) if created_by.startswith(TREE) else _name(created_by) for _, created_by in lines]
    rows = zip(manifest["layers"], contents, lines, names, strict=True)
    return ImageSize(
        layers=tuple(
            MeasuredLayer(name=name, digest=entry["digest"], content=content, packed=int(entry["size"]), unpacked=size)
            for entry, content, (size, _), name in rows
        )
    )


def _is_layer(created_by: str) -> bool:
    """Return whether a line of the history has a layer: settings have none."""
    return created_by.split(maxsplit=1)[0] in ("RUN", "COPY", "ADD", "WORKDIR", BOOTSTRAP)


def _name(created_by: str) -> str:
    """Return the name of the layer of a line of the history: from its script, otherwise the script's first line."""
    if created_by.startswith(f"{BOOTSTRAP} "):
        return "root image"
    first, *script = created_by.splitlines()
    name = next((line.removeprefix(NAMED) for line in script if line.startswith(NAMED)), "")
    line = name or next((line for line in script if not line.startswith("#")), first)
    return line[:SHOWN].strip()


def to_pull(image: ImageSize, existing: Collection[str]) -> int:
    """Return the bytes of a pull into a store that has the layers of these digests (of either kind)."""
    return sum(layer.packed for layer in image.layers if layer.digest not in existing and layer.content not in existing)


def above(image: ImageSize, name: str) -> int:
    """Return the compressed bytes of the layers above the highest one of a name; of all where there is none."""
    indexes = [index for index, layer in enumerate(image.layers, 1) if layer.name == name]
    return sum(layer.packed for layer in image.layers[indexes[-1] if indexes else 0 :])
