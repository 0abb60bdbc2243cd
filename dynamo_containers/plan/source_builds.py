"""Origin of the wheels in the base stage: the index, a pinned commit, or a checkout.

The words stand on the command line or in containers/images.toml (`sources.*.build`): docs/how-to/source-builds.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.python_layers import COMPILE, COMPILE_NIXL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue

DYNAMO = "dynamo"
NIXL = "nixl"
UCX = "ucx"
WHEELS = "wheels"
GIT = "git"
COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORY = re.compile(r"^git://|^https?://github[.]com/|[.]git$")
"""What BuildKit takes for a repository; it would fetch any other address as one file."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose sources can be built."""

    packages: tuple[str, ...]
    """The packages whose wheels are built from it; `{cuda}` is the CUDA major of the bases."""
    names: tuple[str, ...]
    """What a checkout of it may call itself."""
    os_set: str
    """The set of OS packages that compiles it."""
    layer: str
    """The layer of Python packages that does."""


PROJECTS = {
    DYNAMO: Project(
        packages=("ai-dynamo", "ai-dynamo-runtime"),
        names=("ai-dynamo", "ai-dynamo-runtime"),
        os_set="rust",
        layer=COMPILE,
    ),
    NIXL: Project(
        packages=("nixl", "nixl-cu{cuda}"),
        names=("nixl", "nixl-cu12", "nixl-cu13"),
        os_set="cxx",
        layer=COMPILE_NIXL,
    ),
    UCX: Project(packages=(), names=("ucx",), os_set="cxx", layer=COMPILE_NIXL),  # in NIXL's wheel
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Source code that is built."""

    context: str
    """BuildKit's context: the folder of a checkout, or URL#COMMIT."""
    local: bool
    state: str = ""
    """The commit, with `-dirty` for a checkout that has other files than it; '' before a checkout was looked at."""


def select(catalogue: Catalogue, words: Mapping[str, str]) -> dict[str, Source]:
    """Return what is built from source; a word of the command line goes before the row of images.toml.

    UCX is built where NIXL is, as pinned unless something else is said: NIXL's wheel holds the one it was linked to.

    Raises:
        UsageError: a git reference that is no commit, or UCX without NIXL.
        LockError: `git` without a pin.
    """
    said = {name: words.get(name, "") or _row(catalogue, name) for name in PROJECTS}
    wanted = {name: word for name, word in said.items() if word not in ("", WHEELS)}
    if NIXL in wanted:
        wanted[UCX] = said[UCX] or GIT
    elif words.get(UCX):
        message = f"--{UCX}-source {words[UCX]}: UCX is built into NIXL's wheel, and NIXL is not built.\n"
        raise UsageError(message + f"Say where NIXL comes from too: --{NIXL}-source FOLDER")
    else:
        wanted.pop(UCX, None)
    return {name: _source(catalogue, name, word) for name, word in wanted.items()}


def _row(catalogue: Catalogue, name: str) -> str:
    return catalogue.sources[name].build if name in catalogue.sources else ""


def _source(catalogue: Catalogue, name: str, word: str) -> Source:
    if word == GIT:
        return _pinned(catalogue, name)
    if word == WHEELS:
        message = f"--{name}-source {WHEELS}: UCX has no wheel of its own.\nBuild it as pinned: --{name}-source {GIT}"
        raise UsageError(message)
    if "://" not in word:
        return Source(context=str((catalogue.folder / Path(word).expanduser()).resolve()), local=True)
    url, _, commit = word.partition("#")
    if not COMMIT.fullmatch(commit):
        message = (
            f"--{name}-source {word}: {commit or 'nothing'} is no commit, and a tag or branch moves.\n"
            f"Name the commit, URL#COMMIT with its 40 digits, which this prints: git ls-remote {url} {commit}".rstrip()
        )
        raise UsageError(message)
    if not REPOSITORY.search(url):
        message = f"--{name}-source {word}: an address that does not end in .git is taken for a file.\n"
        message += f"Write the repository's whole address: --{name}-source {url.rstrip('/')}.git#{commit}"
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
            "Where that repository can be reached, run: invoke lock --only archives\n"
            f"Or name a checkout: --{name}-source FOLDER"
        )
        raise LockError(message)
    return Source(context=f"{row.git}#{pin.commit}", local=False, state=pin.commit)


def packages(bases: Bases, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the packages whose wheels are built from some sources."""
    return tuple(each.format(cuda=bases.cuda) for name in sources for each in PROJECTS[name].packages)


def os_sets(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the sets of OS packages that compile some sources."""
    return tuple(dict.fromkeys(PROJECTS[name].os_set for name in sources))


def toolchains(bases: Bases, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return which of these sets get a compiler on top."""
    return tuple(name for name in os_sets(sources) if name in bases.toolchains)


def layers(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the layers of Python packages that compile some sources."""
    return tuple(dict.fromkeys(PROJECTS[name].layer for name in sources))


def check(bases: Bases, sources: Mapping[str, Source]) -> None:
    """Refuse sources that nothing can compile on some bases.

    Raises:
        UsageError: there is no set of OS packages for it, or nothing says for which CUDA.
    """
    for name in sources:
        wanted, remedy = PROJECTS[name].os_set, f"Take its wheels: --{NIXL if name == UCX else name}-source {WHEELS}"
        if wanted not in bases.packages:
            message = f"{IMAGES_FILE}: bases.{bases.name} has no packages.{wanted}, with which {name} is compiled.\n"
            raise UsageError(message + remedy)
        if name == NIXL and not bases.cuda:
            message = f"{IMAGES_FILE}: bases.{bases.name} does not say its `cuda`, for which {name} is compiled.\n"
            raise UsageError(message + remedy)
