"""Stand-in for the release archive of Rust: the Rust of Debian in the layout of the real one, with an installer."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import bootstrap
from dynamo_containers.upstream import deb_origins

NATIVE = native_platform()
TRIPLE = f"{NATIVE.machine}-unknown-linux-gnu"
LIBRARIES = f"lib/{NATIVE.machine}-linux-gnu"
PACKAGES = ("rustc-web", "cargo-web", "libstd-rust-web", "libllvm", "libz3", "libedit", "libbsd", "libxml2", "libicu")
"""Prefixes of package names: Rust and the libraries that it is linked to."""
MORE = ("libgit2", "libcurl4", "libssh2", "libhttp-parser", "libmbed", "libnghttp2", "librtmp", "libpsl", "libbrotli")
ALSO = ("libldap", "libsasl2", "libgnutls", "libhogweed", "libnettle", "libtasn1", "libp11", "libidn2", "libunistring")
WRAPPER = f"""\
#!/bin/sh
LD_LIBRARY_PATH=/usr/local/{LIBRARIES} exec /usr/local/libexec/PROGRAM "$@"
"""
"""A released rustc finds its libraries by its run path, that of Debian in the folders of ldconfig."""
INSTALLER = """\
#!/bin/sh
# A stand-in for rust-installer: it has the used options, and copies files below the prefix.
set -eu
while [ $# -gt 0 ]; do
    case $1 in
        --prefix=*) prefix=${1#--prefix=} ;;
        --components=*) components=$(echo "${1#--components=}" | tr , ' ') ;;
        --disable-ldconfig) ;;
        *) echo "install.sh: unknown option $1" >&2; exit 1 ;;
    esac
    shift
done
cd "$(dirname "$0")"
for component in $components; do
    grep -qx "$component" components || { echo "install.sh: no component $component" >&2; exit 1; }
    cp -a "$component/." "$prefix/"
done
mkdir -p "$prefix/lib/rustlib"
touch "$prefix/lib/rustlib/install.log"
"""


def archive(version: str) -> bytes:
    """Return the archive of a version for this machine's platform."""
    with TemporaryDirectory() as scratch:
        root = Path(scratch) / f"rust-{version}-{TRIPLE}"
        for component in ("cargo", "rustc", f"rust-std-{TRIPLE}", "rust-docs"):
            (root / component).mkdir(parents=True)
        _lay_out(_unpacked(Path(scratch) / "debian") / "usr", root)
        (root / "components").write_text(f"rustc\ncargo\nrust-std-{TRIPLE}\nrust-docs\n", encoding="utf-8")
        (root / "rust-docs/book.html").write_text("a book\n", encoding="utf-8")
        (root / "install.sh").write_text(INSTALLER, encoding="utf-8")
        (root / "install.sh").chmod(0o755)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as tar:
            tar.add(root, arcname=root.name)
        return content.getvalue()


def _unpacked(tree: Path) -> Path:
    lock = os_lock.lock_of(load_catalogue().bases["debian"], "rust", NATIVE)
    locked = os_lock.read(lock, ROOT)
    (clang,) = (package.name.split("-")[2] for package in locked if package.name.startswith("libclang-common-"))
    beginnings = (*PACKAGES, *MORE, *ALSO)
    packages = tuple(
        package for package in locked if package.name.startswith(beginnings) and package.name != f"libllvm{clang}"
    )  # which belongs to clang
    for package in bootstrap.fetch(ROOT, lock, packages):
        argv = ("dpkg-deb", "--extract", str(deb_origins.store_path(ROOT, package)), str(tree))
        subprocess.run(argv, check=True)
    return tree


def _lay_out(debian: Path, root: Path) -> None:
    shutil.move(debian / "lib", root / "rustc/lib")
    shutil.move(root / "rustc/lib/rustlib", root / f"rust-std-{TRIPLE}/lib/rustlib")
    for name in ("rustc", "cargo"):
        for folder in ("bin", "libexec"):
            (root / name / folder).mkdir()
        shutil.move(debian / "bin" / name, root / name / "libexec" / name)
        (root / name / "bin" / name).write_text(WRAPPER.replace("PROGRAM", name), encoding="utf-8")
        (root / name / "bin" / name).chmod(0o755)
