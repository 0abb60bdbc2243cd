"""What does a build need from this machine before bake starts? Root images, programs, the locks' state, secrets.

Everything is cached under .build by content, so that with nothing changed this reads a few small files and is done.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers import (
    disk_space,
    host_secrets,
    oci_layout,
    os_lock,
    os_packages,
    programs,
    pulled,
    python_cuda,
    python_lock,
    python_pieces,
    python_pins,
    python_sizes,
    roots,
    run,
    source_builds,
    source_checkout,
)
from dynamo_containers.build import Facts
from dynamo_containers.errors import CommandFailedError, LockError, UsageError
from dynamo_containers.graph import DEV_PACKAGES
from dynamo_containers.model import IMAGES_FILE, Stage, Way
from dynamo_containers.pins import ENGINE_IMAGES, render_root
from dynamo_containers.platforms import native_platform
from dynamo_containers.python_layers import BUILDER, COMPILE, backend_layer, ci_layer, engine_layer, layers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.build import Request
    from dynamo_containers.model import Image
    from dynamo_containers.oci_layout import RootImage
    from dynamo_containers.os_lock import Drift, OsLock
    from dynamo_containers.pins import Pins
    from dynamo_containers.platforms import Platform
    from dynamo_containers.python_lock import LockFile
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
    texts = check_locks(request)
    known = _stated(request, texts)
    if dry_run:
        _announce(request)
        return known
    check_space(request, texts, known.locks)
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
    return _stated(request, check_locks(request))


def _stated(request: Request, texts: Mapping[str, Mapping[str, str]]) -> Facts:
    folder, bases = request.catalogue.folder, request.bases
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
        sources=source_checkout.read(request.sources, strict=bases.strict),
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
    above = (name for image in request.images for name in os_sets(image, request.stage))
    return tuple(dict.fromkeys((*source_builds.os_sets(request.sources), *above)))


def os_sets(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the sets of OS packages in an image of a stage."""
    if stage in (Stage.BASE, Stage.BACKEND) or image.way is Way.IMAGE:  # such a one brings its own
        return ()
    return (*image.os_packages, DEV_PACKAGES) if stage is Stage.DEV else image.os_packages


