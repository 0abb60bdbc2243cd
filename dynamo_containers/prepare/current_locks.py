"""Locks of a request: their texts, if all of them are current; offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, NotLockedError, UsageError
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE, InstallFrom
from dynamo_containers.facts.image_inputs import extended_roots, os_sets, python_layers, root_roles
from dynamo_containers.facts.locks import (
    cuda_variant,
    interrupted,
    not_locked,
    os_conflicts,
    os_lock,
    python_lock,
    requirements,
)
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.pins import ENGINE_IMAGES, render_root
from dynamo_containers.plan import source_builds
from dynamo_containers.prepare import toolchains

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.plan.request import Request


def check(request: Request) -> dict[str, dict[str, str]]:
    """Check that the locks of every image are current, and return image -> path -> text of its locks. Offline.

    The locks of every platform of an image count, although one may be built: the label `ai.dynamo.lock` has one value
    for all platforms.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale, or pins what does not fit the bases.
        UsageError: the bases lack a root image or a set of OS packages of an image.
    """
    return check_against(request, python_lock.locks(request.catalogue))


def check_against(request: Request, locks: Sequence[LockFile]) -> dict[str, dict[str, str]]:
    """Do the same, given all locks of the project: several requests share them."""
    interrupted.check(request.catalogue.folder)
    try:
        return _check(request, locks)
    except NotLockedError as error:
        if reason := not_locked.reason_of(request.catalogue.not_locked, error.locks):
            message = f"{error}\n{reason}"
            raise NotLockedError(message, error.locks) from None
        raise


def _check(request: Request, locks: Sequence[LockFile]) -> dict[str, dict[str, str]]:
    for role in {role for image in request.images for role in root_roles(image, request.stage)}:
        if role not in request.bases.roots:
            message = f"{IMAGES_FILE}: bases.{request.bases.name} has no roots.{role}, on which a {request.stage.value}"
            message += " image is based."
            raise UsageError(message)
    for image in request.images:
        _check_os_sets(request, image)
    source_builds.check(request.bases, request.sources)
    python_locks = {image.name: _python_locks(request, image, locks) for image in request.images}
    texts = {image.name: _image_locks(request, image, python_locks[image.name]) for image in request.images}
    paths = {lock.path for image_locks in python_locks.values() for lock in image_locks}
    python = {path: text for image_texts in texts.values() for path, text in image_texts.items() if path in paths}
    for fault in cuda_variant.faults(request.catalogue, python, request.bases.name):
        raise LockError(fault)
    return texts


def _check_os_sets(request: Request, image: Image) -> None:
    """Refuse an image whose set of OS packages does not exist on these bases."""
    for name in os_sets(image, request.stage):
        if name not in request.bases.packages:
            reason = f"images.{image.name}.os-packages names" if name in image.os_packages else "a dev image gets"
            having = [bases.name for bases in request.catalogue.bases.values() if name in bases.packages]
            message = (
                f"{IMAGES_FILE}: bases.{request.bases.name} has no packages.{name}, which {reason}.\n"
                f"Bases that have it: {', '.join(having) or 'none'}."
            )
            raise UsageError(message)


def _python_locks(request: Request, image: Image, locks: Sequence[LockFile]) -> list[LockFile]:
    layers = (*python_layers(image, request.stage), *source_builds.layers(request.sources))
    return [lock for lock in locks if lock.layer.name in layers and lock.target.bases == request.bases.name]


def _image_locks(request: Request, image: Image, locks: Sequence[LockFile]) -> dict[str, str]:
    folder, bases = request.catalogue.folder, request.bases
    texts = {}
    if missing := [lock for lock in locks if python_lock.never_locked(lock, folder)]:
        raise NotLockedError(_never_locked(request, image, missing), tuple(lock.path for lock in missing))
    for lock in locks:
        if reason := python_lock.stale_reason(lock, folder):
            raise LockError(reason)
        texts[lock.path] = requirements.read_file(folder, lock.path)
    for role in root_roles(image, request.stage):
        texts |= _root_texts(request, image, role)
    if image.install_from is InstallFrom.IMAGE:
        pin = image_reference.engine_pin(request.catalogue.pins, image)
        texts[f"roots.{ENGINE_IMAGES}.{image.name}"] = render_root(pin)
    for name in (*source_builds.os_sets(request.sources), *os_sets(image, request.stage)):
        texts |= _os_texts(request, (os_lock.lock_of(bases, name, platform) for platform in image.platforms))
    for name in source_builds.toolchains(bases, request.sources):
        for platform in image.platforms:
            compiler = toolchains.pin_for(request.catalogue.pins, bases, name, platform)
            texts[f"toolchains.{bases.name}.{name} for {platform.value}"] = compiler.sha256
    return texts


def _os_texts(request: Request, locks: Iterable[OsLock]) -> dict[str, str]:
    folder, texts = request.catalogue.folder, {}
    for lock in locks:
        texts[lock.file] = os_lock.content(lock, os_lock.read(lock, folder))
        os_conflicts.check_image(lock, folder, request.catalogue.pins)
    return texts


def _never_locked(request: Request, image: Image, missing: list[LockFile]) -> str:
    """Return the message for an image with packages on an index that was unreachable whenever locks were made."""
    packages = {package: address for lock in missing for package, address in lock.indexes}
    places = ", ".join(f"{package} is only on {address}" for package, address in packages.items())
    registries = sorted({root.image.partition("/")[0] for root in request.bases.registry_roots.values()})
    pulls = f" The build itself then also pulls root images from {', '.join(registries)}." if registries else ""
    return (
        f"The image {image.name} was never locked, so it cannot be built here: {places}, which could not be reached.\n"
        f"Missing: {', '.join(lock.path for lock in missing)}.\n"
        f"Where that index can be reached, run: {requirements.COMMAND} --image {image.name}\n"
        f"and then this again.{pulls}"
    )


def _root_texts(request: Request, image: Image, role: str) -> dict[str, str]:
    """Return the pin of a root image from a registry, and the locks of its packages."""
    bases, texts = request.bases, {}
    if role in bases.registry_roots:
        texts[f"roots.{bases.name}.{role}"] = render_root(image_reference.root_pin(request.catalogue.pins, bases, role))
        if role not in extended_roots(bases, image, request.stage, image.platforms):
            return texts
    return texts | _os_texts(
        request, (OsLock(bases=bases, role=role, platform=platform) for platform in image.platforms)
    )
