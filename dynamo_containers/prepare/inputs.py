"""Inputs of a build, collected on this machine: root images, binaries, lock digests, secrets.

Everything is cached under .build by content, so that with nothing changed this reads a few small files and is done.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import CommandFailedError, LockError, UsageError
from dynamo_containers.facts import mirrors, sccache
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage
from dynamo_containers.facts.image_inputs import extended_roots, os_sets
from dynamo_containers.facts.locks import os_lock, python_lock, requirements
from dynamo_containers.facts.locks.python_layers import BUILDER, COMPILE, COMPILE_NIXL, layers
from dynamo_containers.plan import layer_split, source_builds
from dynamo_containers.plan.request import BuildInputs
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import (
    binaries,
    build_secrets,
    current_locks,
    disk_space,
    layer_pins,
    oci_layout,
    os_packages,
    root_images,
    source_checkout,
    toolchains,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import Drift
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.plan.layer_split import PackageLayer
    from dynamo_containers.plan.request import Request


ANYBODY = 1000
"""The UID of the user in every image, and of a dev image's where root builds it."""


@dataclass(frozen=True, kw_only=True)
class OfflineInputs:
    """What can be known of a request without an engine, the network or room on the disk."""

    inputs: BuildInputs
    """Without what drifted; the pinned digest stands for a root image that is not there yet."""
    texts: Mapping[str, Mapping[str, str]]
    """Image -> the locks that go into it, path -> text."""


@dataclass(frozen=True, kw_only=True)
class CompleteInputs:
    """The inputs of a request for which nothing is missing on this machine."""

    inputs: BuildInputs
    drift: tuple[Drift, ...]
    """What is not as its lock says."""


def build_inputs(request: Request, offline: OfflineInputs | None = None, *, dry_run: bool = False) -> BuildInputs:
    """Check the locks, make what is missing, and return what the planner must know.

    Args:
        request: what is to be built.
        offline: what is known of it already, None to find out.
        dry_run: make nothing, name what would be made.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale.
        NoSpaceError: the disk cannot hold what the build would write.
        DownloadError, CommandFailedError: a root image or a program could not be made.
    """
    offline = offline or offline_inputs((request,))[0]
    if dry_run:
        root_images.announce(request)
        return offline.inputs
    disk_space.check_request(request, offline.texts, offline.inputs.locks)
    complete = _complete(request, offline.inputs)
    say_drift(request, complete.drift)
    return complete.inputs


def existing(request: Request, offline: OfflineInputs) -> CompleteInputs | None:
    """Return the inputs of a request where nothing has to be made or fetched; None where something may.

    Raises:
        LockError: (strict bases) a root image is another one than pinned.
    """
    if request.sources:
        return None
    roots = all(root_images.digest_of(request, lock) for lock in root_images.locks_of(request))
    if not roots or not all(tree.is_dir() for tree in _trees(request)):
        return None
    return _complete(request, offline.inputs)


def say_drift(request: Request, drift: tuple[Drift, ...]) -> None:
    """Print what drifted.

    Raises:
        LockError: the bases are strict: it was made before, when nobody asked for strictness.
    """
    if drift:
        print(os_lock.drift_table(f"the {request.bases.name} bases", drift), file=sys.stderr, flush=True)
    if drift and request.bases.strict:
        message = (
            "A strict build takes nothing else than what is locked.\nLock what there is now: invoke lock --only os"
        )
        raise LockError(message)


def _complete(request: Request, offline: BuildInputs) -> CompleteInputs:
    """Make what is missing; return the inputs as they are now, and what drifted."""
    layer_pins.ensure(part for parts in offline.package_layers.values() for part in parts)
    build_secrets.ensure(request.catalogue.folder, os.environ)
    images, drift = root_images.ensure_request(request)
    drift += _fetched(request)
    labels = tuple(dict.fromkeys(f"{row.name}={row.used}" for row in drift))
    return CompleteInputs(inputs=replace(offline, roots=images, drift=labels), drift=drift)


def stated(request: Request) -> BuildInputs:
    """Check the locks; return what is known of a request without an engine, the network or a writable disk.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale.
    """
    return offline_inputs((request,))[0].inputs


def offline_inputs(requests: Sequence[Request]) -> tuple[OfflineInputs, ...]:
    """Return it for several requests of one checkout: nothing is written, what they share is read once.

    Raises:
        LockError: as `stated`.
    """
    catalogue = requests[0].catalogue
    every, revision = python_lock.locks(catalogue), _revision(catalogue.folder)
    texts = [current_locks.check_with(request, every) for request in requests]
    return tuple(
        OfflineInputs(inputs=_stated(request, each, every, revision), texts=each)
        for request, each in zip(requests, texts, strict=True)
    )


