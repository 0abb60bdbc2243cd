"""Debian tools that are not installed on this host: unpacked in the checkout, never installed.

The packages are from the release of the host, so that they fit its libraries. Tools that the host has are used as they
are. Nothing outside the checkout is written, and no maintainer script runs.
"""

from __future__ import annotations

import hashlib
import os
import platform as machine
import threading
from shutil import which
from typing import TYPE_CHECKING

from dynamo_containers import integrity, process, progress, state
from dynamo_containers.errors import DownloadError
from dynamo_containers.platforms import native_platform
from dynamo_containers.upstream import apt, deb_origins
from dynamo_containers.upstream import download as upstream_download

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.locks.os_package import Package


ONE_AT_A_TIME = threading.RLock()
"""Held while tools are provided: root images are built in parallel and share tools, and apt locks its lists."""


def environment(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that put the tools on PATH; unpack the tools that the host does not have.

    Args:
        folder: the checkout.
        packages: Debian package names; each must provide a program of the same name.
    """
    missing = tuple(name for name in packages if which(name) is None)
    if not missing:
        return {}
    root = folder / state.TOOLS / hashlib.sha256(" ".join(missing).encode()).hexdigest()[:12]
    with ONE_AT_A_TIME:
        integrity.provide(root, lambda partial: _fill(folder, missing, partial))
    return variables(root, f"{native_platform().machine}-linux-gnu", os.environ)


def _fill(folder: Path, names: tuple[str, ...], partial: Path) -> None:
    packages = missing_packages(folder, names)
    progress.say(f"Unpacking {', '.join(package.name for package in packages)}")
    unpack(fetch(packages, apt.host_mirrors(), deb_origins.downloads(folder)), partial)


def missing_packages(folder: Path, packages: tuple[str, ...]) -> tuple[Package, ...]:
    """Return the packages and their dependencies, without those that are installed on the host."""
    suite = machine.freedesktop_os_release().get("VERSION_CODENAME", "")
    private = apt.Apt(
        folder=folder / state.APT / "host",
        suite=suite,
        architecture=native_platform().arch,
        mirrors=apt.host_mirrors(),
        status=apt.HOST_STATUS,
    )
    with ONE_AT_A_TIME:
        apt.update(private)
        return apt.resolve(private, packages)


def fetch(packages: tuple[Package, ...], mirrors: Mapping[str, str], store: Path) -> tuple[Path, ...]:
    """Return the files of packages; download those that are not in the store.

    Raises:
        DownloadError: the mirror does not have a package that it lists, or the package has another content.
    """
    downloads = [
        upstream_download.Download(url=apt.url(package, mirrors), sha256=package.sha256, size=package.size)
        for package in packages
    ]
    if gone := upstream_download.fetch_all(store, downloads):
        names = ", ".join(download.url.rsplit("/", 1)[-1] for download in gone)
        message = (
            f"The mirror lists packages that it does not have: {names}.\n"
            "It is probably being updated. Try again in a few minutes."
        )
        raise DownloadError(message)
    return tuple(upstream_download.store_path(store, download) for download in downloads)


def unpack(files: tuple[Path, ...], folder: Path) -> None:
    """Unpack package files into a folder, without installing them or running their maintainer scripts."""
    for file in files:
        process.run(process.Command(argv=("dpkg-deb", "--extract", str(file), str(folder)), quiet=True))


def variables(root: Path, triplet: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that prefer the programs, libraries and Perl modules of an unpacked tree."""
    libraries = [root / "usr/lib" / triplet, root / "lib" / triplet]
    perl = [root / "usr/share/perl5", root / "usr/share/perl/5.36", root / "usr/lib" / triplet / "perl/5.36"]
    search_paths = {
        "PATH": [root / "usr/bin", root / "usr/sbin", root / "sbin"],
        "LD_LIBRARY_PATH": [folder for folder in libraries if folder.is_dir()],
        "PERL5LIB": [folder for folder in perl if folder.is_dir()],
    }
    return {name: _prefixed(folders, inherited.get(name, "")) for name, folders in search_paths.items() if folders}


def _prefixed(folders: list[Path], rest: str) -> str:
    return ":".join([*(str(folder) for folder in folders), *([rest] if rest else [])])
