"""Root images, bootstrapped from their locks; each once.

They are in an OCI image layout below .build/roots. Each has a record there, which is named by a digest of its inputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, integrity, process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.image_inputs import root_roles
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.plan.layer_split import compiles
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import bootstrap, oci_layout
from dynamo_containers.prepare.oci_layout import RootImage, layout
from dynamo_containers.value_types import DIGEST, SIZE, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.plan.request import Request
from dynamo_containers.platforms import Platform


def cached_root_image(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int) -> RootImage | None:
    """Return the root image that was made from exactly these inputs, or None.

    Where its seal is not intact, its files are hashed. An image with drift is not returned then: nothing but its record
    says what it has, while the digest of any other image is compared with its pin (`drift_from_pin`).
    """
    path = record_path(folder, lock, packages, epoch)
    root = _read(path)
    if root is None:
        return None
    own = files(layout(folder), path)
    return root if integrity.is_sealed(path, *own) or (own and not root.drift and oci_layout.is_intact(own)) else None


def _read(record: Path) -> RootImage | None:
    """Return the root image of a record; None if the record is missing or is not one."""
    try:
        row = file_reader.cached_json(record)
        drift = tuple(os_lock.Drift(**drift) for drift in row["drift"])
        return RootImage(digest=DIGEST.parse(row["digest"]), size=SIZE.parse(row["size"]), drift=drift)
    except (InvalidValueError, LookupError, TypeError):
        return None


def files(store: Path, record: Path) -> tuple[Path, ...]:
    """Return the files in the layout of the root image of a record; none if it is not complete."""
    try:
        return oci_layout.image_files(store, DIGEST.parse(file_reader.cached_json(record)["digest"]))
    except (InvalidValueError, LookupError, TypeError):
        return ()


def _seal(record: Path) -> None:
    """Seal the record of a complete root image and its files; an intact seal is not written again."""
    integrity.seal(record, *files(record.parent, record))


def record_path(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int) -> Path:
    """Return the path of the record of a root image; it exists once the image was made from exactly these inputs."""
    inputs = [os_lock.content(lock, packages), str(epoch), *bootstrap.TREE_OPTIONS]
    key = hashlib.sha256("\n".join(inputs).encode()).hexdigest()
    return layout(folder) / f"{lock.bases.name}-{lock.role}-{lock.platform.arch}-{key[:16]}.json"


def ensure(folder: Path, lock: OsLock, locked: tuple[Package, ...], epoch: int) -> RootImage:
    """Return the root image of a lock; bootstrap it if it does not exist.

    Args:
        folder: the checkout.
        lock: the lock.
        locked: its packages, which `invoke lock` may not have written yet.
        epoch: the newest time in the image.

    Raises:
        LockError: (strict bases) no origin has a locked version.
        DownloadError: a package could not be fetched or is not the locked one.
        CommandFailedError: mmdebstrap failed.
    """
    path = record_path(folder, lock, locked, epoch)
    if root := cached_root_image(folder, lock, locked, epoch):
        _seal(path)
        return root
    from tempfile import TemporaryDirectory  # only a bootstrap needs it; a no-op starts faster without it

    packages = bootstrap.fetch(folder, lock, locked)
    layout(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=layout(folder), prefix="bootstrap-") as temporary:
        tar = bootstrap.make_tree(folder, lock, packages, epoch, Path(temporary))
        root = oci_layout.add(layout(folder), tar, lock.platform, epoch, os_lock.drifts(locked, packages))
    record = json.dumps({"digest": root.digest, "size": root.size, "drift": [asdict(row) for row in root.drift]})
    process.write(process.Document(path=path, text=record))
    _seal(path)
    return root


def ensure_all(
    folder: Path, locks: Iterable[tuple[OsLock, tuple[Package, ...]]], epoch: int
) -> tuple[tuple[OsLock, RootImage], ...]:
    """Return locks, given with their packages, with their root images; one per processor is bootstrapped at a time.

    Raises:
        FatalError: as `ensure`.
    """
    # Foreign platforms first: they are emulated and take longest.
    queue = sorted(locks, key=lambda row: row[0].platform is native_platform())
    roots = tuple((lock, cached_root_image(folder, lock, packages, epoch)) for lock, packages in queue)
    if all(root for _, root in roots):
        for lock, packages in queue:
            _seal(record_path(folder, lock, packages, epoch))
        return tuple((lock, root) for lock, root in roots if root)
    from concurrent.futures import ThreadPoolExecutor

    from dynamo_containers import engine

    # A bootstrap runs programs of the packages that it installs.
    foreign = {lock.platform for lock, root in roots if root is None and lock.platform is not native_platform()}
    if foreign:
        engine.emulate(folder, tuple(foreign))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = tuple(pool.map(lambda row: ensure(folder, row[0], row[1], epoch), queue))
    return tuple((lock, image) for (lock, _), image in zip(queue, images, strict=True))


def request_locks(request: Request) -> list[OsLock]:
    """Return the locks of the root images that are bootstrapped; the engine pulls those of registries."""
    # Every install step runs in the builder of this machine's platform.
    roots = {
        (role, platform)
        for image in request.images
        for platform in request.platforms
        for role in root_roles(image, request.stage)
        # If one platform compiles, the target exists for every platform of the build.
        if role != "devel" or request.stage is Stage.BACKEND or compiles(image, request.platforms)
    }
    roots |= {("builder", native_platform())}
    return [
        os_lock.OsLock(bases=request.bases, role=role, platform=platform)
        for role, platform in roots
        if role in request.bases.bootstrapped_roots
    ]


def cached_digest(request: Request, lock: OsLock) -> str:
    """Return the digest of a root image that was bootstrapped here, or ''."""
    folder = request.catalogue.folder
    root = cached_root_image(folder, lock, os_lock.read(lock, folder), request.catalogue.pins.epoch)
    return root.digest if root else ""


def announce(request: Request) -> None:
    """Print the root images that a build would bootstrap first."""
    for lock in request_locks(request):
        if not cached_digest(request, lock):
            print(f"# first: the root image {lock.role} for {lock.platform.value}, from {lock.file}", file=sys.stderr)


def ensure_request(request: Request) -> tuple[dict[tuple[str, Platform], str], tuple[os_lock.Drift, ...]]:
    """Bootstrap the root images of a request; return their digests and their drift.

    Raises:
        LockError: a lock is missing or stale; also as `ensure` and `drift_from_pin`.
    """
    folder = request.catalogue.folder
    locked = [(lock, os_lock.read(lock, folder)) for lock in request_locks(request)]
    roots = ensure_all(folder, locked, request.catalogue.pins.epoch)
    digests = {(lock.role, lock.platform): root.digest for lock, root in roots}
    return digests, tuple(row for lock, root in roots for row in drift_from_pin(lock, root, request.catalogue.pins))


def drift_from_pin(lock: OsLock, root: RootImage, pins: Pins) -> tuple[os_lock.Drift, ...]:
    """Return the drift of a root image from its lock and its pin.

    Raises:
        LockError: it has no pin, or (strict bases) its digest is not the pinned one.
    """
    pinned = pins.root(lock.bases.name, lock.role, lock.platform)
    if root.digest == pinned or root.drift:
        return root.drift
    if lock.bases.strict:
        message = (
            f"The root image {lock.role} for {lock.platform.value} has the digest {root.digest}, but {pinned} "
            "is pinned. Its packages are the locked ones, so this machine has another mmdebstrap, or a package writes "
            "the time.\n"
            "Compare both images. If the new one is right, pin it with: invoke lock --only images"
        )
        raise LockError(message)
    return (os_lock.Drift(name=f"root-{lock.role}-{lock.platform.arch}", locked=pinned, used=root.digest),)