def _stated(
    request: Request, texts: Mapping[str, Mapping[str, str]], every: Sequence[LockFile], revision: str
) -> BuildInputs:
    folder, bases = request.catalogue.folder, request.bases
    return BuildInputs(
        native=native_platform(),
        version=_version(request, next(iter(texts.values()))),
        revision=revision,
        locks={name: _digest(request, locks) for name, locks in texts.items()},
        roots={
            (lock.role, lock.platform): root_images.digest_of(request, lock)
            or request.catalogue.pins.root(bases.name, lock.role, lock.platform)
            for lock in root_images.locks_of(request)
        },
        layout=oci_layout.layout(folder),
        binaries=binaries.folder_of(folder, bases, request.catalogue.pins),
        package_layers=_pieces(request, texts, every),
        os_packages={name: os_packages.folder_of(folder, bases, name) for name in _os_packages(request)},
        toolchains={
            name: toolchains.folder_of(folder, bases, request.catalogue.pins, name)
            for name in source_builds.toolchains(bases, request.sources)
        },
        user=os.getuid() or ANYBODY,
        drift=(),
        sources=source_checkout.read(request.sources, strict=bases.strict),
        secrets=(*build_secrets.secrets(folder, os.environ), *(sccache.secrets(os.environ) if request.sources else ())),
        mirrors=mirrors.configured(),
    )


def _fetched(request: Request) -> tuple[Drift, ...]:
    """Fetch what is no Python package and no root image; return what drifted."""
    folder, bases = request.catalogue.folder, request.bases
    drift: tuple[Drift, ...] = ()
    for platform in request.platforms:
        if request.stage not in (Stage.BASE, Stage.BACKEND):
            drift += binaries.ensure(folder, bases, request.catalogue.pins, platform)
        for name in _os_packages(request):
            drift += os_packages.ensure(folder, bases, name, platform)
        for name in source_builds.toolchains(bases, request.sources):
            toolchains.ensure(folder, bases, request.catalogue.pins, name, platform)
    return drift


def _trees(request: Request) -> Iterator[Path]:
    """Yield the folders that `_fetched` makes, of what is not built from sources."""
    folder, bases = request.catalogue.folder, request.bases
    for platform in request.platforms:
        if request.stage not in (Stage.BASE, Stage.BACKEND):
            yield binaries.folder_of(folder, bases, request.catalogue.pins) / platform.arch
        for name in _os_packages(request):
            yield os_packages.folder_of(folder, bases, name) / platform.arch


def _os_packages(request: Request) -> tuple[str, ...]:
    """Return the sets of OS packages that the images of a request get, and what is installed on registries' images."""
    above = (
        name
        for image in request.images
        for name in (
            *extended_roots(request.bases, image, request.stage, request.platforms),
            *os_sets(image, request.stage),
        )
    )
    return tuple(dict.fromkeys((*source_builds.os_sets(request.sources), *above)))


def _pieces(
    request: Request, texts: Mapping[str, Mapping[str, str]], every: Sequence[LockFile]
) -> dict[str, tuple[PackageLayer, ...]]:
    """LayerSplit the locks that go into the images, for the platforms that are built."""
    catalogue, cuts = request.catalogue, {}
    known = {path: text for each in texts.values() for path, text in each.items()}
    for layer in layers(catalogue):
        if layer.name in (BUILDER, COMPILE, COMPILE_NIXL):
            continue  # installed as they are
        locks = {
            lock.target.platform: known[lock.path]
            for lock in every
            if lock.layer == layer and lock.path in known and lock.target.platform in request.platforms
        }
        if locks:
            how = layer_split.split_for(catalogue, layer)
            cuts[layer.name] = layer_pins.split(catalogue.folder, request.bases.name, how, locks)
    return cuts


def _version(request: Request, texts: Mapping[str, str]) -> str:
    base = (text for path, text in texts.items() if path.startswith("constraints/base-"))
    pins = {pin.name: pin.version for text in base for pin in requirements.read(text)}
    if request.catalogue.version_package not in pins:
        message = (
            f'{IMAGES_FILE}: project.version-package: "{request.catalogue.version_package}" is not in the base locks.\n'
            f"They have: {', '.join(pins)}."
        )
        raise UsageError(message)
    return pins[request.catalogue.version_package]


def _digest(request: Request, texts: Mapping[str, str]) -> str:
    """Return a digest over everything locked that goes into an image."""
    content = [f"{name}\n{text}" for name, text in sorted(texts.items())]
    if request.stage not in (Stage.BASE, Stage.BACKEND):
        pins = request.catalogue.pins.programs.items()
        own = (pin for pin in pins if pin[0][0] == request.bases.name and pin[0][1] in request.bases.programs)
        content += sorted(f"{key}\n{pin.sha256}" for key, pin in own)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _revision(folder: Path) -> str:
    argv = ("git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    try:
        return process.capture(process.Command(argv=argv)).strip()
    except CommandFailedError:
        return "unknown"  # a source archive has no history
