"""Stand-ins for the root images of registries, from packages of Debian.

The builder has its Python at the path of the images of PyPA and not in /usr/bin. Like those images it has a compiler,
autotools, dnf and rpm, but the keys are those of the stand-in for the repositories of AlmaLinux. The stand-in for the
images of NVIDIA has no Python, and the keys of the stand-in for the archive of Ubuntu.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamo_containers.facts.bases import Root
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import apt_resolve, bootstrap, oci_layout
from dynamo_containers.upstream import apt, deb_origins, host_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_package import Package
    from tests.stand_in.rpms import Rpms

NATIVE = native_platform()
NVIDIA = ("ca-certificates", "libstdc++6", "passwd", "tzdata")
"""Packages of the stand-in for the images of NVIDIA, besides the essential ones."""
SYSTEM_PYTHON = "./usr/bin/python3"
MANYLINUX = (
    *("autoconf", "automake", "g++", "git", "libc6-dev", "libpython3-dev", "libtool", "make", "pkg-config"),
    *("python3-dnf", "rpm"),
)
"""Packages of the images of PyPA, besides those of the builder of the debian bases, by their names in Debian."""


FORCE = b"rpm alias --upgrade -U --force-debian\n"
"""The rpm of Debian needs this option to install packages."""
DATABASE = b"%_dbpath /var/lib/rpm\n"
"""The rpm of Debian has its database in the home of the user by default."""


def builder(catalogue: Catalogue, store: Path, rpms: Rpms) -> str:
    """Add the builder to an OCI layout; return its digest."""
    bases = catalogue.bases
    interpreter = bases["cuda"].interpreter_of("builder")
    home = Path(interpreter).parent
    real = f"python{bases['debian'].python}"
    links = {f"{home}/python": real, f"{home}/python3": real}
    links |= {f"{home.parent}/{folder}": f"/usr/{folder}" for folder in ("include", "lib")}
    links["/usr/libexec/platform-python"] = f"{home}/{real}"  # the path of the Python of dnf in AlmaLinux
    debian = bases["debian"]
    plain = debian.bootstrapped_roots["builder"]
    root = replace(plain, packages=(*plain.packages, *MANYLINUX))
    lock = OsLock(bases=replace(debian, roots={"builder": root}), role="builder", platform=NATIVE)
    packages = apt_resolve.current_packages(lock, ROOT)
    host_tools.fetch(packages, apt.host_mirrors(), deb_origins.downloads(ROOT))
    repositories = bases["cuda"].repositories["builder"]
    files = {repositories.keyring: rpms.key.read_bytes(), "/etc/popt": FORCE, "/etc/rpm/macros": DATABASE}
    files["/var/lib/rpm/rpmdb.sqlite"] = (rpms.database / "rpmdb.sqlite").read_bytes()

    def moved(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name == f"./usr/bin/{real}":
            return member.replace(name=f".{home}/{real}", deep=False)
        return None if member.name.startswith(SYSTEM_PYTHON) else member

    return _image(catalogue, store, lock, packages, moved, links, files)


def nvidia(catalogue: Catalogue, store: Path, keyring: Path) -> str:
    """Add the stand-in for the images of NVIDIA to an OCI layout; return its digest."""
    debian, archive = catalogue.bases["debian"], catalogue.bases["cuda"].archive
    assert archive is not None
    bare = replace(debian, roots={"runtime": Root(suite=debian.bootstrapped_roots["runtime"].suite, packages=NVIDIA)})
    lock = OsLock(bases=bare, role="runtime", platform=NATIVE)
    full_lock = OsLock(bases=debian, role="runtime", platform=NATIVE)
    packages = bootstrap.fetch(ROOT, full_lock, os_lock.read(full_lock, ROOT))
    return _image(catalogue, store, lock, packages, lambda member: member, {}, {archive.keyring: keyring.read_bytes()})


def _image(  # noqa: PLR0913, PLR0917 - the inputs of an image
    catalogue: Catalogue,
    store: Path,
    lock: OsLock,
    packages: tuple[Package, ...],
    changed: Callable[[tarfile.TarInfo], tarfile.TarInfo | None],
    links: Mapping[str, str],
    files: Mapping[str, bytes],
) -> str:
    store.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=store) as scratch:
        tree = bootstrap.make_tree(ROOT, lock, packages, catalogue.pins.epoch, Path(scratch))
        target = Path(scratch) / "changed.tar"
        with tarfile.open(tree) as old, tarfile.open(target, "w") as new:
            for member in old:
                if new_member := changed(member):
                    new.addfile(new_member, old.extractfile(member) if member.isreg() else None)
            for member, content in _added(links, files):
                new.addfile(member, io.BytesIO(content))
        return oci_layout.add(store, target, NATIVE, catalogue.pins.epoch, ()).digest


def _added(links: Mapping[str, str], files: Mapping[str, bytes]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for path, to in links.items():
        member = tarfile.TarInfo(f".{path}")
        member.type, member.linkname = tarfile.SYMTYPE, to
        yield member, b""
    for path, content in files.items():
        member = tarfile.TarInfo(f".{path}")
        member.size, member.mode = len(content), 0o644
        yield member, content
