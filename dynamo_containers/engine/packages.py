"""Programs of the private engine: Debian's packages, unpacked in the checkout.

dockerd, containerd, docker and buildx are those of Debian testing, which need nothing but glibc; what they call (runc,
iptables, tini, slirp4netns, qemu) is that of the host's own release, with the libraries that the host lacks. Versions
are what the suites have on the day of the download: this is a tool of the machine, not a part of an image, and an
engine that misses security fixes would be the worse choice. Each file is verified by apt's own chain: the archive key
signs the Release file, which has the sha256 of the package list, which has the sha256 of the package.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.platforms import Platform, native_platform
from dynamo_containers.upstream import apt, host_tools

if TYPE_CHECKING:
    from dynamo_containers.engine.paths import Place
    from dynamo_containers.facts.locks.os_package import Package

ENGINE_SUITE = "forky"
CLIENT = ("docker-buildx", "docker-cli")
DAEMON = ("containerd", "docker.io")
TOOLS = ("iptables", "runc", "slirp4netns", "tini")
EMULATOR = "qemu-user-static"

IPTABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
"""Names that Debian's alternatives would make; xtables-*-multi acts by the name it is called by."""


def provide_client(place: Place) -> None:
    """Make `place.client` hold the docker CLI and buildx."""
    host_tools.provide(place.client, lambda partial: host_tools.unpack(_from_testing(place, CLIENT), partial))


def provide_daemon(place: Place, release: str) -> None:
    """Make `place.root` hold the daemon and what it calls, for a host of this Debian release."""
    host_tools.provide(place.root, lambda partial: _unpack_daemon(place, release, partial))


def provide_emulator(place: Place, release: str, platform: Platform) -> Path:
    """Return a static qemu for the platform's programs: the host's own, or Debian's, fetched."""
    installed = shutil.which(f"qemu-{platform.machine}-static")
    emulator = place.emulators / f"qemu-{platform.machine}"
    if installed:
        return Path(installed)
    host_tools.provide(place.emulators, lambda partial: _unpack_emulators(place, release, partial))
    return emulator


def forget_lists(place: Place) -> None:
    """Remove the package lists: 270 MB that are of no use on another day."""
    shutil.rmtree(place.package_lists, ignore_errors=True)
    _updated.cache_clear()


def _from_testing(place: Place, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Fetch these packages alone: what they depend on in testing would want testing's glibc."""
    source = _updated(place, ENGINE_SUITE, None)
    return _fetch(place, source, tuple(it for it in apt.resolve(source, names) if it.name in names))


def _from_release(place: Place, release: str, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Fetch what the host lacks to have these packages, libraries included."""
    source = _updated(place, release, apt.HOST_STATUS)
    return _fetch(place, source, apt.resolve(source, names))


@cache
def _updated(place: Place, suite: str, status: Path | None) -> apt.Apt:
    """Return an apt whose lists are fresh; once per command is enough."""
    source = apt.Apt(
        folder=place.package_lists / suite,
        suite=suite,
        architecture=native_platform().arch,
        mirrors=apt.host_mirrors(),
        status=status,
    )
    apt.update(source)
    return source


def _fetch(place: Place, source: apt.Apt, packages: tuple[Package, ...]) -> tuple[Path, ...]:
    return host_tools.fetched(packages, source.mirrors, place.downloads)


def _unpack_daemon(place: Place, release: str, root: Path) -> None:
    host_tools.unpack(_from_testing(place, DAEMON), root)
    host_tools.unpack(_from_release(place, release, TOOLS), root)
    for variant, folder in (("nft", root / "usr/sbin"), ("legacy", root / "legacy")):
        if (root / f"usr/sbin/xtables-{variant}-multi").exists():
            _link_all(folder, IPTABLES, root / f"usr/sbin/xtables-{variant}-multi")


def _link_all(folder: Path, names: tuple[str, ...], target: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(os.path.relpath(target, folder))


def _unpack_emulators(place: Place, release: str, folder: Path) -> None:
    """Keep what a platform of ours needs: one static qemu is 11 MB, those of all architectures are 300 MB."""
    unpacked = folder / "unpacked"
    host_tools.unpack(_from_release(place, release, (EMULATOR,)), unpacked)
    for platform in set(Platform) - {native_platform()}:
        # Debian 12 names it qemu-ARCH-static; Debian 13 names it qemu-ARCH and links the old name to it.
        names = (
            unpacked / "usr/bin" / name for name in (f"qemu-{platform.machine}-static", f"qemu-{platform.machine}")
        )
        program = next(name for name in names if name.is_file() and not name.is_symlink())
        program.rename(folder / f"qemu-{platform.machine}")
    shutil.rmtree(unpacked)
