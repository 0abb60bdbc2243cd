"""Cache of measured sizes, by image digest, below .build/sizes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, state
from dynamo_containers.inspect.sizes import manifest
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.inspect.sizes.manifest import ImageSize


def remember(folder: Path, digest: str, size: ImageSize) -> None:
    """Write the size of an image into the cache."""
    write(Document(path=_file(folder, digest), text=json.dumps(asdict(size), indent=1) + "\n"))


def recall(folder: Path, digest: str) -> ImageSize | None:
    """Return the size of an image; None where it was not measured, or by another version of this library."""
    try:
        return manifest.from_rows(file_reader.cached_json(_file(folder, digest))["layers"])
    except (KeyError, TypeError):
        return None


def _file(folder: Path, digest: str) -> Path:
    return folder / state.SIZES / f"{digest.removeprefix('sha256:')}.json"
