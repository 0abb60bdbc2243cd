"""Size of an image by layer, from its manifest and history.

See https://github.com/opencontainers/image-spec/blob/main/manifest.md and config.md: the layers of a manifest are those
lines of the history that are not empty, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

TREE = "COPY /tree /"
"""By what every step that installs Python packages puts its layer on the image (containers/*/Dockerfile)."""
NAMED = "# layer: "
"""Begins the line of a RUN's script that says how people call its layer (containers/*/Dockerfile)."""
BOOTSTRAP = "mmdebstrap"
"""What the history of a bootstrapped root image begins with (prepare/oci_layout.py)."""
SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer; sizes in bytes."""

    name: str
    digest: str
    """Of its compressed bytes, as a registry names it."""
    content: str
    """Of its bytes before they were compressed: that is the same whichever version of an engine compressed them."""
    packed: int
    """As it is pulled: compressed."""
    unpacked: int


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The layers of an image of one platform, from below."""

    layers: tuple[Layer, ...]

    @property
    def packed(self) -> int:
        """Return the bytes of a pull into an empty store."""
        return sum(layer.packed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        """Return the bytes on a disk."""
        return sum(layer.unpacked for layer in self.layers)

    @property
    def largest(self) -> Layer:
        """Return the layer that takes longest to pull."""
        return max(self.layers, key=lambda layer: layer.packed)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> ImageSize:
    """Return the size that some layers as JSON has them are.

    Raises:
        TypeError: a row has other keys than a layer.
    """
    return ImageSize(layers=tuple(Layer(**row) for row in rows))


def measured(
    manifest: Mapping[str, Any], contents: Sequence[str], history: Sequence[tuple[int, str]], steps: Sequence[str] = ()
) -> ImageSize:
    """Return the size of an image.

    Args:
        manifest: its manifest, as the registry would have it.
        contents: `rootfs.diff_ids` of its configuration.
        history: (bytes, created by) of every line, from below, empty ones too; the bytes are those of the files.
        steps: the names of the steps that put a `/tree` on it, from below; a layer of packages is called after its own.

    Raises:
        ValueError: there are not as many layers in the one as in the other.
    """
    lines = [(size, words) for size, words in history if _is_layer(words)]
    trees = iter(steps)
    names = [next(trees, TREE) if words.startswith(TREE) else _short(words) for _, words in lines]
    rows = zip(manifest["layers"], contents, lines, names, strict=True)
    return ImageSize(
        layers=tuple(
            Layer(name=name, digest=entry["digest"], content=content, packed=int(entry["size"]), unpacked=size)
            for entry, content, (size, _), name in rows
        )
    )


def _is_layer(words: str) -> bool:
    """Say whether a line of the history has a layer: what only sets something has none."""
    return words.split(maxsplit=1)[0] in ("RUN", "COPY", "ADD", "WORKDIR", BOOTSTRAP)


def _short(words: str) -> str:
    """Return how people call the layer of a line of the history: as its script says, else by how that begins."""
    if words.startswith(f"{BOOTSTRAP} "):
        return "root image"
    first, *script = words.splitlines()
    named = next((each.removeprefix(NAMED) for each in script if each.startswith(NAMED)), "")
    line = named or next((each for each in script if not each.startswith("#")), first)
    return line[:SHOWN].strip()


def to_pull(image: ImageSize, there: Collection[str]) -> int:
    """Return the bytes of a pull where the layers of these digests, of either kind, are there already."""
    return sum(layer.packed for layer in image.layers if layer.digest not in there and layer.content not in there)


def above(image: ImageSize, name: str) -> int:
    """Return the compressed bytes of the layers above the uppermost one of that name; of all where there is none."""
    places = [place for place, layer in enumerate(image.layers, 1) if layer.name == name]
    return sum(layer.packed for layer in image.layers[places[-1] if places else 0 :])
