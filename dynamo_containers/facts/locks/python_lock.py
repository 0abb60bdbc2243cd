"""Python locks: their paths, inputs and targets, and whether each is current.

A lock is one file per layer, bases and architecture: `constraints/<layer>-<bases>-<arch>.txt`. The layer's file in
requirements/ names the packages; the lock pins their versions and hashes. The locks below constrain a layer, and their
packages are not in its own lock. The packages that several images share are in a lock of their own (python_common.py).
Every build imports this module, so it imports nothing slow. python_layers.py lists the layers and requirements.py
parses a lock; lock/python/ updates the locks and verifies them with uv.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import requirement_files
from dynamo_containers.facts.locks.python_layers import COMPILE, COMPILE_NIXL, backend_layer, layers
from dynamo_containers.facts.locks.requirements import (
    COMMAND,
    LOCKS,
    lines,
    provided,
    read,
    read_files_if_there,
    read_if_valid,
    readable_files,
)
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_layers import PythonLayer
    from dynamo_containers.facts.locks.requirements import LockedPackage

COMMON_CONSTRAINTS = "requirements/constraints.in"
"""Constraints of every lock: security floors, one version of NIXL."""


@dataclass(frozen=True, kw_only=True)
class LockTarget:
    """Environment that a lock is resolved for; independent of the machine that runs `invoke lock`."""

    bases: str
    python: str
    """`3.11.2`, or `3.11` where nobody knows the patch release."""
    glibc: str
    platform: Platform

    def __str__(self) -> str:
        """Return the target as the lock's header states it."""
        return f"{self.bases} {self.platform.value}, Python {self.python}, glibc {self.glibc}"

    @property
    def uv_platform(self) -> str:
        """Return the target for `uv pip install --python-platform`."""
        return f"{self.platform.machine}-manylinux_{self.glibc.replace('.', '_')}"


ANY_HOST = LockTarget(bases="any", python="3.11", glibc="2.28", platform=Platform.AMD64)
"""Target of the project's own tools. It is fixed, so that every machine resolves the same lock: the oldest Python needs
the most packages. The hashes cover all files of a release, so the lock installs on newer Pythons and arm64 too."""


@dataclass(frozen=True, kw_only=True)
class LockFile:
    """One lock that must exist, and its inputs. Paths are relative to the project's root."""

    path: str
    layer: PythonLayer
    target: LockTarget
    lower: tuple[LockFile, ...]
    """Locks of the layers below, lowest first."""
    shared: str = ""
    """Path of the lock with the packages that its image shares with others; this lock has the rest ('' for none)."""
    shared_by: tuple[str, ...] = ()
    """Of a shared lock: the locks that share it."""
    excluded: tuple[str, ...] = ()
    """Packages that are not installed although another one requires them."""
    compiled: tuple[str, ...] = ()
    """Packages that have no wheel for the target."""
    indexes: tuple[tuple[str, str], ...] = ()
    """(package, address) of packages that have their own index."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the files that decide the content of the lock, with those that they include (`included_files`)."""
        if self.shared_by:
            return ()
        return (self.layer.requirements, COMMON_CONSTRAINTS, *(lower.path for lower in self.lower))


def locks(catalogue: Catalogue) -> tuple[LockFile, ...]:
    """Return every lock that must exist, lower layers first.

    Raises:
        UsageError: a layer below an image's has no lock for the same target.
    """
    by_path: dict[str, LockFile] = {}
    for layer in layers(catalogue):
        for target in _targets(catalogue, layer):
            path = _path(layer.name, target)
            by_path[path] = _lock(catalogue, layer, target, by_path)
    return tuple(by_path.values())


def locked_for_images(catalogue: Catalogue) -> tuple[LockFile, ...]:
    """Return the locks whose packages are in an image; not the tools of this project, and not compilers of wheels."""
    return tuple(
        lock
        for lock in locks(catalogue)
        if lock.target != ANY_HOST
        and lock.layer.name not in {COMPILE, COMPILE_NIXL}
        and not (lock.layer.image and lock.layer.name == backend_layer(catalogue.images[lock.layer.image]))
    )


def _lock(
    catalogue: Catalogue, layer: PythonLayer, target: LockTarget, lower_locks: Mapping[str, LockFile]
) -> LockFile:
    lower = [_lower(lower_locks, layer, _path(lower, target)) for lower in layer.on]
    shared = _path(layer.shares, target) if _is_shared(catalogue, layer.shares, target) else ""
    if layer.over_shared and _is_shared(catalogue, layer.over_shared, target):
        lower.insert(1, lower_locks[_path(layer.over_shared, target)])
    return LockFile(
        path=_path(layer.name, target),
        layer=layer,
        target=target,
        lower=tuple(lower),
        shared=shared,
        shared_by=_shared_by(catalogue, layer, target),
        excluded=tuple(sorted(catalogue.excluded)) if layer.image else (),
        compiled=catalogue.images[layer.image].compile_from_source.get(target.platform, ()) if layer.image else (),
        indexes=_own_indexes(catalogue, layer),
    )


