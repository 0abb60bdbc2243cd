"""How many bytes does a target download for pins that are locked already? Asked of the index, which is all it is for.

Nothing is resolved: of each release the locked files are looked at, and the best of them for the target is taken, as an
install does. A page is asked for once, for however many locks and targets. A lock that is made anew needs none of this:
pip_compile_target knows the sizes by then. Run as `python -m dynamo_containers.pip_sizes QUESTIONS --answers FILE` in
the environment of the tools; both files are JSON, lock -> list of `name==version`, and lock -> pin -> bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from piptools.locations import CACHE_DIR

from dynamo_containers import python_lock, python_pins
from dynamo_containers.cooldown import Cooldown
from dynamo_containers.model import ROOT, load
from dynamo_containers.pip_compile_target import as_a_process, isolate, named
from dynamo_containers.pip_repository import TargetRepository, note_sizes
from dynamo_containers.run import Document, write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pip._internal.index.collector import IndexContent

    from dynamo_containers.python_lock import LockFile


def sizes(questions: Mapping[LockFile, Collection[str]], folder: Path) -> dict[str, dict[str, int | None]]:
    """Return path -> pin -> bytes; None where the index states no size.

    Args:
        questions: lock -> those of its pins that are asked for.
        folder: the checkout.
    """
    note_sizes()
    pages: dict[str, IndexContent | None] = {}
    repositories: dict[object, TargetRepository] = {}
    found: dict[str, dict[str, int | None]] = {}
    for lock, wanted in questions.items():
        key = lock.target, lock.indexes
        if key not in repositories:
            # No cooldown: what is locked was old enough then.
            cooldown = Cooldown(uploaded_before="")
            repositories[key] = TargetRepository([], CACHE_DIR, lock=lock, cooldown=cooldown, pages=pages)
        pins = python_pins.read((folder / lock.path).read_text(encoding="utf-8"), lock.path)
        found[lock.path] = {
            each.pin: repositories[key].size(each, compiled=each.name in lock.compiled)
            for each in pins
            if each.pin in wanted
        }
    return found


def main(words: list[str] | None = None) -> None:
    """Answer one file of questions."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.pip_sizes", description=__doc__)
    parser.add_argument("questions", type=Path, help="lock -> the pins that are asked for")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--answers", type=Path, required=True, help="where to leave lock -> pin -> bytes")
    given = parser.parse_args(words)
    isolate()
    every = python_lock.locks(load(given.folder))
    asked = json.loads(given.questions.read_text(encoding="utf-8"))
    found = sizes({named(path, every): pins for path, pins in asked.items()}, given.folder)
    write(Document(path=given.answers, text=json.dumps(found, indent=2) + "\n"))


if __name__ == "__main__":
    as_a_process(main)
