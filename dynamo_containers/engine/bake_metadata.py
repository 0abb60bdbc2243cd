"""Metadata that bake writes of a build that ended well: the digest of each image, and BuildKit's record of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST = "containerimage.digest"
"""The digest of an image (https://docs.docker.com/reference/cli/docker/buildx/bake/)."""
REFERENCE = "buildx.build.ref"
"""BuildKit's record of a build, as BUILDER/NODE/ID."""


def read(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return target -> what bake noted of it; nothing where it wrote no metadata."""
    document = json.loads(file.read_bytes()) if file.is_file() else {}
    return {target: row for target, row in document.items() if isinstance(row, dict)}


def digests(file: Path) -> dict[str, str]:
    """Return target -> digest of the images that were made; nothing where bake wrote no metadata."""
    return {target: str(row[DIGEST]) for target, row in read(file).items() if DIGEST in row}
