"""Origin of the wheels in the base stage: the index, a pinned commit, or a checkout.

The command line or containers/images.toml (`sources.*.build`) states it: docs/how-to/source-builds.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
"""The addresses that BuildKit clones; it would download any other one as a file."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose sources can be built."""

    packages: tuple[str, ...]
    """The packages whose wheels are built from it; `{cuda}` is the CUDA major of the bases."""
    names: tuple[str, ...]
    """The project names that a checkout of it may have."""
    os_set: str
    """The set of OS packages with its compiler."""
    layer: str
    """The layer of Python packages with its build backends."""


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
    UCX: Project(packages=(), names=("ucx",), os_set="cxx", layer=COMPILE_NIXL),  # it is in NIXL's wheel
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Source code that wheels are built from."""

    context: str
    """BuildKit's context: the folder of a checkout, or URL#COMMIT."""
    local: bool
    state: str = ""
    """The commit, with `-dirty` for a checkout with changes; '' before a checkout was read."""


def select(catalogue: Catalogue, options: Mapping[str, str]) -> dict[str, Source]:
    """Return the sources that are built; an option of the command line overrides the row of images.toml.

    UCX is built with NIXL, by default as pinned: NIXL's wheel contains the UCX that it is linked to.

    Raises:
        UsageError: a git reference is not a commit, or UCX is built without NIXL.
        LockError: `git` without a pin.
    """
    origins = {name: options.get(name, "") or _row(catalogue, name) for name in PROJECTS}
    selected = {name: origin for name, origin in origins.items() if origin not in ("", WHEELS)}
    if NIXL in selected:
        selected[UCX] = origins[UCX] or GIT
    elif options.get(UCX):
        message = f"--{UCX}-source {options[UCX]}: UCX is part of NIXL's wheel, and NIXL is not built from source.\n"
        raise UsageError(message + f"Name the source of NIXL too: --{NIXL}-source FOLDER")
    else:
        selected.pop(UCX, None)
    return {name: _source(catalogue, name, origin) for name, origin in selected.items()}


def _row(catalogue: Catalogue, name: str) -> str:
    return catalogue.sources[name].build if name in catalogue.sources else ""


def _source(catalogue: Catalogue, name: str, origin: str) -> Source:
    if origin == GIT:
        return _pinned(catalogue, name)
    if origin == WHEELS:
        message = f"--{name}-source {WHEELS}: UCX has no wheel of its own.\nBuild it as pinned: --{name}-source {GIT}"
        raise UsageError(message)
    if "://" not in origin:
        return Source(context=str((catalogue.folder / Path(origin).expanduser()).resolve()), local=True)
    url, _, commit = origin.partition("#")
    _refuse_login(name, url)
    if not COMMIT.fullmatch(commit):
        message = (
            f"--{name}-source {origin}: a commit is required (URL#COMMIT, 40 digits): tags and branches can move.\n"
            f"To print the commit, run: git ls-remote {url} {commit}".rstrip()
        )
        raise UsageError(message)
    if not REPOSITORY.search(url):
        message = f"--{name}-source {origin}: BuildKit would download this address as a file, since it lacks .git.\n"
        message += f"Write the complete address of the repository: --{name}-source {url.rstrip('/')}.git#{commit}"
        raise UsageError(message)
    return Source(context=origin, local=False, state=commit)


def _refuse_login(name: str, url: str) -> None:
    """Refuse an address with a password or token: documents and reports would show it. `ssh://git@` is accepted."""
    address = urlsplit(url)
    if address.password or (address.username and address.scheme != "ssh"):
        message = (
            f"--{name}-source: this address has a login. It would be in the bake document, in the report and in the "
            f"history of the engine.\nClone the repository, and name the checkout: --{name}-source FOLDER"
        )
        raise UsageError(message)


def _pinned(catalogue: Catalogue, name: str) -> Source:
    row, pin = catalogue.sources.get(name), catalogue.pins.sources.get(name)
    if row is None:
        message = f"{IMAGES_FILE} has no sources.{name}, so there is no repository to build from."
        raise UsageError(message)
    if pin is None or pin.ref != row.ref:
        problem = f"the pin is for {pin.ref}" if pin else "it has no pin"
        message = (
            f"sources.{name}: {row.ref} of {row.git} cannot be built, because {problem}.\n"
            "Pin it (this needs access to the repository): invoke lock --only archives\n"
            f"Or name a checkout: --{name}-source FOLDER"
        )
        raise LockError(message)
    return Source(context=f"{row.git}#{pin.commit}", local=False, state=pin.commit)


def packages(bases: Bases, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the packages whose wheels are built from sources."""
    return tuple(package.format(cuda=bases.cuda) for name in sources for package in PROJECTS[name].packages)


def os_sets(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the sets of OS packages that compile sources."""
    return tuple(dict.fromkeys(PROJECTS[name].os_set for name in sources))


def toolchains(bases: Bases, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return those of these sets that also need a compiler from a release."""
    return tuple(name for name in os_sets(sources) if name in bases.toolchains)


def layers(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the layers of Python packages that compile sources."""
    return tuple(dict.fromkeys(PROJECTS[name].layer for name in sources))


def check(bases: Bases, sources: Mapping[str, Source]) -> None:
    """Check that sources can be compiled on bases.

    Raises:
        UsageError: the set of OS packages with the compiler is missing, or the version of CUDA.
    """
    for name in sources:
        os_set, remedy = PROJECTS[name].os_set, f"Use its wheels: --{NIXL if name == UCX else name}-source {WHEELS}"
        if os_set not in bases.packages:
            message = f"{IMAGES_FILE}: bases.{bases.name} has no packages.{os_set}, which compiles {name}.\n"
            raise UsageError(message + remedy)
        if name == NIXL and not bases.cuda:
            message = f"{IMAGES_FILE}: bases.{bases.name} has no `cuda`, the version that {name} is compiled for.\n"
            raise UsageError(message + remedy)
