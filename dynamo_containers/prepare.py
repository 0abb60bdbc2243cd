"""What does a build need from this machine before bake starts? Root images, programs, the locks' state, secrets.

Everything is cached under .build by content, so that with nothing changed this reads a few small files and is done.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from shutil import disk_usage
from typing import TYPE_CHECKING

from dynamo_containers import (
    host_secrets,
    oci_layout,
    os_lock,
    os_packages,
    programs,
    pulled,
    python_lock,
    python_pieces,
    python_pins,
    roots,
    run,
)
from dynamo_containers.build import Facts
from dynamo_containers.errors import CommandFailedError, LockError, NoSpaceError, UsageError
from dynamo_containers.graph import DEV_PACKAGES
from dynamo_containers.model import IMAGES_FILE, Stage
from dynamo_containers.pins import render_root
from dynamo_containers.platforms import native_platform
from dynamo_containers.python_layers import BUILDER, backend_layer, layers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.build import Request
    from dynamo_containers.model import Image
    from dynamo_containers.oci_layout import RootImage
    from dynamo_containers.os_lock import Drift, OsLock
    from dynamo_containers.pins import Pins
    from dynamo_containers.platforms import Platform
    from dynamo_containers.python_pieces import Piece


ANYBODY = 1000
"""The UID of the user in every image, and of a dev image's where root builds it."""


def facts(request: Request, *, dry_run: bool = False) -> Facts:
    """Check the locks, make what is missing, and return what the planner must know.

    A dry run makes nothing: it names what would be made.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale.
        NoSpaceError: the disk cannot hold what the build would write.
        DownloadError, CommandFailedError: a root image or a program could not be made.
    """
    known = stated(request)
    check_space(request, disk_usage(request.catalogue.folder).free)
    if dry_run:
        _announce(request)
        return known
    images, drift = _roots(request)
    drift += _served(request)
    if drift:
        print(os_lock.drift_table(f"the {request.bases.name} bases", drift), file=sys.stderr, flush=True)
    return replace(known, roots=images, drift=tuple(dict.fromkeys(f"{row.name}={row.used}" for row in drift)))


def stated(request: Request) -> Facts:
    """Check the locks and return what can be known without an engine, the network or room on the disk.

    The pinned digest stands for a root image that is not there yet.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale.
    """
    folder, bases = request.catalogue.folder, request.bases
    texts = _locks(request)
    return Facts(
        native=native_platform(),
        version=_version(request, next(iter(texts.values()))),
        revision=_revision(folder),
        locks={name: _digest(request, locks) for name, locks in texts.items()},
        roots={
            (lock.role, lock.platform): _made(request, lock)
            or request.catalogue.pins.root(bases.name, lock.role, lock.platform)
            for lock in _root_locks(request)
        },
        layout=oci_layout.layout(folder),
        programs=programs.folder_of(folder, bases, request.catalogue.pins),
        pieces=_pieces(request, texts),
        os_packages={name: os_packages.folder_of(folder, bases, name) for name in _os_packages(request)},
        user=os.getuid() or ANYBODY,
        drift=(),
        secrets=host_secrets.secrets(folder, os.environ),
    )


def _made(request: Request, lock: OsLock) -> str:
    """Return the digest of a root image that was made here, or ''."""
    folder = request.catalogue.folder
    root = roots.cached(folder, lock, os_lock.read(lock, folder), request.catalogue.pins.epoch)
    return root.digest if root else ""


def _served(request: Request) -> tuple[Drift, ...]:
    """Fetch what is no Python package and no root image; return what drifted."""
    folder, bases = request.catalogue.folder, request.bases
    drift: tuple[Drift, ...] = ()
    for platform in request.platforms:
        if request.stage not in (Stage.BASE, Stage.BACKEND):
            drift += programs.ensure(folder, bases, request.catalogue.pins, platform)
        for name in _os_packages(request):
            drift += os_packages.ensure(folder, bases, name, platform)
    return drift


def _os_packages(request: Request) -> tuple[str, ...]:
    """Return the sets of OS packages that the images of a request get on top of their root image."""
    return tuple(dict.fromkeys(name for image in request.images for name in os_sets(image, request.stage)))


