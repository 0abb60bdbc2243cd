"""Whether a private engine can run on this machine, and what is missing."""

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
    from dynamo_containers.engine.paths import Place

OLDEST_GLIBC = (2, 34)
PROGRAMS = ("apt-get", "dpkg-deb", "mount", "nsenter", "unshare")
TUN = Path("/dev/net/tun")
BYTES_NEEDED = 1_000_000_000
"""75 MB to fetch, 315 MB unpacked, 120 MB of package lists, and air for an empty engine."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a machine has of that which a private engine needs."""

    root: bool
    distribution: str
    release: str
    glibc: tuple[int, ...]
    lacking: tuple[str, ...] = ()
    tun: bool = True
    namespaces: bool = True
    overlay: bool = True


def obstacles(host: Host) -> tuple[str, ...]:
    """Return what keeps a private engine from running, each as a sentence."""
    rows = (
        (not host.root, "You are not root, and the engine needs namespaces, mounts and devices."),
        (
            host.distribution != "debian" or not host.release,
            "This is no Debian release; it is made from their packages.",
        ),
        (host.glibc < OLDEST_GLIBC, "glibc is older than 2.34, which the packages need (Debian 12 has 2.36)."),
        (bool(host.lacking), f"Programs are missing: {', '.join(host.lacking)}."),
        (not host.tun, f"{TUN} cannot be opened: the kernel has no tun device, or this container was not given it."),
        (not host.namespaces, "The kernel does not let new mount, process and network namespaces be made here."),
        (
            not host.overlay,
            "Overlayfs does not work in the checkout (is its file system an overlay itself? Has its path a colon?).",
        ),
    )
    return tuple(sentence for missing, sentence in rows if missing)


def refuse(host: Host) -> None:
    """Do nothing on a machine that has everything.

    Raises:
        NoEngineError: something is missing; all of it is named.
    """
    found = obstacles(host)
    if found:
        lines = "".join(f"  - {sentence}\n" for sentence in found)
        message = f"A private Docker Engine cannot run here:\n{lines}Install Docker by hand instead: {INSTALL}"
        raise NoEngineError(message)


def examine_system() -> Host:
    """Look at what costs nothing to look at."""
    system = _os_release()
    return Host(
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


def examine_kernel(system: Host, place: Place) -> Host:
    """Try what only trying shows: the tun device, namespaces, and overlayfs on the file system of the checkout."""
    namespaces = ("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc", "--net")
    place.private.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.private, prefix=".overlay.") as folder:
        script = 'mkdir l u w m && exec mount -t overlay -o "lowerdir=$PWD/l,upperdir=$PWD/u,workdir=$PWD/w" overlay m'
        overlay = ("unshare", "--mount", "--wd", folder, "sh", "-c", script)
        return Host(
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


def check_space(place: Place) -> None:
    """Do nothing where there is room.

    Raises:
        NoSpaceError: the engine's packages would not fit.
    """
    free = disk_usage(place.private).free
    if free < BYTES_NEEDED:
        message = (
            f"The private engine needs {BYTES_NEEDED / 1e9:.0f} GB; the checkout's disk has {free / 1e9:.1f} GB left."
            "\nFree some space, for example: invoke clean"
        )
        raise NoSpaceError(message)
