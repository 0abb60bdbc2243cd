"""Where does a Debian program come from that this host does not have? Unpacked privately, never installed.

The packages are those of the host's own release, so that they fit its libraries; what the host has already is taken
from the host. Nothing outside the checkout is written, and no maintainer script runs.
"""

from __future__ import annotations

import hashlib
import os
import platform as machine
import sys
from shutil import rmtree, which
from typing import TYPE_CHECKING

from dynamo_containers import apt, fetch, run
from dynamo_containers.model import native_platform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def environment(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the variables under which the packages' programs are found, unpacking what the host lacks.

    Args:
        folder: the checkout.
        packages: Debian package names; each is taken to provide a program of its own name.
    """
    missing = tuple(name for name in packages if which(name) is None)
    if not missing:
        return {}
    root = folder / ".build" / "tools" / hashlib.sha256(" ".join(missing).encode()).hexdigest()[:12]
    if not root.is_dir():
        unpack(root, needed(folder, missing), apt.host_mirrors(), folder / ".build" / "downloads")
    return variables(root, f"{native_platform().machine}-linux-gnu", os.environ)


def needed(folder: Path, packages: tuple[str, ...]) -> tuple[apt.Package, ...]:
    """Return the packages and those of their dependencies that the host does not have installed."""
    suite = machine.freedesktop_os_release().get("VERSION_CODENAME", "")
    private = apt.Apt(
        folder=folder / ".build" / "apt" / "host",
        suite=suite,
        architecture=native_platform().arch,
        mirrors=apt.host_mirrors(),
        status=apt.HOST_STATUS,
    )
    apt.update(private)
    return apt.resolve(private, packages)


def unpack(root: Path, packages: tuple[apt.Package, ...], mirrors: Mapping[str, str], store: Path) -> None:
    """Fetch the packages and unpack them into `root`, which appears only when it is whole."""
    downloads = [
        fetch.Download(url=apt.url(package, mirrors), sha256=package.sha256, size=package.size) for package in packages
    ]
    for gone in fetch.fetch_all(store, downloads):
        fetch.fetch(store, gone)  # its lists are fresh, so this is a fault of the mirror: let it raise
    half = root.with_name(f".{root.name}.{os.getpid()}")
    half.mkdir(parents=True)
    try:
        print(f"Unpacking {', '.join(package.name for package in packages)}", file=sys.stderr, flush=True)
        for download in downloads:
            archive = str(fetch.stored(store, download))
            run.call(run.Command(argv=("dpkg-deb", "--extract", archive, str(half)), quiet=True))
        half.rename(root)
    except BaseException:
        rmtree(half, ignore_errors=True)
        raise


def variables(root: Path, triplet: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that put an unpacked tree in front of the host's programs, libraries and Perl modules."""
    libraries = [root / "usr/lib" / triplet, root / "lib" / triplet]
    perl = [root / "usr/share/perl5", root / "usr/share/perl/5.36", root / "usr/lib" / triplet / "perl/5.36"]
    found = {
        "PATH": [root / "usr/bin", root / "usr/sbin", root / "sbin"],
        "LD_LIBRARY_PATH": [folder for folder in libraries if folder.is_dir()],
        "PERL5LIB": [folder for folder in perl if folder.is_dir()],
    }
    return {name: _prefixed(folders, inherited.get(name, "")) for name, folders in found.items() if folders}


def _prefixed(folders: list[Path], rest: str) -> str:
    return ":".join([*(str(folder) for folder in folders), *([rest] if rest else [])])
