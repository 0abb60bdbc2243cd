"""Which Python locks exist, what is each one made from, and is it current?

A lock is one file per layer, bases and architecture: `constraints/<layer>-<bases>-<arch>.txt`. Its layer's
`requirements/<layer>.in` says whether a package is installed; the lock says which version, by hash. An upper layer is
constrained by the locks of the layers it stands on, and what those already provide stays out of it.
Every build asks this, so nothing here is slow to import; python_pins reads a lock, python_lock_refresh makes one, and
python_lock_judge lets uv judge it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.model import IMAGES_FILE
from dynamo_containers.platforms import Platform
from dynamo_containers.python_pins import COMMAND, lines, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.model import Catalogue
    from dynamo_containers.python_pins import LockedPackage

EVERYWHERE = "requirements/constraints.in"
"""What every lock obeys: security floors, one NIXL."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The environment that a lock is for; never the machine that makes it."""

    bases: str
    python: str
    glibc: str
    platform: Platform

    def __str__(self) -> str:
        """Return the words of the lock's header."""
        return f"{self.bases} {self.platform.value}, Python {self.python}, glibc {self.glibc}"

    @property
    def uv_platform(self) -> str:
        """Return the target in the words of `uv pip install --python-platform`."""
        return f"{self.platform.machine}-manylinux_{self.glibc.replace('.', '_')}"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A set of packages that is installed together: one file in requirements/."""

    name: str
    image: str | None
    """The image whose bases and platforms it is locked for; None: one lock for every host."""
    on: tuple[str, ...] = ()
    """The layers below. Their locks constrain this one, and what they list stays out of it."""
    named_only: bool = False
    """Lock only what the .in file names, and for each the one wheel that fits: a folder filled with --no-deps."""

    @property
    def requirements(self) -> str:
        """Return the hand-written file of the layer."""
        return f"requirements/{self.name}.in"


LAYERS = (
    Layer(name="tools", image=None),
    Layer(name="base", image="base", named_only=True),
    Layer(name="builder", image="base"),
    Layer(name="frontend", image="frontend", on=("base",)),
    Layer(name="frontend-ci", image="frontend", on=("base", "frontend")),
)
"""Lower layers first. A new environment is a row here and a file in requirements/."""

ANY_HOST = Target(bases="any", python="3.11", glibc="2.28", platform=Platform.AMD64)
"""What the project's own tools are resolved for, so that their lock is the same whoever makes it: the oldest Python
needs the most packages. The hashes cover all files of a release, so the lock installs on newer ones and arm64 too."""


@dataclass(frozen=True, kw_only=True)
class LockFile:
    """One lock that must exist, and what it is made from. Paths are relative to the project's root."""

    path: str
    layer: Layer
    target: Target
    below: tuple[LockFile, ...]
    """The locks of the layers below, lowest first."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the files that decide what is in the lock."""
        return (self.layer.requirements, EVERYWHERE, *(lower.path for lower in self.below))


def locks(catalogue: Catalogue, layers: Iterable[Layer] = LAYERS) -> tuple[LockFile, ...]:
    """Return every lock that must exist, lower layers first.

    Raises:
        UsageError: a layer's image does not exist, or a layer below it has no lock for the same target.
    """
    made: dict[str, LockFile] = {}
    for layer in layers:
        for target in _targets(catalogue, layer):
            path = _path(layer.name, target)
            below = tuple(_lower(made, layer, _path(lower, target)) for lower in layer.on)
            made[path] = LockFile(path=path, layer=layer, target=target, below=below)
    return tuple(made.values())


def _targets(catalogue: Catalogue, layer: Layer) -> tuple[Target, ...]:
    if layer.image is None:
        return (ANY_HOST,)
    if layer.image not in catalogue.images:
        message = f'The layer "{layer.name}" is for the image "{layer.image}", which {IMAGES_FILE} does not have.'
        raise UsageError(message)
    image = catalogue.images[layer.image]
    return tuple(
        Target(bases=bases.name, python=bases.python, glibc=bases.glibc, platform=platform)
        for bases in (catalogue.bases[name] for name in image.bases)
        for platform in image.platforms
    )


def _path(layer: str, target: Target) -> str:
    if target == ANY_HOST:
        return f"constraints/{layer}.txt"
    return f"constraints/{layer}-{target.bases}-{target.platform.arch}.txt"


def _lower(made: Mapping[str, LockFile], layer: Layer, path: str) -> LockFile:
    if path not in made:
        message = f'The layer "{layer.name}" stands on {path}, but no image of {IMAGES_FILE} has that layer there.'
        raise UsageError(message)
    return made[path]


def digest(lock: LockFile, texts: Mapping[str, str]) -> str:
    """Return a digest of what the lock is made from: comments and empty lines do not count."""
    meaning = [str(lock.target), str(lock.layer.named_only)]
    for path in lock.inputs:
        meaning += [path, *lines(texts[path])]
    return "sha256:" + hashlib.sha256("\n".join(meaning).encode()).hexdigest()


def header(lock: LockFile, texts: Mapping[str, str], provided: Mapping[str, Iterable[LockedPackage]]) -> str:
    """Return the first lines of a lock: how it is made, for what, from what, and what it leaves to the locks below."""
    return "".join(
        (
            "#\n# This file is autogenerated by pip-compile\n# by the following command:\n#\n",
            f"#    {COMMAND}\n#\n",
            f"# target: {lock.target}\n",
            f"# inputs: {digest(lock, texts)}\n",
            *(
                f"# provided by {path}: {' '.join(f'{each.name}=={each.version}' for each in packages)}\n"
                for path, packages in provided.items()
                if packages
            ),
            "#\n",
        )
    )


def why_stale(lock: LockFile, texts: Mapping[str, str]) -> str | None:
    """Say why a lock cannot be used, given the texts of all files that exist; None when it is current."""
    for path in lock.inputs:
        if path not in texts:
            return f"{lock.path}: {path}, which it is made from, is missing.\n{_remedy(path)}"
    if lock.path not in texts:
        return f"{lock.path} is missing.\nMake it with: {COMMAND}"
    try:
        read(texts[lock.path], lock.path)
    except LockError as error:
        return str(error)
    if f"# inputs: {digest(lock, texts)}" not in texts[lock.path].splitlines():
        return f"{lock.path} is stale: {' or '.join(lock.inputs)} or its target changed.\nRenew it with: {COMMAND}"
    return None


def _remedy(path: str) -> str:
    return f"Write {path} or restore it with: git checkout {path}" if path.endswith(".in") else f"Run: {COMMAND}"


def stale(lock: LockFile, folder: Path) -> str | None:
    """Say why a lock is missing or stale, with what to run; None when it is current. Offline, in milliseconds."""
    return why_stale(lock, texts_of(lock, folder))


def texts_of(lock: LockFile, folder: Path) -> dict[str, str]:
    """Read the lock and its inputs, as far as they exist."""
    paths = (path for path in (*lock.inputs, lock.path) if (folder / path).is_file())
    return {path: (folder / path).read_text(encoding="utf-8") for path in paths}
