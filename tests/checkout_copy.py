"""Copy of this checkout for tests that run tasks as a user would."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CACHES = ("downloads", "programs", "roots", "tools")
"""Folders below .build that a copy takes over from this checkout."""


def clone(name: str) -> Path:
    """Return a clone of the last commit below .build, with the caches of this checkout."""
    place = ROOT / ".build" / name
    checkout(place)
    return place


def checkout(place: Path, caches: Sequence[str] = CACHES) -> None:
    """Clone the last commit, and give the clone some caches of this checkout."""
    shutil.rmtree(place, ignore_errors=True)
    process.run(process.Command(argv=("git", "clone", "--quiet", str(ROOT), str(place))))
    take_over_caches(place, caches)


def take_over_caches(place: Path, caches: Sequence[str] = CACHES) -> None:
    """Link caches of this checkout into a copy, which must be on the same disk."""
    for cache in caches:
        if (ROOT / ".build" / cache).is_dir():
            to = place / ".build" / cache
            shutil.copytree(ROOT / ".build" / cache, to, copy_function=os.link, symlinks=True)


def invoke(copy: Path, *arguments: str) -> process.Command:
    """Return the command that runs a task of the copy with the engine of this checkout."""
    # `python -m` imports from the working directory first, which must have the library of the copy.
    argv = ("env", f"--chdir={copy}", sys.executable, "-m", "invoke", *arguments)
    return process.Command(argv=argv, env=engine.environment(ROOT))
