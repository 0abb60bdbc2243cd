"""Metadata that bake writes of a build that ended well: the digest of each image, and BuildKit's record of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, value_types

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST = "containerimage.digest"
"""The digest of an image (https://docs.docker.com/reference/cli/docker/buildx/bake/)."""
REFERENCE = "buildx.build.ref"
"""BuildKit's record of a build, as BUILDER/NODE/ID."""


def read(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return target -> what bake noted of it; nothing where it wrote no metadata."""
    document = file_reader.cached_json(file)
    rows = document.items() if isinstance(document, dict) else ()
    return {target: row for target, row in rows if isinstance(row, dict)}


def digests(file: Path) -> dict[str, str]:
    """Return target -> digest of the images that were made; nothing where bake wrote no metadata."""
    return {
        target: str(row[DIGEST]) for target, row in read(file).items() if value_types.DIGEST.accepts(row.get(DIGEST))
    }
