"""How does a root image come out of locked .debs? mmdebstrap makes the tree, this module the image around it.

The result is an OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md) under
.build/roots, which BuildKit reads as a named context by digest, as it would read an image in a registry. The tree is
a function of the packages and the epoch, so the same lock gives the same digest on any machine with the same
mmdebstrap. Layers are stored uncompressed: which bytes a compressor makes depends on its version.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from dynamo_containers import apt, os_lock, run
from dynamo_containers.errors import LockError
from dynamo_containers.model import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.fetch import Download
    from dynamo_containers.model import Platform
    from dynamo_containers.os_lock import Drift, OsLock

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
VARIANT = "--variant=essential"
# Manual pages and documentation are of no use in a container; licences must stay.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# What the bootstrap itself leaves of this machine or this moment. apt gets no source: an image never phones a
# mirror that its builder happened to use, and the contract forbids index addresses in any layer.
CLEAN_UP = (
    'rm -f "$1/etc/apt/sources.list" "$1/etc/resolv.conf" "$1/etc/hostname" "$1/var/cache/ldconfig/aux-cache"',
    # Byte code that maintainer scripts left of their own helpers; unlike that of the library, it varies.
    'rm -rf "$1/usr/share/python3/debpython/__pycache__"',
    'rm -rf "$1"/var/log/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/*-old',
)


@dataclass(frozen=True, kw_only=True)
class RootImage:
    """A root image that stands in the layout: its manifest's digest and size, and what drifted on the way."""

    digest: str
    size: int
    drift: tuple[Drift, ...] = ()


def layout(folder: Path) -> Path:
    """Return the folder of the OCI image layout that holds every root image of this checkout."""
    return folder / ".build" / "roots"


