"""What are the wheels of the base stage made from: the index, a pinned commit, or a checkout? Pure.

The words stand on the command line or in containers/images.toml (`sources.*.build`): docs/source-builds.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.model import IMAGES_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.bases import Bases
    from dynamo_containers.model import Catalogue

DYNAMO = "dynamo"
PACKAGES = {DYNAMO: ("ai-dynamo", "ai-dynamo-runtime")}
"""Source -> the packages whose wheels are built from it."""
RUST = "rust"
OS_SETS = {DYNAMO: RUST}
"""Source -> the set of OS packages that compiles it."""
WHEELS = "wheels"
GIT = "git"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Source code that is built."""

    context: str
    """BuildKit's context: the folder of a checkout, or URL#COMMIT."""
    local: bool
    state: str = ""
    """The commit, with `-dirty` for a checkout that has other files than it; '' before a checkout was looked at."""


def chosen(catalogue: Catalogue, words: Mapping[str, str]) -> dict[str, Source]:
    """Return what is built from source; a word of the command line goes before the row of images.toml.

    Raises:
        UsageError: a git reference that is no commit.
        LockError: `git` without a pin.
    """
    found = {}
    for name in PACKAGES:
        row = catalogue.sources.get(name)
        word = words.get(name, "") or (row.build if row else "")
        if word not in ("", WHEELS):
            found[name] = _source(catalogue, name, word)
    return found


def _source(catalogue: Catalogue, name: str, word: str) -> Source:
    if word == GIT:
        return _pinned(catalogue, name)
    if "://" not in word:
        return Source(context=str((catalogue.folder / Path(word).expanduser()).resolve()), local=True)
    url, _, commit = word.partition("#")
    if not COMMIT.fullmatch(commit):
        message = (
            f"--{name}-source {word}: {commit or 'nothing'} is no commit, and a tag or branch moves.\n"
            f"Name the commit, URL#COMMIT with its 40 digits, which this prints: git ls-remote {url} {commit}".rstrip()
        )
        raise UsageError(message)
    return Source(context=word, local=False, state=commit)


def _pinned(catalogue: Catalogue, name: str) -> Source:
    row, pin = catalogue.sources.get(name), catalogue.pins.sources.get(name)
    if row is None:
        message = f"{IMAGES_FILE} has no sources.{name}, so there is no repository to build from."
        raise UsageError(message)
    if pin is None or pin.ref != row.ref:
        was = f"it is pinned for {pin.ref}" if pin else "it was never locked"
        message = (
            f"sources.{name}: {row.ref} of {row.git} is to be built, and {was}.\n"
            "Where that repository can be reached, run: invoke lock --only archives"
        )
        raise LockError(message)
    return Source(context=f"{row.git}#{pin.commit}", local=False, state=pin.commit)


def os_sets(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the sets of OS packages that compile some sources."""
    return tuple(dict.fromkeys(OS_SETS[name] for name in sources))


def check_os_sets(bases: Bases, sources: Mapping[str, Source]) -> None:
    """Refuse sources that nothing can compile on some bases.

    Raises:
        UsageError: there is no set of OS packages for it.
    """
    for name in sources:
        if OS_SETS[name] not in bases.packages:
            message = (
                f"{IMAGES_FILE}: bases.{bases.name} has no packages.{OS_SETS[name]}, with which {name} is compiled.\n"
                f"Take its wheels: --{name}-source {WHEELS}"
            )
            raise UsageError(message)
