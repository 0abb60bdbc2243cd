"""Bootstrap of a root file system from locked .debs, by mmdebstrap.

The tree is a function of the packages and the epoch: the same lock gives the same bytes on any machine with the same
mmdebstrap. Every build reads TREE_OPTIONS, so modules that only a bootstrap needs are imported late.
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
"""In a temporary folder: the repository of the packages, and the root file system that is made from it."""
VARIANT = "--variant=essential"
# Manual pages and documentation are of no use in a container; licences must stay.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# Traces of this machine and of the present that the bootstrap leaves. The image has no apt source: it must not query
# the mirror of its builder, and no layer may contain the address of an index.
CLEAN_UP = (
    'rm -f "$1/etc/apt/sources.list" "$1/etc/resolv.conf" "$1/etc/hostname" "$1/var/cache/ldconfig/aux-cache"',
    # Byte code of helpers of maintainer scripts; unlike that of the library, it varies.
    'rm -rf "$1/usr/share/python3/debpython/__pycache__"',
    'rm -rf "$1"/var/log/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/*-old',
)
TREE_OPTIONS = (VARIANT, *DPKG_OPTIONS, *CLEAN_UP)
"""The options that decide a tree, besides its packages and the epoch."""


def fetch(folder: Path, lock: OsLock, locked: tuple[Package, ...]) -> tuple[Package, ...]:
    """Fetch the locked packages. If an origin lost one and the bases are not strict, fetch the suite's current ones.

    Raises:
        LockError: no origin has a package, and the bases are strict or the root image is pinned.
        DownloadError: an origin is unreachable, or has another file than the locked one.
    """
    gone = deb_origins.fetch_all(folder, lock.package_sources, locked, os_lock.locked_at(lock, folder))
    if not gone:
        return locked
    names = ", ".join(Path(package.path).name for package in gone)
    if lock.bases.strict or lock.image:
        message = (
            f"{deb_origins.describe_missing(lock.package_sources.deb_sources)} packages of {lock.file}: {names}.\n"
            f"{_no_replacement(lock)} Lock the current versions: invoke lock --only os"
        )
        raise LockError(message)
    from dynamo_containers.upstream import host_tools

    packages = apt_resolve.current_packages(lock, folder)
    host_tools.fetch(packages, apt.host_mirrors(), deb_origins.downloads(folder))
    return packages


def _no_replacement(lock: OsLock) -> str:
    """Explain why no other version may replace a missing package."""
    if lock.bases.strict:
        return f"The {lock.bases.name} bases are strict."
    return f"Other versions may not fit the packages in {lock.image}."


def make_tree(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int, temporary: Path) -> Path:
    """Install the fetched packages into a tree, and return its tar in the temporary folder.

    Raises:
        CommandFailedError: mmdebstrap failed.
    """
    from dynamo_containers.upstream import host_tools

    _make_repository(folder, lock, packages, temporary / REPOSITORY)
    environment = {
        **host_tools.environment(folder, ("mmdebstrap",)),
        "SOURCE_DATE_EPOCH": str(epoch),
        "TMPDIR": str(temporary),
    }
    program = which("mmdebstrap", path=environment.get("PATH")) or "mmdebstrap"
    hooks = Path(program).parent.parent / "share/mmdebstrap/hooks"
    call = mmdebstrap_command(lock, temporary, environment, hooks, as_root=os.geteuid() == 0)
    process.execute(process.Plan(commands=(call,)))
    return temporary / TAR


def mmdebstrap_command(
    lock: OsLock, temporary: Path, environment: dict[str, str], hooks: Path, *, as_root: bool
) -> process.Command:
    """Return the command that makes the tar of a root file system from the repository in a temporary folder."""
    return process.Command(
        argv=(
            # Its mounts for maintainer scripts disappear with it, however it ends.
            *(("unshare", "--mount") if as_root else ()),
            "mmdebstrap",
            VARIANT,
            f"--architectures={lock.platform.arch}",
            f"--include={','.join(lock.root.packages)}",
            *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
            # That check looks for Debian's qemu registration; the engine has set up emulation.
            "--skip=check/qemu",
            f"--hook-dir={hooks}/merged-usr",
            *(f"--customize-hook={command}" for command in CLEAN_UP),
            lock.root.suite,
            str(temporary / TAR),
            # Not signed: every file in it was compared with the sha256 in the lock.
            f"deb [trusted=yes] copy:{temporary / REPOSITORY} ./",
        ),
        env=environment,
        quiet=True,
        title=f"bootstrapping {lock.bases.name} {lock.role} ({lock.platform.value})",
        summary=f"Bootstrapped {lock.bases.name} {lock.role} ({lock.platform.value})",
        hint="The messages of mmdebstrap are above. Is a foreign platform emulated? See: invoke engine.status",
    )


def _make_repository(folder: Path, lock: OsLock, packages: tuple[Package, ...], repository: Path) -> None:
    """Write a flat repository of the packages for apt (https://wiki.debian.org/DebianRepository/Format)."""
    repository.mkdir()
    stanzas = []
    for package in packages:
        target = repository / f"{package.name}.deb"
        os.link(deb_origins.store_path(folder, package), target)
        control = process.capture(process.Command(argv=("dpkg-deb", "--field", str(target)))).rstrip()
        stanzas.append(f"{control}\nFilename: ./{target.name}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    index = "\n".join(stanzas)
    (repository / "Packages").write_text(index, encoding="utf-8")
    (repository / "Release").write_text(release_file(lock, index), encoding="utf-8")


def release_file(lock: OsLock, index: str) -> str:
    """Return the text of the Release file, in which mmdebstrap looks up the suite."""
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    suite, arch = lock.root.suite, lock.platform.arch
    return (
        f"Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: {arch}\n"
        f"SHA256:\n {digest} {size} Packages\n"
    )
