"""Python locks: which exist, what each is made from, and whether it is current.

A lock is one file per layer, bases and architecture: `constraints/<layer>-<bases>-<arch>.txt`. The layer's file in
requirements/ says whether a package is installed; the lock says which version, by hash. An upper layer is constrained
by the locks of the layers it stands on, and what those already provide stays out of it. What several images have in
common is computed into a lock of its own (python_lock_shared).
Every build asks this, so nothing here is slow to import; python_layers says which layers there are, python_pins reads a
lock, python_lock_refresh makes one, and python_lock_judge lets uv judge it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.python_layers import layers
from dynamo_containers.facts.locks.requirements import COMMAND, lines, provided, read, readable
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_layers import Layer
    from dynamo_containers.facts.locks.requirements import LockedPackage

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
    shared: str = ""
    """The lock of what its image has in common with others; those packages stand there and not here ('' for none)."""
    parts: tuple[str, ...] = ()
    """For the lock of a shared layer: the locks that have it in common."""
    left_out: tuple[str, ...] = ()
    """Packages that stay out although another one requires them."""
    compiled: tuple[str, ...] = ()
    """Packages that have no wheel for the target."""
    indexes: tuple[tuple[str, str], ...] = ()
    """(package, address) of what is on an index of its own."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the files that decide what is in the lock."""
        if self.parts:
            return ()
        return (self.layer.requirements, EVERYWHERE, *(lower.path for lower in self.below))


def locks(catalogue: Catalogue) -> tuple[LockFile, ...]:
    """Return every lock that must exist, lower layers first.

    Raises:
        UsageError: a layer below an image's has no lock for the same target.
    """
    made: dict[str, LockFile] = {}
    for layer in layers(catalogue):
        for target in _targets(catalogue, layer):
            path = _path(layer.name, target)
            made[path] = _lock(catalogue, layer, target, made)
    return tuple(made.values())


def _lock(catalogue: Catalogue, layer: Layer, target: Target, made: Mapping[str, LockFile]) -> LockFile:
    below = [_lower(made, layer, _path(lower, target)) for lower in layer.on]
    shared = _path(layer.shares, target) if _is_shared(catalogue, layer.shares, target) else ""
    if layer.over_shared and _is_shared(catalogue, layer.over_shared, target):
        below.insert(1, made[_path(layer.over_shared, target)])
    return LockFile(
        path=_path(layer.name, target),
        layer=layer,
        target=target,
        below=tuple(below),
        shared=shared,
        parts=tuple(_path(name, target) for name in _sharing(catalogue, layer.name, target)) if layer.shared else (),
        left_out=tuple(sorted(catalogue.excluded)) if layer.image else (),
        compiled=catalogue.images[layer.image].compile_from_source.get(target.platform, ()) if layer.image else (),
        indexes=_own_indexes(catalogue, layer),
    )


def _own_indexes(catalogue: Catalogue, layer: Layer) -> tuple[tuple[str, str], ...]:
    if not layer.image or layer.on_engine_image:
        return ()
    rows = (catalogue.indexes[name] for name in catalogue.images[layer.image].indexes)
    return tuple((package, row.url) for row in rows for package in row.packages)


def _targets(catalogue: Catalogue, layer: Layer) -> tuple[Target, ...]:
    if layer.shared:
        members = [image.name for image in catalogue.images.values() if image.common_layer == layer.name]
        every = dict.fromkeys(target for name in members for target in _image_targets(catalogue, name))
        return tuple(target for target in every if _is_shared(catalogue, layer.name, target))
    if layer.image is None:
        return (ANY_HOST,)
    targets = _image_targets(catalogue, layer.image, layer.root)
    if layer.on_engine_image:
        return tuple(replace(target, glibc=catalogue.oldest_glibc) for target in targets)
    return targets


def _image_targets(catalogue: Catalogue, name: str, root: str = "") -> tuple[Target, ...]:
    image = catalogue.images[name]
    return tuple(
        Target(bases=bases.name, python=bases.python, glibc=bases.glibc_of(root), platform=platform)
        for bases in (catalogue.bases[name] for name in image.bases)
        for platform in image.platforms
    )