def _shared_by(catalogue: Catalogue, layer: PythonLayer, target: LockTarget) -> tuple[str, ...]:
    names = _sharing(catalogue, layer.name, target) if layer.shared else ()
    return tuple(_path(name, target) for name in names)


def _own_indexes(catalogue: Catalogue, layer: PythonLayer) -> tuple[tuple[str, str], ...]:
    if not layer.image or layer.on_engine_image:
        return ()
    rows = (catalogue.indexes[name] for name in catalogue.images[layer.image].indexes)
    return tuple((package, row.url) for row in rows for package in row.packages)


def _targets(catalogue: Catalogue, layer: PythonLayer) -> tuple[LockTarget, ...]:
    if layer.shared:
        members = [image.name for image in catalogue.images.values() if image.common_layer == layer.name]
        targets = dict.fromkeys(target for name in members for target in _image_targets(catalogue, name))
        return tuple(target for target in targets if _is_shared(catalogue, layer.name, target))
    if layer.image is None:
        return (ANY_HOST,)
    image_targets = _image_targets(catalogue, layer.image, layer.root)
    if layer.on_engine_image:
        # The published image has a Python of its own, whose patch release nobody knows here.
        return tuple(
            replace(target, python=catalogue.bases[target.bases].python, glibc=catalogue.oldest_glibc)
            for target in image_targets
        )
    return image_targets


def _image_targets(catalogue: Catalogue, name: str, root: str = "") -> tuple[LockTarget, ...]:
    image = catalogue.images[name]
    return tuple(
        LockTarget(bases=bases.name, python=bases.python_of(root), glibc=bases.glibc_of(root), platform=platform)
        for bases in (catalogue.bases[name] for name in image.bases)
        for platform in image.platforms
    )


def _sharing(catalogue: Catalogue, shared: str, target: LockTarget) -> tuple[str, ...]:
    """Return the images that share a layer on a target."""
    images = (image.name for image in catalogue.images.values() if image.common_layer == shared)
    return tuple(name for name in images if target in _image_targets(catalogue, name))


def _is_shared(catalogue: Catalogue, shared: str, target: LockTarget) -> bool:
    return bool(shared) and len(_sharing(catalogue, shared, target)) > 1


def _path(layer: str, target: LockTarget) -> str:
    if target == ANY_HOST:
        return f"constraints/{layer}.txt"
    return f"constraints/{layer}-{target.bases}-{target.platform.arch}.txt"


def _lower(locks: Mapping[str, LockFile], layer: PythonLayer, path: str) -> LockFile:
    if path not in locks:
        message = f'The layer "{layer.name}" is based on {path}, but no image of {IMAGES_FILE} has that layer.'
        raise UsageError(message)
    return locks[path]


def digest(lock: LockFile, texts: Mapping[str, str]) -> str:
    """Return the digest of a lock's inputs; comments and empty lines do not count."""
    inputs = [str(lock.target), str(lock.layer.named_only), *lock.shared_by]
    inputs += [f"left out: {name}" for name in lock.excluded] + [f"{name} @ {url}" for name, url in lock.indexes]
    for path in (*lock.inputs, *included_files(lock, texts)):
        inputs += [path, *lines(texts[path])]
    return _sha256(inputs)


