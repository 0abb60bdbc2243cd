"""Requirements of a private engine on this machine, and which are not met."""

from __future__ import annotations

import os
import platform as machine
import tempfile
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, which
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.engine.endpoint import INSTALL
from dynamo_containers.errors import NoEngineError, NoSpaceError

if TYPE_CHECKING:
    from dynamo_containers.engine.paths import EnginePaths

OLDEST_GLIBC = (2, 34)
PROGRAMS = ("apt-get", "dpkg-deb", "mount", "nsenter", "unshare")
TUN = Path("/dev/net/tun")
BYTES_NEEDED = 1_000_000_000
"""75 MB of downloads, 315 MB unpacked, 120 MB of package lists, and the rest for an empty engine."""


@dataclass(frozen=True, kw_only=True)
class HostFeatures:
    """The features of a machine that a private engine needs."""

    root: bool
    distribution: str
    release: str
    glibc: tuple[int, ...]
    lacking: tuple[str, ...] = ()
    tun: bool = True
    namespaces: bool = True
    overlay: bool = True


def obstacles(host: HostFeatures) -> tuple[str, ...]:
    """Return the requirements that are not met, each as a sentence."""
    rows = (
        (not host.root, "You are not root, which namespaces, mounts and devices need."),
        (
            host.distribution != "debian" or not host.release,
            "This host is not a Debian release, whose packages the engine is made from.",
        ),
        (host.glibc < OLDEST_GLIBC, "glibc is older than 2.34, which the packages need (Debian 12 has 2.36)."),
        (bool(host.lacking), f"Programs are missing: {', '.join(host.lacking)}."),
        (not host.tun, f"{TUN} cannot be opened: the kernel has no tun device, or this container has no access to it."),
        (not host.namespaces, "The kernel does not allow new mount, process and network namespaces here."),
        (
            not host.overlay,
            "Overlayfs does not work in the checkout (an overlay on an overlay, or a path with a colon, does not).",
        ),
    )
    return tuple(sentence for missing, sentence in rows if missing)


def refuse(host: HostFeatures) -> None:
    """Refuse a machine that does not meet all requirements.

    Raises:
        NoEngineError: with all requirements that are not met.
    """
    if sentences := obstacles(host):
        lines = "".join(f"  - {sentence}\n" for sentence in sentences)
        message = f"A private Docker Engine cannot run here:\n{lines}Install Docker instead: {INSTALL}"
        raise NoEngineError(message)


def examine_system() -> HostFeatures:
    """Examine the requirements that are cheap to examine."""
    system = _os_release()
    return HostFeatures(
        root=os.geteuid() == 0,
        distribution=system.get("ID", ""),
        release=system.get("VERSION_CODENAME", ""),
        glibc=tuple(int(part) for part in machine.libc_ver()[1].split(".") if part.isdigit()),
        lacking=tuple(program for program in PROGRAMS if which(program) is None),
    )


def _os_release() -> dict[str, str]:
    try:
        return machine.freedesktop_os_release()
    except OSError:
        return {}


def examine_kernel(system: HostFeatures, paths: EnginePaths) -> HostFeatures:
    """Try to use the tun device, namespaces, and overlayfs on the file system of the checkout."""
    namespaces = ("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc", "--net")
    paths.private.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.private, prefix=".overlay.") as folder:
        script = 'mkdir l u w m && exec mount -t overlay -o "lowerdir=$PWD/l,upperdir=$PWD/u,workdir=$PWD/w" overlay m'
        overlay = ("unshare", "--mount", "--wd", folder, "sh", "-c", script)
        return HostFeatures(
            root=system.root,
            distribution=system.distribution,
            release=system.release,
            glibc=system.glibc,
            tun=_opens(TUN),
            namespaces=process.succeeds(process.Command(argv=(*namespaces, "true"))),
            overlay=process.succeeds(process.Command(argv=overlay)),
        )


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True


def check_space(paths: EnginePaths) -> None:
    """Check the free disk space.

    Raises:
        NoSpaceError: the packages of the engine need more.
    """
    free = disk_usage(paths.private).free
    if free < BYTES_NEEDED:
        message = (
            f"The private engine needs {BYTES_NEEDED / 1e9:.0f} GB; the disk of the checkout has {free / 1e9:.1f} GB."
            "\nFree some space, for example: invoke clean"
        )
        raise NoSpaceError(message)