def _pieces(request: Request, texts: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[Piece, ...]]:
    """Cut the locks that go into the images, for the platforms that are built."""
    catalogue, cuts = request.catalogue, {}
    known = {path: text for each in texts.values() for path, text in each.items()}
    every = python_lock.locks(catalogue)  # once: they are derived anew at each call
    for layer in layers(catalogue):
        if layer.name in (
            BUILDER,
            COMPILE,
            *(image.name for image in catalogue.images.values() if Stage.BASE in image.stages),
        ):
            continue  # the base stage installs none
        locks = {
            lock.target.platform: known[lock.path]
            for lock in every
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
    own = (*compiled, *shared, image.name) if image.way is Way.WHEELS else (engine_layer(image),)
    runtime = (BUILDER, "base", *own)
    return {
        Stage.BASE: (BUILDER, "base"),
        Stage.BACKEND: (BUILDER, "base", *compiled, image.name),
        Stage.RUNTIME: runtime,
        Stage.CI: (*runtime, ci_layer(image)),
        Stage.DEV: (*runtime, ci_layer(image), f"{image.name}-dev"),
    }[stage]


def root_roles(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the root images that an image of a stage stands on, or that something in it was compiled on."""
    if stage is Stage.BASE or image.way is Way.IMAGE:
        return ("builder",)
    runtime = () if stage is Stage.BACKEND else ("runtime",)
    return ("builder", *runtime, *(("devel",) if image.compiles or stage is Stage.BACKEND else ()))


def check_locks(request: Request) -> dict[str, dict[str, str]]:
    """Return for each image the texts of the locks that go into it, after checking that they are current. Offline.

    On every platform that it is made for, although one may be built: a label has one value for all platforms of an
    image, so `ai.dynamo.lock` speaks of all of them.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale, or pins what does not fit the bases.
        UsageError: the bases lack a root image or a set of OS packages that an image is made of.
    """
    for role in {role for image in request.images for role in root_roles(image, request.stage)}:
        if role not in request.bases.roots:
            message = f"{IMAGES_FILE}: bases.{request.bases.name} has no roots.{role}, which a {request.stage.value}"
            message += " image stands on."
            raise UsageError(message)
    for image in request.images:
        _check_os_sets(request, image)
    source_builds.check_os_sets(request.bases, request.sources)
    texts = {image.name: _image_locks(request, image) for image in request.images}
    paths = {lock.path for image in request.images for lock in _python_locks(request, image)}
    python = {path: text for each in texts.values() for path, text in each.items() if path in paths}
    for fault in python_cuda.faults(request.catalogue, python, request.bases.name):
        raise LockError(fault)
    return texts


def _check_os_sets(request: Request, image: Image) -> None:
    """Refuse, where the image is asked for, a set of OS packages that is not there on these bases."""
    for name in os_sets(image, request.stage):
        if name not in request.bases.packages:
            who = f"images.{image.name}.os-packages names" if name in image.os_packages else "a dev image gets"
            having = [each.name for each in request.catalogue.bases.values() if name in each.packages]
            message = (
                f"{IMAGES_FILE}: bases.{request.bases.name} has no packages.{name}, which {who}.\n"
                f"Bases that have it: {', '.join(having) or 'none'}."
            )
            raise UsageError(message)


def _python_locks(request: Request, image: Image) -> list[LockFile]:
    wanted = (*python_layers(image, request.stage), *((COMPILE,) if request.sources else ()))
    every = python_lock.locks(request.catalogue)
    return [lock for lock in every if lock.layer.name in wanted and lock.target.bases == request.bases.name]


def _image_locks(request: Request, image: Image) -> dict[str, str]:
    folder, bases = request.catalogue.folder, request.bases
    texts = {}
    locks = _python_locks(request, image)
    if missing := [lock for lock in locks if python_lock.not_locked(lock, folder)]:
        raise LockError(_never_locked(request, image, missing))
    for lock in locks:
        if reason := python_lock.stale(lock, folder):
            raise LockError(reason)
        texts[lock.path] = (folder / lock.path).read_text(encoding="utf-8")
    for role in root_roles(image, request.stage):
        texts |= _root_texts(request, image, role)
    if image.way is Way.IMAGE:
        pin = pulled.pinned_engine(request.catalogue.pins, image)
        texts[f"roots.{ENGINE_IMAGES}.{image.name}"] = render_root(pin)
    for name in (*source_builds.os_sets(request.sources), *os_sets(image, request.stage)):
        for system in (os_packages.lock_of(bases, name, platform) for platform in image.platforms):
            texts[system.file] = os_lock.render(system, os_lock.read(system, folder))
    return texts


def _never_locked(request: Request, image: Image, missing: list[LockFile]) -> str:
    """Say why an image cannot be built that has packages on an index that was never reached, and what that takes."""
    packages = {package: address for lock in missing for package, address in lock.indexes}
    where = ", ".join(f"{package} is only on {address}" for package, address in packages.items())
    registries = sorted({root.image.partition("/")[0] for root in request.bases.pulled.values()})
    pulls = f" The build itself then also pulls root images from {', '.join(registries)}." if registries else ""
    return (
        f"The image {image.name} was never locked, so it cannot be built here: {where}, which could not be reached.\n"
        f"Missing: {', '.join(lock.path for lock in missing)}.\n"
        f"Where that index can be reached, run: {python_pins.COMMAND} --image {image.name}\n"
        f"and then this again.{pulls}"
    )


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


def check_space(request: Request, texts: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> None:
    """Refuse a build that the disk cannot hold, unless it was done before; locks in another build count nothing.

    Raises:
        NoSpaceError: with what is needed and what is there.
        LockError: the sizes of packages are missing.
    """
    folder = request.catalogue.folder
    if not _record(request, digests).is_file():  # else nothing is read: a no-op must cost nothing
        every = {path: text for each in texts.values() for path, text in each.items()}
        every = {path: text for path, text in every.items() if not disk_space.record(folder, (path, text)).is_file()}
        sizes = python_sizes.read(folder)
        disk_space.check(disk_space.place(folder), disk_space.needed(every, sizes, request.platforms))


def remember(request: Request, facts: Facts) -> None:
    """Remember that a request was built, so that neither it nor what it shares is asked for disk space again."""
    file, ends = _record(request, facts.locks), tuple(f"-{platform.arch}.txt" for platform in request.platforms)
    if file.is_file():
        return
    for lock in {each for texts in check_locks(request).values() for each in texts.items() if each[0].endswith(ends)}:
        disk_space.remember(disk_space.record(request.catalogue.folder, lock))
    disk_space.remember(file)


def _record(request: Request, digests: Mapping[str, str]) -> Path:
    platforms = (platform.value for platform in request.platforms)
    words = (request.stage.value, *platforms, *(f"{name} {digest}" for name, digest in sorted(digests.items())))
    return disk_space.record(request.catalogue.folder, words)


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
