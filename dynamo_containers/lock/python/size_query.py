"""Query of an index for the download sizes of locked packages; run as a child process.

Run in the environment of the tools as `python -m dynamo_containers.lock.python.size_query QUERY --answers FILE`.
Both files are JSON: lock -> list of `name==version`, and lock -> pin -> bytes. Nothing is resolved: of the locked files
of a release, the best one for the target counts, as in an install. Each page is read once, for all locks and targets.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from piptools.locations import CACHE_DIR

from dynamo_containers import file_reader
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.lock.python.compile import find_lock, isolate, run_as_process
from dynamo_containers.lock.python.cooldown import Cooldown
from dynamo_containers.lock.python.repository import TargetRepository, record_sizes
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pip._internal.index.collector import IndexContent

    from dynamo_containers.facts.locks.python_lock import LockFile


def query_sizes(query: Mapping[LockFile, Collection[str]], folder: Path) -> dict[str, dict[str, int | None]]:
    """Return path -> pin -> bytes; None where the index states no size.

    Args:
        query: lock -> the pins whose size is needed.
        folder: the checkout.
    """
    record_sizes()
    pages: dict[str, IndexContent | None] = {}
    repositories: dict[object, TargetRepository] = {}
    sizes: dict[str, dict[str, int | None]] = {}
    for lock, queried_pins in query.items():
        key = lock.target, lock.indexes
        if key not in repositories:
            # No cooldown: locked releases were old enough when they were locked.
            cooldown = Cooldown(uploaded_before="")
            repositories[key] = TargetRepository([], CACHE_DIR, lock=lock, cooldown=cooldown, pages=pages)
        pins = requirements.read(requirements.read_file(folder, lock.path), lock.path)
        sizes[lock.path] = {
            package.pin: repositories[key].size(package, compiled=package.name in lock.compiled)
            for package in pins
            if package.pin in queried_pins
        }
    return sizes


def main(argv: list[str] | None = None) -> None:
    """Answer one query file."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.lock.python.size_query", description=__doc__)
    parser.add_argument("query", type=Path, help="JSON file: lock -> the pins whose size is needed")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--answers", type=Path, required=True, help="JSON file to write: lock -> pin -> bytes")
    options = parser.parse_args(argv)
    isolate()
    locks = python_lock.locks(load_catalogue(options.folder))
    query = file_reader.parse_json(file_reader.read_text(options.query))
    sizes = query_sizes({find_lock(path, locks): pins for path, pins in query.items()}, options.folder)
    write(Document(path=options.answers, text=json.dumps(sizes, indent=2) + "\n"))


if __name__ == "__main__":
    run_as_process(main)