def os_sets(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the sets of OS packages in an image of a stage."""
    if stage in (Stage.BASE, Stage.BACKEND):
        return ()
    return (*image.os_packages, DEV_PACKAGES) if stage is Stage.DEV else image.os_packages


def _pieces(request: Request, texts: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[Piece, ...]]:
    """Cut the locks that go into the images, for the platforms that are built."""
    catalogue, cuts = request.catalogue, {}
    known = {path: text for each in texts.values() for path, text in each.items()}
    for layer in layers(catalogue):
        if layer.name in (BUILDER, *(image.name for image in catalogue.images.values() if Stage.BASE in image.stages)):
            continue  # the base stage installs none
        locks = {
            lock.target.platform: known[lock.path]
            for lock in python_lock.locks(catalogue)
            if lock.layer == layer and lock.path in known and lock.target.platform in request.platforms
        }
        if locks:
            how = python_pieces.cut_of(catalogue, layer)
            cuts[layer.name] = python_pieces.ensure(catalogue.folder, request.bases.name, how, locks)
    return cuts


def python_layers(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the layers whose Python locks go into an image of a stage."""
    shared = (image.shares,) if image.shares else ()
    compiled = (backend_layer(image),) if image.compiles else ()
    runtime = (BUILDER, "base", *compiled, *shared, image.name)
    return {
        Stage.BASE: (BUILDER, "base"),
        Stage.BACKEND: (BUILDER, "base", *compiled, image.name),
        Stage.RUNTIME: runtime,
        Stage.CI: (*runtime, f"{image.name}-ci"),
        Stage.DEV: (*runtime, f"{image.name}-ci", f"{image.name}-dev"),
    }[stage]


def root_roles(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the root images that an image of a stage stands on, or that something in it was compiled on."""
    if stage is Stage.BASE:
        return ("builder",)
    runtime = () if stage is Stage.BACKEND else ("runtime",)
    return ("builder", *runtime, *(("devel",) if image.compiles or stage is Stage.BACKEND else ()))


def _locks(request: Request) -> dict[str, dict[str, str]]:
    """Return for each image the texts of the locks that go into it, after checking that they are current.

    On every platform that it is made for, although one may be built: a label has one value for all platforms of an
    image, so `ai.dynamo.lock` speaks of all of them.
    """
    for role in {role for image in request.images for role in root_roles(image, request.stage)}:
        if role not in request.bases.roots:
            message = f"{IMAGES_FILE}: bases.{request.bases.name} has no roots.{role}, which a {request.stage.value}"
            message += " image stands on."
            raise UsageError(message)
    for name in _os_packages(request):
        if name not in request.bases.packages:
            message = f"{IMAGES_FILE}: bases.{request.bases.name} has no packages.{name}, which a {request.stage.value}"
            message += " image needs."
            raise UsageError(message)
    return {image.name: _image_locks(request, image) for image in request.images}


def _image_locks(request: Request, image: Image) -> dict[str, str]:
    folder, bases = request.catalogue.folder, request.bases
    layers = python_layers(image, request.stage)
    texts = {}
    for lock in python_lock.locks(request.catalogue):
        if lock.layer.name in layers and lock.target.bases == bases.name:
            if reason := python_lock.stale(lock, folder):
                raise LockError(reason)
            texts[lock.path] = (folder / lock.path).read_text(encoding="utf-8")
    for role in root_roles(image, request.stage):
        texts |= _root_texts(request, image, role)
    for name in os_sets(image, request.stage):
        for system in (os_packages.lock_of(bases, name, platform) for platform in image.platforms):
            texts[system.file] = os_lock.render(system, os_lock.read(system, folder))
    return texts


def _root_texts(request: Request, image: Image, role: str) -> dict[str, str]:
    """Return what decides a root image: the locks of its packages, or its pin where a registry has it."""
    folder, bases = request.catalogue.folder, request.bases
    if role in bases.pulled:
        return {f"roots.{bases.name}.{role}": render_root(pulled.pinned(request.catalogue.pins, bases, role))}
    systems = [os_lock.OsLock(bases=bases, role=role, platform=platform) for platform in image.platforms]
    return {system.file: os_lock.render(system, os_lock.read(system, folder)) for system in systems}


def _version(request: Request, texts: Mapping[str, str]) -> str:
    base = (text for path, text in texts.items() if path.startswith("constraints/base-"))
    pins = {pin.name: pin.version for text in base for pin in python_pins.read(text)}
    if request.catalogue.version_of not in pins:
        message = (
            f'{IMAGES_FILE}: project.version-of: "{request.catalogue.version_of}" is not in the base locks.\n'
            f"They have: {', '.join(pins)}."
        )
        raise UsageError(message)
    return pins[request.catalogue.version_of]


def _digest(request: Request, texts: Mapping[str, str]) -> str:
    """Return a digest over everything locked that goes into an image."""
    content = [f"{name}\n{text}" for name, text in sorted(texts.items())]
    if request.stage not in (Stage.BASE, Stage.BACKEND):
        pins = request.catalogue.pins.programs.items()
        content += sorted(f"{key}\n{pin.sha256}" for key, pin in pins if key[0] == request.bases.name)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def check_space(request: Request, free: int) -> None:
    """Refuse a build that the disk cannot hold.

    Raises:
        NoSpaceError: with what is needed and what is there.
    """
    needed = sum(image.disk_mb for image in request.images) * len(request.platforms) * 10**6
    if free < needed:
        message = (
            f"There is not enough disk space: this build needs about {needed / 1e9:.1f} GB below "
            f"{request.catalogue.folder}, and {free / 1e9:.1f} GB is free.\n"
            "Free some, for example with: docker system prune (your own engine), or invoke engine.down --purge (ours)"
        )
        raise NoSpaceError(message)


def _announce(request: Request) -> None:
    """Name the root images that a build would make first."""
    for lock in _root_locks(request):
        if not _made(request, lock):
            print(f"# first: the root image {lock.role} for {lock.platform.value}, from {lock.file}", file=sys.stderr)


def _root_locks(request: Request) -> list[OsLock]:
    """Return the locks of the root images that must be made here; those of registries are the engine's to pull."""
    # The builder of this machine's own platform serves every install step, whatever is built.
    wanted = {
        (role, platform)
        for image in request.images
        for platform in request.platforms
        for role in root_roles(image, request.stage)
        if role != "devel" or request.stage is Stage.BACKEND or image.compiles.get(platform)
    }
    wanted |= {("builder", native_platform())}
    made = ((role, platform) for role, platform in wanted if role in request.bases.bootstrapped)
    return [os_lock.OsLock(bases=request.bases, role=role, platform=platform) for role, platform in made]


def _roots(request: Request) -> tuple[dict[tuple[str, Platform], str], tuple[Drift, ...]]:
    """Make the root images that the request stands on; return their digests, and what drifted."""
    made = roots.ensure_all(request.catalogue.folder, _root_locks(request), request.catalogue.pins.epoch)
    digests = {(lock.role, lock.platform): root.digest for lock, root in made}
    return digests, tuple(row for lock, root in made for row in drift_of(lock, root, request.catalogue.pins))


def drift_of(lock: OsLock, root: RootImage, pins: Pins) -> tuple[Drift, ...]:
    """Return in what a root image is not what its lock and its pin say.

    Raises:
        LockError: it has no pin, or (strict bases) it is another one than pinned.
    """
    pinned = pins.root(lock.bases.name, lock.role, lock.platform)
    if root.digest == pinned or root.drift:
        return root.drift
    if lock.bases.strict:
        message = (
            f"The root image {lock.role} for {lock.platform.value} came out as {root.digest}, not as the pinned "
            f"{pinned}, although its packages are the locked ones: another mmdebstrap, or a package that writes "
            "the time.\n"
            "Compare, and if it is right pin it with: invoke lock --only images"
        )
        raise LockError(message)
    return (os_lock.Drift(name=f"root-{lock.role}-{lock.platform.arch}", locked=pinned, used=root.digest),)


def _revision(folder: Path) -> str:
    argv = ("git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    try:
        return run.capture(run.Command(argv=argv)).strip()
    except CommandFailedError:
        return "unknown"  # a source archive has no history