def cached(folder: Path, lock: OsLock, packages: tuple[apt.Package, ...], epoch: int) -> RootImage | None:
    """Return the root image that was made of exactly this before, or None."""
    try:
        record = json.loads(_record(folder, lock, packages, epoch).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    drift = tuple(os_lock.Drift(**row) for row in record["drift"])
    root = RootImage(digest=record["digest"], size=record["size"], drift=drift)
    return root if _blob(layout(folder), root.digest).is_file() else None


def _record(folder: Path, lock: OsLock, packages: tuple[apt.Package, ...], epoch: int) -> Path:
    words = [os_lock.render(lock, packages), str(epoch), VARIANT, *DPKG_OPTIONS, *CLEAN_UP]
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

    packages = _fetch(folder, lock, locked)
    print(f"Bootstrapping {_title(lock)}: {len(packages)} packages", file=sys.stderr, flush=True)
    layout(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=layout(folder), prefix="bootstrap-") as scratch:
        tar = _bootstrap(folder, lock, packages, epoch, Path(scratch))
        root = _import(layout(folder), tar, lock.platform, epoch, os_lock.drifts(locked, packages))
    record = json.dumps({"digest": root.digest, "size": root.size, "drift": [asdict(row) for row in root.drift]})
    run.write(run.Document(path=_record(folder, lock, locked, epoch), text=record))
    return root


def ensure_all(folder: Path, locks: Iterable[OsLock], epoch: int) -> tuple[tuple[OsLock, RootImage], ...]:
    """Return several locks, each with its root image, bootstrapping one per processor at a time; see `ensure`."""
    # Foreign ones first: they are emulated and take longest.
    wanted = sorted(locks, key=lambda lock: lock.platform is native_platform())
    done = tuple((lock, cached(folder, lock, os_lock.read(lock, folder), epoch)) for lock in wanted)
    if all(root for _, root in done):
        return tuple((lock, root) for lock, root in done if root)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(zip(wanted, pool.map(lambda lock: ensure(folder, lock, epoch), wanted), strict=True))


def _title(lock: OsLock) -> str:
    return f"{lock.bases.name} {lock.role} ({lock.platform.value})"


def _fetch(folder: Path, lock: OsLock, locked: tuple[apt.Package, ...]) -> tuple[apt.Package, ...]:
    """Fetch the locked packages, or the suite's current ones where the mirror dropped some and the bases allow it."""
    from dynamo_containers import fetch

    store, mirrors = downloads(folder), apt.host_mirrors()
    gone = fetch.fetch_all(store, (_download(package, mirrors) for package in locked))
    if not gone:
        return locked
    names = ", ".join(Path(download.url).name for download in gone)
    if lock.bases.strict:
        message = (
            f"The mirror no longer has what {lock.file} asks for: {names}.\n"
            f"The {lock.bases.name} bases are strict. Lock the current versions: invoke lock --only os"
        )
        raise LockError(message)
    packages = os_lock.current(lock, folder)
    fetch.fetch_all(store, (_download(package, mirrors) for package in packages))
    return packages


def downloads(folder: Path) -> Path:
    """Return the checkout's store of downloaded files."""
    return folder / ".build" / "downloads"


def _download(package: apt.Package, mirrors: dict[str, str]) -> Download:
    from dynamo_containers import fetch

    return fetch.Download(
        url=apt.url(package, mirrors),
        sha256=package.sha256,
        size=package.size,
    )


def _bootstrap(folder: Path, lock: OsLock, packages: tuple[apt.Package, ...], epoch: int, scratch: Path) -> Path:
    from dynamo_containers import host_tools

    repository = scratch / "repository"
    _make_repository(folder, lock, packages, repository)
    tar = scratch / "root.tar"
    environment = {
        **host_tools.environment(folder, ("mmdebstrap",)),
        "SOURCE_DATE_EPOCH": str(epoch),
        "TMPDIR": str(scratch),
    }
    program = which("mmdebstrap", path=environment.get("PATH")) or "mmdebstrap"
    hooks = Path(program).parent.parent / "share/mmdebstrap/hooks"
    command = bootstrap_command(lock, repository, tar, environment, hooks, as_root=os.geteuid() == 0)
    run.execute(run.Plan(commands=(command,)))
    return tar


def bootstrap_command(  # noqa: PLR0913 - what mmdebstrap must be told
    lock: OsLock, repository: Path, tar: Path, environment: dict[str, str], hooks: Path, *, as_root: bool
) -> run.Command:
    """Return the mmdebstrap call that turns a repository of the locked packages into a root file system."""
    return run.Command(
        argv=(
            # What it mounts for maintainer scripts is gone with it, however it ends.
            *(("unshare", "--mount") if as_root else ()),
            "mmdebstrap",
            VARIANT,
            f"--architectures={lock.platform.arch}",
            f"--include={','.join(lock.root.packages)}",
            *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
            # It would look for Debian's own qemu registration; emulation was set up by the engine.
            "--skip=check/qemu",
            f"--hook-dir={hooks}/merged-usr",
            *(f"--customize-hook={command}" for command in CLEAN_UP),
            lock.root.suite,
            str(tar),
            # Not signed, because every file in it was compared with the lock's sha256.
            f"deb [trusted=yes] copy:{repository} ./",
        ),
        env=environment,
        quiet=True,
        hint="Its own messages stand above. For a foreign platform, is emulation set up? See: invoke engine.status",
    )


def _make_repository(folder: Path, lock: OsLock, packages: tuple[apt.Package, ...], repository: Path) -> None:
    """Lay out the packages as apt expects a flat repository (https://wiki.debian.org/DebianRepository/Format)."""
    from dynamo_containers import fetch

    repository.mkdir()
    stanzas = []
    for package in packages:
        source = fetch.stored(downloads(folder), fetch.Download(url="", sha256=package.sha256))
        target = repository / f"{package.name}.deb"
        os.link(source, target)
        control = run.capture(run.Command(argv=("dpkg-deb", "--field", str(target)))).rstrip()
        stanzas.append(f"{control}\nFilename: ./{target.name}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    index = "\n".join(stanzas)
    (repository / "Packages").write_text(index, encoding="utf-8")
    (repository / "Release").write_text(release(lock, index), encoding="utf-8")


def release(lock: OsLock, index: str) -> str:
    """Return the Release file: mmdebstrap finds the essential packages by the suite's name in it."""
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    suite, arch = lock.root.suite, lock.platform.arch
    return (
        f"Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: {arch}\n"
        f"SHA256:\n {digest} {size} Packages\n"
    )


def _import(store: Path, tar: Path, platform: Platform, epoch: int, drift: tuple[Drift, ...]) -> RootImage:
    with tar.open("rb") as file:
        layer_digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    layer_size = tar.stat().st_size
    _blob(store, layer_digest).parent.mkdir(parents=True, exist_ok=True)
    tar.replace(_blob(store, layer_digest))
    config = _write_json(store, config_of(layer_digest, platform, epoch))
    layer = {"mediaType": LAYER_TYPE, "digest": layer_digest, "size": layer_size}
    manifest = _write_json(store, manifest_of(config, layer))
    return RootImage(digest=manifest["digest"], size=manifest["size"], drift=drift)


def config_of(layer_digest: str, platform: Platform, epoch: int) -> dict[str, Any]:
    """Return the OCI image configuration of a root image."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "architecture": platform.arch,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": created,
        "history": [{"created": created, "created_by": "mmdebstrap --variant=essential"}],
        "os": "linux",
        "rootfs": {"diff_ids": [layer_digest], "type": "layers"},
    }


def manifest_of(config: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """Return the OCI image manifest of a root image of one layer."""
    return {
        "config": {"mediaType": CONFIG_TYPE, **config},
        "layers": [layer],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }


def index_of(roots: dict[Platform, RootImage]) -> dict[str, Any]:
    """Return the OCI image index over the root images of several platforms."""
    return {
        "manifests": [
            {
                "digest": root.digest,
                "mediaType": MANIFEST_TYPE,
                "platform": {"architecture": platform.arch, "os": "linux"},
                "size": root.size,
            }
            for platform, root in sorted(roots.items(), key=lambda item: item[0].value)
        ],
        "mediaType": INDEX_TYPE,
        "schemaVersion": 2,
    }


def write_index(folder: Path, roots: dict[Platform, RootImage]) -> str:
    """Put an index over the root images into the layout and return its digest."""
    store = layout(folder)
    descriptor = {"mediaType": INDEX_TYPE, **_write_json(store, index_of(roots))}
    run.write(run.Document(path=store / "oci-layout", text='{"imageLayoutVersion": "1.0.0"}'))
    known = store / "index.json"
    others = json.loads(known.read_text(encoding="utf-8"))["manifests"] if known.is_file() else []
    if descriptor not in others:
        text = json.dumps({"manifests": [*others, descriptor], "schemaVersion": 2})
        run.write(run.Document(path=known, text=text))
    return str(descriptor["digest"])


def _write_json(store: Path, content: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    run.write(run.Document(path=_blob(store, digest), text=text))
    return {"digest": digest, "size": len(text.encode())}


def _blob(store: Path, digest: str) -> Path:
    return store / "blobs" / Path(digest.replace(":", "/"))
