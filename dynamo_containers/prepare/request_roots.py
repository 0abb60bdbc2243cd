"""Which root images does a request stand on, and what became of them? Those of registries are the engine's to pull."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.image_inputs import root_roles
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.plan.layer_split import compiles
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import root_images

if TYPE_CHECKING:
    from dynamo_containers.facts.locks.os_lock import Drift, OsLock
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.plan.bake import Request
    from dynamo_containers.platforms import Platform
    from dynamo_containers.prepare.oci_layout import RootImage


def locks(request: Request) -> list[OsLock]:
    """Return the locks of the root images that must be made here; those of registries are the engine's to pull."""
    # The builder of this machine's own platform serves every install step, whatever is built.
    wanted = {
        (role, platform)
        for image in request.images
        for platform in request.platforms
        for role in root_roles(image, request.stage)
        # What compiles for one platform is a step for all that are built with it, even where it has nothing to do.
        if role != "devel" or request.stage is Stage.BACKEND or compiles(image, request.platforms)
    }
    wanted |= {("builder", native_platform())}
    made = ((role, platform) for role, platform in wanted if role in request.bases.bootstrapped)
    return [os_lock.OsLock(bases=request.bases, role=role, platform=platform) for role, platform in made]


def made(request: Request, lock: OsLock) -> str:
    """Return the digest of a root image that was made here, or ''."""
    folder = request.catalogue.folder
    root = root_images.cached(folder, lock, os_lock.read(lock, folder), request.catalogue.pins.epoch)
    return root.digest if root else ""


def announce(request: Request) -> None:
    """Name the root images that a build would make first."""
    for lock in locks(request):
        if not made(request, lock):
            print(f"# first: the root image {lock.role} for {lock.platform.value}, from {lock.file}", file=sys.stderr)


def ensure(request: Request) -> tuple[dict[tuple[str, Platform], str], tuple[Drift, ...]]:
    """Make the root images that the request stands on; return their digests, and what drifted."""
    found = root_images.ensure_all(request.catalogue.folder, locks(request), request.catalogue.pins.epoch)
    digests = {(lock.role, lock.platform): root.digest for lock, root in found}
    return digests, tuple(row for lock, root in found for row in drift_of(lock, root, request.catalogue.pins))


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
