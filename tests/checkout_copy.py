"""Copy of this checkout for tests that run tasks as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

from dynamo_containers import engine, integrity, process
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


UNFINISHED = shutil.ignore_patterns("bootstrap-*", "tmp*")
"""What temporary folders of the caches are called."""


def take_over_caches(place: Path, caches: Sequence[str] = CACHES) -> None:
    """Give a copy, which must be on the same disk, caches of this checkout.

    Downloads are linked. What is sealed is copied and sealed again: a link would break the seal here and there.
    What another command is still making is left out: a bootstrap has devices such as /dev/full, which never end.
    """
    for cache in caches:
        if (ROOT / ".build" / cache).is_dir():
            to, copy = place / ".build" / cache, os.link if cache == "downloads" else shutil.copy2
            shutil.copytree(ROOT / ".build" / cache, to, copy_function=copy, symlinks=True, ignore=UNFINISHED)
            for seal in to.rglob(f"*{integrity.SUFFIX}"):
                paths = [str(seal.parent / name) for name, *_ in json.loads(seal.read_bytes())]
                text = integrity.render(seal.parent, [(path, os.lstat(path)) for path in paths])
                seal.write_text(text, encoding="utf-8")


def without_known_gaps(images: str) -> str:
    """Return the text of images.toml without its rows about locks that are knowingly missing."""
    return re.sub(r"^\[lock\.not-locked\.[^\n]*\n(?:[^\n\[][^\n]*\n)*\n?", "", images, flags=re.MULTILINE)


def invoke(copy: Path, *arguments: str) -> process.Command:
    """Return the command that runs a task of the copy with the engine of this checkout."""
    # `python -m` imports from the working directory first, which must have the library of the copy.
    argv = ("env", f"--chdir={copy}", sys.executable, "-m", "invoke", *arguments)
    return process.Command(argv=argv, env=engine.environment(ROOT))
