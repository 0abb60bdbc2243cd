"""The files that this project keeps below .build of a checkout, and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PREPARE_LOCK = ".build/prepare.lock"
"""Held while root images, binaries and packages are made: each of them once (builds/run.py)."""
IMAGES = ".build/images"
"""A file for each image that was built here, named by what decides it, with its digest (builds/up_to_date.py)."""
STEPS = ".build/steps"
"""What the targets of each bases and architecture were built from last (prepare/input_digests.py)."""
BUILT = ".build/built"
"""A file for each build that succeeded here, named by what decides it (prepare/disk_space.py)."""


def forget_builds(folder: Path) -> None:
    """Forget what was built from a checkout: the engine that had it is gone."""
    for file in (folder / BUILT).glob("*"):
        file.unlink(missing_ok=True)
