"""Inputs of a build, collected on this machine: root images, binaries, lock digests, secrets.

Everything is cached below .build by content: a no-op only reads a few small files.
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
from dynamo_containers.facts.locks import os_lock, platform_versions, python_lock, requirements
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


DEFAULT_UID = 1000
"""The UID of the user in every image; in a dev image only if root builds it."""


@dataclass(frozen=True, kw_only=True)
class OfflineInputs:
    """The inputs of a request as far as they are known without an engine, the network or disk space."""

    inputs: BuildInputs
    """Without drift; a root image that does not exist yet has its pinned digest."""
    texts: Mapping[str, Mapping[str, str]]
    """Image -> path -> text of its locks."""


@dataclass(frozen=True, kw_only=True)
class CompleteInputs:
    """The inputs of a request, all of whose files exist on this machine."""

    inputs: BuildInputs
    drift: tuple[Drift, ...]
    """The packages and root images that are not the locked ones."""


def build_inputs(request: Request, offline: OfflineInputs | None = None, *, dry_run: bool = False) -> BuildInputs:
    """Check the locks, make the missing files, and return the inputs of the plan.

    Args:
        request: the images to build.
        offline: its offline inputs, if the caller has them.
        dry_run: make nothing, and print the root images and the secret that would be made.

    Raises:
        LockError: a lock or a pin of the request is missing or stale.
        NoSpaceError: the build does not fit on the disk.
        DownloadError, CommandFailedError: a root image or a binary could not be made.
    """
    offline = offline or offline_inputs((request,))[0]
    if dry_run:
        root_images.announce(request)
        build_secrets.announce(request.catalogue.folder, os.environ)
        return offline.inputs
    disk_space.check_request(request, offline.texts, offline.inputs.locks)
    complete = _complete(request, offline.inputs)
    print_drift(request, complete.drift)
    return complete.inputs


def existing_inputs(request: Request, offline: OfflineInputs) -> CompleteInputs | None:
    """Return the inputs of a request if nothing has to be made or fetched; else None.

    Raises:
        LockError: (strict bases) the digest of a root image is not the pinned one.
    """
    if request.sources:
        return None
    roots = all(root_images.cached_digest(request, lock) for lock in root_images.request_locks(request))
    if not roots or not all(_are_ready(request)):
        return None
    return _complete(request, offline.inputs)


def print_drift(request: Request, drift: tuple[Drift, ...]) -> None:
    """Print the drift.

    Raises:
        LockError: the bases are strict, and files with drift were made by an earlier build that was not strict.
    """
    if drift:
        print(os_lock.drift_table(f"the {request.bases.name} bases", drift), file=sys.stderr, flush=True)
    if drift and request.bases.strict:
        message = "A strict build uses locked versions only.\nLock the current versions: invoke lock --only os"
        raise LockError(message)


def _complete(request: Request, offline: BuildInputs) -> CompleteInputs:
    """Make the missing files; return the inputs and the drift."""
    layer_pins.ensure(layer for layers in offline.package_layers.values() for layer in layers)
    images, drift = root_images.ensure_request(request)
    drift += _fetch(request)
    labels = tuple(dict.fromkeys(f"{row.name}={row.used}" for row in drift))
    return CompleteInputs(inputs=replace(offline, roots=images, drift=labels), drift=drift)


def offline_build_inputs(request: Request) -> BuildInputs:
    """Check the locks; return the inputs that are known without an engine, the network or a writable disk.

    Raises:
        LockError: a lock or a pin of the request is missing or stale.
    """
    return offline_inputs((request,))[0].inputs


def offline_inputs(requests: Sequence[Request]) -> tuple[OfflineInputs, ...]:
    """Return the offline inputs of several requests of one checkout. Nothing is written; shared files are read once.

    Raises:
        LockError: as `offline_build_inputs`.
    """
    catalogue = requests[0].catalogue
    locks, revision = python_lock.locks(catalogue), _revision(catalogue.folder)
    texts = [current_locks.check_against(request, locks) for request in requests]
    return tuple(
        OfflineInputs(inputs=_offline_inputs(request, request_texts, locks, revision), texts=request_texts)
        for request, request_texts in zip(requests, texts, strict=True)
    )


def _offline_inputs(
    request: Request, texts: Mapping[str, Mapping[str, str]], locks: Sequence[LockFile], revision: str
) -> BuildInputs:
    folder, bases = request.catalogue.folder, request.bases
    return BuildInputs(
        native=native_platform(),
        version=_version(request, next(iter(texts.values())), locks),
        revision=revision,
        locks={name: _digest(request, image_texts) for name, image_texts in texts.items()},
        roots={
            (lock.role, lock.platform): root_images.cached_digest(request, lock)
            or request.catalogue.pins.root(bases.name, lock.role, lock.platform)
            for lock in root_images.request_locks(request)
        },
        layout=oci_layout.layout(folder),
        binaries=binaries.folder_of(folder, bases, request.catalogue.pins),
        package_layers=_package_layers(request, texts, locks),
        os_packages={name: os_packages.folder_of(folder, bases, name) for name in _os_packages(request)},
        toolchains={
            name: toolchains.folder_of(folder, bases, request.catalogue.pins, name)
            for name in source_builds.toolchains(bases, request.sources)
        },
        user=os.getuid() or DEFAULT_UID,
        drift=(),
        sources=source_checkout.with_states(request.sources, strict=bases.strict),
        secrets=(*build_secrets.secrets(folder, os.environ), *(sccache.secrets(os.environ) if request.sources else ())),
        mirrors=mirrors.configured(),
    )


def _fetch(request: Request) -> tuple[Drift, ...]:
    """Fetch binaries, OS packages and toolchains; return their drift."""
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


def _are_ready(request: Request) -> Iterator[bool]:
    """Yield whether each folder that `_fetch` makes exists and is unchanged, without those of source builds."""
    folder, bases = request.catalogue.folder, request.bases
    for platform in request.platforms:
        if request.stage not in (Stage.BASE, Stage.BACKEND):
            yield binaries.is_ready(folder, bases, request.catalogue.pins, platform)
        for name in _os_packages(request):
            yield os_packages.is_ready(folder, bases, name, platform)


def _os_packages(request: Request) -> tuple[str, ...]:
    """Return the sets of OS packages in the images of a request, and the extended root images."""
    names = (
        name
        for image in request.images
        for name in (
            *extended_roots(request.bases, image, request.stage, request.platforms),
            *os_sets(image, request.stage),
        )
    )
    return tuple(dict.fromkeys((*source_builds.os_sets(request.sources), *names)))


def _package_layers(
    request: Request, texts: Mapping[str, Mapping[str, str]], locks: Sequence[LockFile]
) -> dict[str, tuple[PackageLayer, ...]]:
    """Return layer of Python packages -> its image layers, for the platforms that are built."""
    catalogue, package_layers = request.catalogue, {}
    current = {path: text for image_texts in texts.values() for path, text in image_texts.items()}
    for layer in layers(catalogue):
        if layer.name in (BUILDER, COMPILE, COMPILE_NIXL):
            continue  # not split
        by_platform = {
            lock.target.platform: current[lock.path]
            for lock in locks
            if lock.layer == layer and lock.path in current and lock.target.platform in request.platforms
        }
        if by_platform:
            split = layer_split.split_for(catalogue, layer)
            package_layers[layer.name] = layer_pins.split(catalogue.folder, request.bases.name, split, by_platform)
    return package_layers


def _version(request: Request, texts: Mapping[str, str], locks: Sequence[LockFile]) -> str:
    """Return the locked version of Dynamo, which is the same for every platform that is built.

    Raises:
        LockError: the platforms have different versions.
        UsageError: the base locks do not have the package.
    """
    base = [
        lock
        for lock in locks
        if lock.layer.named_only and lock.path in texts and lock.target.platform in request.platforms
    ]
    for message in platform_versions.differences(base, texts):
        raise LockError(message)
    pins = {pin.name: pin.version for lock in base for pin in requirements.read(texts[lock.path], lock.path)}
    if request.catalogue.version_package not in pins:
        message = (
            f'{IMAGES_FILE}: project.version-package: "{request.catalogue.version_package}" is not in the base locks.\n'
            f"They have: {', '.join(pins)}."
        )
        raise UsageError(message)
    return pins[request.catalogue.version_package]


def _digest(request: Request, texts: Mapping[str, str]) -> str:
    """Return the digest of everything that is locked for an image."""
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