def _sharing(catalogue: Catalogue, shared: str, target: Target) -> tuple[str, ...]:
    """Return the images that have a layer in common on a target."""
    images = (image.name for image in catalogue.images.values() if image.common_layer == shared)
    return tuple(name for name in images if target in _image_targets(catalogue, name))


def _is_shared(catalogue: Catalogue, shared: str, target: Target) -> bool:
    return bool(shared) and len(_sharing(catalogue, shared, target)) > 1


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
    meaning = [str(lock.target), str(lock.layer.named_only), *lock.parts]
    meaning += [f"left out: {name}" for name in lock.left_out] + [f"{name} @ {url}" for name, url in lock.indexes]
    for path in lock.inputs:
        meaning += [path, *lines(texts[path])]
    return _sha256(meaning)


def _sha256(meaning: Iterable[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(meaning).encode()).hexdigest()


def shares(path: str, text: str) -> str:
    """Return the line by which a lock says what it has in common with others: that lock, by content."""
    return f"# shares {path}: {_sha256(lines(text))}"


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
    return _why_not_current(lock, texts)


def _why_not_current(lock: LockFile, texts: Mapping[str, str]) -> str | None:
    said = texts[lock.path].splitlines()
    if lock.shared and (lock.shared not in texts or shares(lock.shared, texts[lock.shared]) not in said):
        return f"{lock.path} does not fit {lock.shared}, where the rest of it stands.\nRenew both with: {COMMAND}"
    if f"# inputs: {digest(lock, texts)}" in said:
        return None
    made_from = " or ".join((*lock.inputs, *lock.parts))
    return f"{lock.path} is stale: {made_from} or its target changed.\nRenew it with: {COMMAND}"


def _remedy(path: str) -> str:
    return f"Write {path} or restore it with: git checkout {path}" if path.endswith(".in") else f"Run: {COMMAND}"


def stale(lock: LockFile, folder: Path) -> str | None:
    """Say why a lock is missing or stale, with what to run; None when it is current. Offline, in milliseconds."""
    return why_stale(lock, texts_of(lock, folder))


def disagreements(every: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Return a line for each package that two layers of one image pin apart.

    The locks below constrain the one above, so this only happens to a lock that was edited or merged by hand.
    """
    found = []
    for lock in every:
        texts = {path: text for path, text in _stack(lock, folder).items() if text}
        pins: dict[str, dict[str, str]] = {}
        for path, text in texts.items():
            for package in readable(text):
                pins.setdefault(package.name, {})[path] = package.version
            for name, version in provided(text) if path == lock.path else ():
                pins.setdefault(name, {})[f"{path} (as provided)"] = version
        for name, where in pins.items():
            if len(set(where.values())) > 1:
                said = ", ".join(f"{version} in {path}" for path, version in where.items())
                found.append(f"{name} differs between layers of one image: {said}.\nRenew them with: {COMMAND}")
    return tuple(dict.fromkeys(found))


def _stack(lock: LockFile, folder: Path) -> dict[str, str]:
    paths = (*(lower.path for lower in lock.below), *((lock.shared,) if lock.shared else ()), lock.path)
    return {path: (folder / path).read_text(encoding="utf-8") for path in paths if (folder / path).is_file()}


def not_locked(lock: LockFile, folder: Path) -> bool:
    """Say whether a lock was never made, for want of an index of its own that could be reached."""
    return bool(lock.indexes) and not (folder / lock.path).is_file()


def not_locked_below(lock: LockFile, folder: Path) -> tuple[str, ...]:
    """Return the locks below one that were never made for that reason."""
    return tuple(lower.path for lower in lock.below if not_locked(lower, folder))


def texts_of(lock: LockFile, folder: Path) -> dict[str, str]:
    """Read the lock and its inputs, as far as they exist."""
    paths = (path for path in (*lock.inputs, lock.shared, lock.path) if (folder / path).is_file())
    return {path: (folder / path).read_text(encoding="utf-8") for path in paths}
