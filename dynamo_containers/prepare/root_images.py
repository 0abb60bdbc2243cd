"""Root images: bootstrapped from their locks, or found where that was done before.

They stand in an OCI image layout below .build/roots, each with a record of what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.image_inputs import root_roles
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.plan.layer_split import compiles
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import bootstrap, oci_layout
from dynamo_containers.prepare.oci_layout import RootImage, layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.plan.request import Request
    from dynamo_containers.platforms import Platform


def cached(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int) -> RootImage | None:
    """Return the root image that was made of exactly this before, or None."""
    try:
        record = json.loads(record_of(folder, lock, packages, epoch).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    drift = tuple(os_lock.Drift(**row) for row in record["drift"])
    root = RootImage(digest=record["digest"], size=record["size"], drift=drift)
    return root if oci_layout.blob(layout(folder), root.digest).is_file() else None


def record_of(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int) -> Path:
    """Return the file that is there when a root image was made of exactly this."""
    words = [os_lock.render(lock, packages), str(epoch), *bootstrap.RECIPE]
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return layout(folder) / f"{lock.bases.name}-{lock.role}-{lock.platform.arch}-{key[:16]}.json"


def ensure(folder: Path, lock: OsLock, epoch: int) -> RootImage:
    """Return the root image of a lock, bootstrapping it unless that was done before.

    Raises:
        LockError: the lock is missing or stale, or (strict bases) the mirror dropped a locked version.
        DownloadError: a package could not be fetched or is not the locked one.
        CommandFailedError: mmdebstrap failed.
    """
    locked = os_lock.read(lock, folder)
    if done := cached(folder, lock, locked, epoch):
        return done
    from tempfile import TemporaryDirectory  # what only a bootstrap needs would make every no-op slower

    packages = bootstrap.fetched(folder, lock, locked)
    layout(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=layout(folder), prefix="bootstrap-") as scratch:
        tar = bootstrap.tree(folder, lock, packages, epoch, Path(scratch))
        root = oci_layout.add(layout(folder), tar, lock.platform, epoch, os_lock.drifts(locked, packages))
    record = json.dumps({"digest": root.digest, "size": root.size, "drift": [asdict(row) for row in root.drift]})
    process.write(process.Document(path=record_of(folder, lock, locked, epoch), text=record))
    return root


def ensure_all(folder: Path, locks: Iterable[OsLock], epoch: int) -> tuple[tuple[OsLock, RootImage], ...]:
    """Return several locks, each with its root image, bootstrapping one per processor at a time; see `ensure`."""
    # Foreign ones first: they are emulated and take longest.
    wanted = sorted(locks, key=lambda lock: lock.platform is native_platform())
    done = tuple((lock, cached(folder, lock, os_lock.read(lock, folder), epoch)) for lock in wanted)
    if all(root for _, root in done):
        return tuple((lock, root) for lock, root in done if root)
    from concurrent.futures import ThreadPoolExecutor

    from dynamo_containers import engine

    # A bootstrap runs the programs that it installs.
    foreign = {lock.platform for lock, root in done if root is None and lock.platform is not native_platform()}
    if foreign:
        engine.emulate(folder, tuple(foreign))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(zip(wanted, pool.map(lambda lock: ensure(folder, lock, epoch), wanted), strict=True))


def locks_of(request: Request) -> list[OsLock]:
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
    made = ((role, platform) for role, platform in wanted if role in request.bases.bootstrapped_roots)
    return [os_lock.OsLock(bases=request.bases, role=role, platform=platform) for role, platform in made]


def digest_of(request: Request, lock: OsLock) -> str:
    """Return the digest of a root image that was made here, or ''."""
    folder = request.catalogue.folder
    root = cached(folder, lock, os_lock.read(lock, folder), request.catalogue.pins.epoch)
    return root.digest if root else ""


def announce(request: Request) -> None:
    """Name the root images that a build would make first."""
    for lock in locks_of(request):
        if not digest_of(request, lock):
            print(f"# first: the root image {lock.role} for {lock.platform.value}, from {lock.file}", file=sys.stderr)


def ensure_request(request: Request) -> tuple[dict[tuple[str, Platform], str], tuple[os_lock.Drift, ...]]:
    """Make the root images that the request stands on; return their digests, and what drifted."""
    found = ensure_all(request.catalogue.folder, locks_of(request), request.catalogue.pins.epoch)
    digests = {(lock.role, lock.platform): root.digest for lock, root in found}
    return digests, tuple(row for lock, root in found for row in drift_of(lock, root, request.catalogue.pins))


def drift_of(lock: OsLock, root: RootImage, pins: Pins) -> tuple[os_lock.Drift, ...]:
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
