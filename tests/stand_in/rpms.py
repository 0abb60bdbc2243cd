"""Stand-in for the repositories of AlmaLinux: RPMs from the real rpmbuild, signed with its own key.

Packages with libraries and headers have the files of Debian, so that code can be compiled with them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import bootstrap
from dynamo_containers.upstream import deb_origins, host_tools

if TYPE_CHECKING:
    from collections.abc import Iterable

NATIVE = native_platform()
KEY = "RPM Stand-In <stand-in@example.invalid>"
TOOLS = ("rpm", "createrepo-c", "gpg", "gpg-agent")
OLD, NEW = "1.0", "2.0"


@dataclass(frozen=True, kw_only=True)
class SmallRpm:
    """A package in place of one of AlmaLinux."""

    name: str
    version: str = NEW
    requires: str = ""
    debs: tuple[str, ...] = ()
    """Packages of Debian whose files are in it; by default it has one file with its name."""
    signed: bool = True


LIBRARIES = ("ibverbs-providers", "libibverbs1", "libnl-3-200", "libnl-route-3-200", "librdmacm1")
HEADERS = ("libibverbs-dev", "libnl-3-dev", "libnl-route-3-dev", "librdmacm-dev")
OFFERED = {
    "8/BaseOS/{machine}/os": (
        SmallRpm(name="cmake"),
        SmallRpm(name="rdma-core-devel", requires="libibverbs = 2.0-1, libnl3 >= 2.0", debs=HEADERS),
        SmallRpm(name="libibverbs", debs=LIBRARIES),
        SmallRpm(name="libnl3"),
        SmallRpm(name="openssl-devel"),
        SmallRpm(name="pkgconf-pkg-config"),
    ),
    "8/AppStream/{machine}/os": (
        SmallRpm(name="clang-devel", version=OLD),
        SmallRpm(name="clang-devel", requires="clang-libs"),
        SmallRpm(name="clang-libs"),
    ),
    "8/PowerTools/{machine}/os": (
        SmallRpm(name="libaio-devel", debs=("libaio-dev", "libaio1")),
        SmallRpm(name="numactl-devel", debs=("libnuma-dev", "libnuma1")),
    ),
}
"""Repository -> its packages."""
INSTALLED = (SmallRpm(name="libnl3", version=OLD), SmallRpm(name="pkgconf-pkg-config", version=OLD))
"""Packages of the stand-in for the builder: one is needed in a newer version, the other is not."""


@dataclass(frozen=True, kw_only=True)
class Rpms:
    """The repositories, and the RPM database of an image."""

    folder: Path
    """The repositories in it have their real paths."""
    key: Path
    """The key that signs the packages."""
    database: Path
    """The RPM database with the packages of the image."""
    environment: dict[str, str] = field(repr=False)

    def offer(self, path: str, rpms: Iterable[SmallRpm]) -> None:
        """Create a repository with these packages; an earlier one is replaced."""
        place = self.folder / path.replace("{machine}", NATIVE.machine)
        shutil.rmtree(place, ignore_errors=True)
        (place / "Packages").mkdir(parents=True)
        for package in rpms:
            file = self.make(package, place.parent / "work")
            if package.signed:
                self._sign(file)
            shutil.move(file, place / "Packages")
        self.run("createrepo_c", "--quiet", str(place))

    def make(self, rpm: SmallRpm, work: Path) -> Path:
        """Build an unsigned package; return its file."""
        shutil.rmtree(work, ignore_errors=True)
        tree = work / "tree"
        (tree / "usr/share" / rpm.name).mkdir(parents=True)
        (tree / "usr/share" / rpm.name / "name").write_text(f"{rpm.name} {rpm.version}\n", encoding="utf-8")
        _unpack(rpm.debs, tree)
        (work / "spec").write_text(_spec(rpm, tree), encoding="utf-8")
        macros = {"_topdir": f"{work}/top", "debug_package": "%{nil}", "__os_install_post": "%{nil}"}
        self.run("rpmbuild", "-bb", *_defined(macros), "--target", f"{NATIVE.machine}-linux", str(work / "spec"))
        (file,) = work.glob("top/RPMS/*/*.rpm")
        return file

    def _sign(self, file: Path) -> None:
        gpg = shutil.which("gpg", path=self.environment["PATH"]) or "gpg"
        macros = {"_gpg_name": KEY, "_gpg_path": f"{self.key.parent}/gpg", "__gpg": gpg}
        self.run("rpmsign", "--addsign", *_defined(macros), str(file))

    def run(self, *argv: str) -> bytes:
        """Run a tool of RPM; return its output."""
        return subprocess.run(argv, env=self.environment, check=True, capture_output=True).stdout


def _spec(rpm: SmallRpm, tree: Path) -> str:
    """Return the spec file of a package with all files of a tree."""
    files = [f"/{path.relative_to(tree)}" for path in sorted(tree.rglob("*")) if path.is_symlink() or path.is_file()]
    head = ("Release: 1", "Summary: a stand-in", "License: none", "AutoReqProv: no")
    named = (f"Name: {rpm.name}", f"Version: {rpm.version}", *([f"Requires: {rpm.requires}"] if rpm.requires else ()))
    install = ("%install", "mkdir -p %{buildroot}", f"cp -a {tree}/. %{{buildroot}}/")
    lines = (*named, *head, "%description", "A stand-in.", *install, "%files", *files)
    return "\n".join(lines) + "\n"


def _defined(macros: dict[str, str]) -> list[str]:
    return [argument for name, value in macros.items() for argument in ("--define", f"{name} {value}")]


def _unpack(names: tuple[str, ...], tree: Path) -> None:
    """Unpack packages from the lock of the compiler of NIXL for the debian bases."""
    if not names:
        return
    lock = os_lock.lock_of(load_catalogue().bases["debian"], "cxx", NATIVE)
    packages = tuple(package for package in os_lock.read(lock, ROOT) if package.name in names)
    for package in bootstrap.fetch(ROOT, lock, packages):
        argv = ("dpkg-deb", "--extract", str(deb_origins.store_path(ROOT, package)), str(tree))
        subprocess.run(argv, check=True)


def make_repositories(folder: Path) -> Rpms:
    """Create the repositories, and the database of an image."""
    environment = {**os.environ, **host_tools.environment(ROOT, TOOLS)}
    rpmbuild = shutil.which("rpmbuild", path=environment["PATH"])
    assert rpmbuild is not None
    environment["RPM_CONFIGDIR"] = str(Path(rpmbuild).parent.parent / "lib/rpm")
    rpms = Rpms(
        folder=folder / "repositories", key=folder / "key.asc", database=folder / "rpmdb", environment=environment
    )
    (folder / "gpg").mkdir(mode=0o700)
    gpg = ("gpg", "--batch", "--homedir", str(folder / "gpg"))
    rpms.run(*gpg, "--passphrase", "", "--quick-generate-key", KEY, "rsa3072", "sign", "2d")
    rpms.key.write_bytes(rpms.run(*gpg, "--armor", "--export"))
    for path, offered in OFFERED.items():
        rpms.offer(path, offered)
    installed = [str(shutil.copy2(rpms.make(package, folder / "work"), folder)) for package in INSTALLED]
    # As if they were installed on the image: only their database, because the files of Debian are there.
    rpms.run("rpm", "--dbpath", str(rpms.database), "--force-debian", "--justdb", "--nodeps", "--install", *installed)
    return rpms
