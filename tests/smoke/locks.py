"""What does a lock say an environment holds?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import python_pins

if TYPE_CHECKING:
    from pathlib import Path


def locked_environment(folder: Path, layer: str, bases: str, arch: str) -> set[tuple[str, str]]:
    """Return (name, version) of what a layer's lock adds, and of what it takes from the locks below it."""
    text = (folder / f"constraints/{layer}-{bases}-{arch}.txt").read_text(encoding="utf-8")
    added = {(package.name, package.version) for package in python_pins.read(text)}
    return added | {*python_pins.provided(text)}
