"""Download sizes of packages that are locked already, as their index states them.

Run in the environment of the tools as `python -m dynamo_containers.lock.python.size_query QUESTIONS --answers FILE`.
Both files are JSON: lock -> list of `name==version`, and lock -> pin -> bytes. Nothing is resolved: of the locked files
of a release, the best one for the target counts, as in an install. A page is read once, for all locks and targets.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from piptools.locations import CACHE_DIR

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.lock.python.compile import as_a_process, isolate, named
from dynamo_containers.lock.python.cooldown import Cooldown
from dynamo_containers.lock.python.repository import TargetRepository, note_sizes
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pip._internal.index.collector import IndexContent

    from dynamo_containers.facts.locks.python_lock import LockFile


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
        pins = requirements.read((folder / lock.path).read_text(encoding="utf-8"), lock.path)
        found[lock.path] = {
            each.pin: repositories[key].size(each, compiled=each.name in lock.compiled)
            for each in pins
            if each.pin in wanted
        }
    return found


def main(words: list[str] | None = None) -> None:
    """Answer one file of questions."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.lock.python.size_query", description=__doc__)
    parser.add_argument("questions", type=Path, help="lock -> the pins that are asked for")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--answers", type=Path, required=True, help="where to leave lock -> pin -> bytes")
    given = parser.parse_args(words)
    isolate()
    every = python_lock.locks(load_catalogue(given.folder))
    asked = json.loads(given.questions.read_text(encoding="utf-8"))
    found = sizes({named(path, every): pins for path, pins in asked.items()}, given.folder)
    write(Document(path=given.answers, text=json.dumps(found, indent=2) + "\n"))


if __name__ == "__main__":
    as_a_process(main)
