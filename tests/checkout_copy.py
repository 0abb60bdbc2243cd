"""A copy of this checkout on which a test does what a person would do."""

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
"""What a build of this checkout made and a copy need not make again."""


def clone(name: str) -> Path:
    """Return a clone of the last commit below .build, with all that it need not make again."""
    place = ROOT / ".build" / name
    checkout(place)
    return place


def checkout(place: Path, caches: Sequence[str] = CACHES) -> None:
    """Clone the last commit and let it take over some caches."""
    shutil.rmtree(place, ignore_errors=True)
    process.run(process.Command(argv=("git", "clone", "--quiet", str(ROOT), str(place))))
    take_over_caches(place, caches)


def take_over_caches(place: Path, caches: Sequence[str] = CACHES) -> None:
    """Let a copy have what this checkout's builds made, as links: a link is none across disks."""
    for cache in caches:
        if (ROOT / ".build" / cache).is_dir():
            to = place / ".build" / cache
            shutil.copytree(ROOT / ".build" / cache, to, copy_function=os.link, symlinks=True)


def invoke(copy: Path, *arguments: str) -> process.Command:
    """Return the command that runs a task of the copy, with this checkout's engine."""
    # `python -m` looks in the working directory first: there the copy's own library must be.
    argv = ("env", f"--chdir={copy}", sys.executable, "-m", "invoke", *arguments)
    return process.Command(argv=argv, env=engine.environment(ROOT))
