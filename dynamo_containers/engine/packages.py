"""Packages of the private engine: Debian packages, unpacked in the checkout.

dockerd, containerd, docker and buildx are from Debian testing and need only glibc. The programs that they call (runc,
iptables, tini, slirp4netns, qemu) are from the release of the host, with the libraries that the host does not have.
Versions are not pinned: the engine is a tool of the machine, not part of an image, and should have security fixes. apt
verifies each file: the archive key signs the Release file, which has the sha256 of the package list, which has the
sha256 of the package.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import integrity
from dynamo_containers.platforms import Platform, native_platform
from dynamo_containers.upstream import apt, host_tools

if TYPE_CHECKING:
    from dynamo_containers.engine.paths import EnginePaths
    from dynamo_containers.facts.locks.os_package import Package

ENGINE_SUITE = "forky"
CLIENT = ("docker-buildx", "docker-cli")
DAEMON = ("containerd", "docker.io")
TOOLS = ("iptables", "runc", "slirp4netns", "tini")
EMULATOR = "qemu-user-static"

IPTABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
"""Names that Debian creates as alternatives; xtables-*-multi acts according to the name it is called by."""


def provide_client(paths: EnginePaths) -> None:
    """Unpack the docker CLI and buildx into `paths.client`."""
    integrity.provide(paths.client, lambda partial: host_tools.unpack(_from_testing(paths, CLIENT), partial))


def provide_daemon(paths: EnginePaths, release: str) -> None:
    """Unpack the daemon and the programs that it calls into `paths.root`, for a host of this Debian release."""
    integrity.provide(paths.root, lambda partial: _unpack_daemon(paths, release, partial))


def provide_emulator(paths: EnginePaths, release: str, platform: Platform) -> Path:
    """Return a static qemu for the binaries of a platform: that of the host, or a download from Debian."""
    installed = shutil.which(f"qemu-{platform.machine}-static")
    emulator = paths.emulators / f"qemu-{platform.machine}"
    if installed:
        return Path(installed)
    integrity.provide(paths.emulators, lambda partial: _unpack_emulators(paths, release, partial))
    return emulator


def forget_lists(paths: EnginePaths) -> None:
    """Remove the package lists: 270 MB that are outdated the next day."""
    shutil.rmtree(paths.package_lists, ignore_errors=True)
    _updated.cache_clear()


def _from_testing(paths: EnginePaths, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Download only these packages: their dependencies in testing would need the glibc of testing."""
    source = _updated(paths, ENGINE_SUITE, None)
    return _fetch(paths, source, tuple(package for package in apt.resolve(source, names) if package.name in names))


def _from_release(paths: EnginePaths, release: str, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Download these packages, and their dependencies that the host does not have."""
    source = _updated(paths, release, apt.HOST_STATUS)
    return _fetch(paths, source, apt.resolve(source, names))


@cache
def _updated(paths: EnginePaths, suite: str, status: Path | None) -> apt.Apt:
    """Return an apt with updated lists; once per command is enough."""
    source = apt.Apt(
        folder=paths.package_lists / suite,
        suite=suite,
        architecture=native_platform().arch,
        mirrors=apt.host_mirrors(),
        status=status,
    )
    apt.update(source)
    return source


def _fetch(paths: EnginePaths, source: apt.Apt, packages: tuple[Package, ...]) -> tuple[Path, ...]:
    return host_tools.fetch(packages, source.mirrors, paths.downloads)


def _unpack_daemon(paths: EnginePaths, release: str, root: Path) -> None:
    host_tools.unpack(_from_testing(paths, DAEMON), root)
    host_tools.unpack(_from_release(paths, release, TOOLS), root)
    for variant, folder in (("nft", root / "usr/sbin"), ("legacy", root / "legacy")):
        if (root / f"usr/sbin/xtables-{variant}-multi").exists():
            _link_all(folder, IPTABLES, root / f"usr/sbin/xtables-{variant}-multi")


def _link_all(folder: Path, names: tuple[str, ...], target: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(os.path.relpath(target, folder))


def _unpack_emulators(paths: EnginePaths, release: str, folder: Path) -> None:
    """Keep the emulators of our platforms: one static qemu is 11 MB, those of all architectures are 300 MB."""
    unpacked = folder / "unpacked"
    host_tools.unpack(_from_release(paths, release, (EMULATOR,)), unpacked)
    for platform in set(Platform) - {native_platform()}:
        # Debian 12 names it qemu-ARCH-static; Debian 13 names it qemu-ARCH and links the old name to it.
        names = (
            unpacked / "usr/bin" / name for name in (f"qemu-{platform.machine}-static", f"qemu-{platform.machine}")
        )
        program = next(name for name in names if name.is_file() and not name.is_symlink())
        program.rename(folder / f"qemu-{platform.machine}")
    shutil.rmtree(unpacked)