def included_files(lock: LockFile, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that the requirement files of a lock include.

    Raises:
        UsageError: a line of a requirement file is invalid.
    """
    return requirement_files.included(_requirement_files(lock), texts)


def _requirement_files(lock: LockFile) -> tuple[tuple[str, bool], ...]:
    """Return (file, whether it only constrains versions) of the lock's inputs that are written by hand."""
    return tuple((path, path == COMMON_CONSTRAINTS) for path in lock.inputs[:2])


def _sha256(parts: Iterable[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def shares_line(path: str, text: str) -> str:
    """Return the line by which a lock names the lock that it shares, with the digest of that lock."""
    return f"# shares {path}: {_sha256(lines(text))}"


def header(lock: LockFile, texts: Mapping[str, str], provided: Mapping[str, Iterable[LockedPackage]]) -> str:
    """Return the first lines of a lock: its command, target, inputs, and the packages that the locks below provide."""
    return "".join(
        (
            "#\n# This file is autogenerated by pip-compile\n# by the following command:\n#\n",
            f"#    {COMMAND}\n#\n",
            f"# target: {lock.target}\n",
            f"# inputs: {digest(lock, texts)}\n",
            *(
                f"# provided by {path}: {' '.join(package.pin for package in packages)}\n"
                for path, packages in provided.items()
                if packages
            ),
            "#\n",
        )
    )


def stale_reason_in(lock: LockFile, texts: Mapping[str, str]) -> str | None:
    """Return why a lock cannot be used, given path -> text of the files that exist; None when it is current."""
    for path in lock.inputs:
        if path not in texts:
            return f"{lock.path}: its input {path} is missing.\n{_remedy(path)}"
    if lock.path not in texts:
        return f"{lock.path} is missing.\nCreate it with: {COMMAND}"
    try:
        read(texts[lock.path], lock.path)
    except LockError as error:
        return str(error)
    return _outdated_reason(lock, texts)


def _outdated_reason(lock: LockFile, texts: Mapping[str, str]) -> str | None:
    lock_lines = texts[lock.path].splitlines()
    if lock.shared and (lock.shared not in texts or shares_line(lock.shared, texts[lock.shared]) not in lock_lines):
        return f"{lock.path} does not match {lock.shared}, which it shares.\nUpdate both with: {COMMAND}"
    if f"# inputs: {digest(lock, texts)}" in lock_lines:
        return None
    inputs = " or ".join((*lock.inputs, *included_files(lock, texts), *lock.shared_by))
    return f"{lock.path} is stale: {inputs} or its target changed.\nUpdate it with: {COMMAND}"


def _remedy(path: str) -> str:
    return f"Create {path} or restore it with: git checkout {path}" if path.endswith(".in") else f"Run: {COMMAND}"


def stale_reason(lock: LockFile, folder: Path) -> str | None:
    """Return why a lock is missing or stale, with the command to run; None when it is current. Offline."""
    try:
        return stale_reason_in(lock, read_texts(lock, folder))
    except LockError as error:  # the lock is not text
        return str(error)


def disagreements(locks: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Return a message for each package that layers of one image pin in different versions.

    The locks below constrain the one above, so this only happens to a lock that was edited or merged by hand.
    """
    messages = []
    for lock in locks:
        texts = {path: text for path, text in _stack(lock, folder).items() if text}
        pins: dict[str, dict[str, str]] = {}
        for path, text in texts.items():
            for package in read_if_valid(text):
                pins.setdefault(package.name, {})[path] = package.version
            for name, version in provided(text) if path == lock.path else ():
                pins.setdefault(name, {})[f"{path} (as provided)"] = version
        for name, versions in pins.items():
            if len(set(versions.values())) > 1:
                places = ", ".join(f"{version} in {path}" for path, version in versions.items())
                messages.append(f"{name} differs between layers of one image: {places}.\nUpdate them with: {COMMAND}")
    return tuple(dict.fromkeys(messages))


def _stack(lock: LockFile, folder: Path) -> dict[str, str]:
    paths = (*(lower.path for lower in lock.lower), *((lock.shared,) if lock.shared else ()), lock.path)
    return readable_files(folder, paths)


def never_locked(lock: LockFile, folder: Path) -> bool:
    """Return whether a lock does not exist yet although it may need an index that this machine cannot reach."""
    return bool(lock.indexes) and not os.path.lexists(folder / lock.path)


def unlocked_below(lock: LockFile, folder: Path) -> tuple[str, ...]:
    """Return the locks below a lock that do not exist yet for that reason."""
    return tuple(lower.path for lower in lock.lower if never_locked(lower, folder))


def read_valid_texts(lock: LockFile, folder: Path) -> dict[str, str]:
    """Return the same without the locks that are not text: they are about to be replaced."""
    return _read_requirement_files(lock, folder) | readable_files(folder, filter(None, _tool_written(lock)))


def _read_requirement_files(lock: LockFile, folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path, is_constraint in _requirement_files(lock):
        texts |= requirement_files.read(path, folder, is_constraint=is_constraint)
    return texts


def _tool_written(lock: LockFile) -> tuple[str, ...]:
    return (*(path for path in lock.inputs if path.startswith(LOCKS)), lock.shared, lock.path)


def read_texts(lock: LockFile, folder: Path) -> dict[str, str]:
    """Return path -> text of the lock, its inputs and the files that these include, as far as they exist.

    Raises:
        UsageError: a line of a requirement file is invalid, or it includes a file that does not exist.
    """
    return _read_requirement_files(lock, folder) | read_files_if_there(folder, _tool_written(lock))
