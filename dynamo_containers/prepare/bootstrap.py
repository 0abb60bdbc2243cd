"""Bootstrap of a root file system from locked .debs, by mmdebstrap.

The tree is a function of the packages and the epoch, so the same lock gives the same bytes on any machine with the
same mmdebstrap. What only a bootstrap needs is imported when there is one: the recipe is asked for by every build.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.prepare import apt_resolve
from dynamo_containers.upstream import apt, deb_origins

if TYPE_CHECKING:
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package

REPOSITORY, TAR = "repository", "root.tar"
"""Below a scratch folder: the packages, and the root file system that is made of them."""
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
RECIPE = (VARIANT, *DPKG_OPTIONS, *CLEAN_UP)
"""What decides a tree besides its packages and the epoch."""


def fetched(folder: Path, lock: OsLock, locked: tuple[Package, ...]) -> tuple[Package, ...]:
    """Fetch the locked packages, or the suite's current ones where no source has some and the bases allow it.

    Raises:
        LockError: a package is gone and the bases are strict.
        DownloadError: a package could not be fetched or is not the locked one.
    """
    gone = deb_origins.fetch_all(folder, lock.package_sources, locked, os_lock.locked_at(lock, folder))
    if not gone:
        return locked
    names = ", ".join(Path(package.path).name for package in gone)
    if lock.bases.strict or lock.image:
        message = (
            f"{deb_origins.describe_missing(lock.package_sources.deb_sources)} what {lock.file} asks for: {names}.\n"
            f"{_no_other(lock)} Lock the current versions: invoke lock --only os"
        )
        raise LockError(message)
    from dynamo_containers.upstream import host_tools

    packages = apt_resolve.current(lock, folder)
    host_tools.fetch(packages, apt.host_mirrors(), deb_origins.downloads(folder))
    return packages


def _no_other(lock: OsLock) -> str:
    if lock.bases.strict:
        return f"The {lock.bases.name} bases are strict."
    return f"Nothing else is taken for it: {lock.image} decides what fits it."


def tree(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int, scratch: Path) -> Path:
    """Install the fetched packages into a tree and return its tar, below `scratch`.

    Raises:
        CommandFailedError: mmdebstrap failed.
    """
    from dynamo_containers.upstream import host_tools

    _make_repository(folder, lock, packages, scratch / REPOSITORY)
    environment = {
        **host_tools.environment(folder, ("mmdebstrap",)),
        "SOURCE_DATE_EPOCH": str(epoch),
        "TMPDIR": str(scratch),
    }
    program = which("mmdebstrap", path=environment.get("PATH")) or "mmdebstrap"
    hooks = Path(program).parent.parent / "share/mmdebstrap/hooks"
    call = command(lock, scratch, environment, hooks, as_root=os.geteuid() == 0)
    process.execute(process.Plan(commands=(call,)))
    return scratch / TAR


def command(lock: OsLock, scratch: Path, environment: dict[str, str], hooks: Path, *, as_root: bool) -> process.Command:
    """Return the mmdebstrap call that turns the repository in `scratch` into a root file system, as a tar there."""
    return process.Command(
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
            str(scratch / TAR),
            # Not signed, because every file in it was compared with the lock's sha256.
            f"deb [trusted=yes] copy:{scratch / REPOSITORY} ./",
        ),
        env=environment,
        quiet=True,
        title=f"bootstrapping {lock.bases.name} {lock.role} ({lock.platform.value})",
        summary=f"Bootstrapped {lock.bases.name} {lock.role} ({lock.platform.value})",
        hint="Its own messages stand above. For a foreign platform, is emulation set up? See: invoke engine.status",
    )


def _make_repository(folder: Path, lock: OsLock, packages: tuple[Package, ...], repository: Path) -> None:
    """Lay out the packages as apt expects a flat repository (https://wiki.debian.org/DebianRepository/Format)."""
    repository.mkdir()
    stanzas = []
    for package in packages:
        target = repository / f"{package.name}.deb"
        os.link(deb_origins.store_path(folder, package), target)
        control = process.capture(process.Command(argv=("dpkg-deb", "--field", str(target)))).rstrip()
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
