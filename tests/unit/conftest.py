"""A small checkout for plans, a server on loopback, and an `apt-get` whose output a test sets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import copytree
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import integrity
from dynamo_containers.engine import endpoint
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import IMAGES_FILE, REST, ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.lock import selection
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.plan.layer_split import COMPILED, PackageLayer
from dynamo_containers.plan.request import BuildInputs
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import binaries, disk_space, oci_layout, root_images
from dynamo_containers.upstream import apt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock

IMAGES = """\
[project]
source = "https://example.invalid/dynamo"
licenses = "Apache-2.0"
version-package = "ai-dynamo"
oldest-glibc = "2.35"

[reports]
keep = 3

[lock]
cooldown-days = 7

[lock.cooldown-exempt]

[bases.debian]
description = "bootstrapped"
strict = false
python = "3.11"
interpreter = "/usr/bin/python3"
glibc = "2.36"

[bases.debian.roots.builder]
suite = "bookworm"
packages = ["python3", "python3-venv"]

[bases.debian.roots.runtime]
suite = "bookworm"
packages = ["python3"]

[bases.debian.programs.etcd]
suite = "trixie"
package = "etcd-server"
files = { "usr/bin/etcd" = "/usr/local/bin/etcd" }

[images.base]
title = "Dynamo base"
description = "Wheels for every backend"
repository = "dynamo-base"
stages = ["base"]
bases = ["debian"]
platforms = ["linux/amd64", "linux/arm64"]

[images.base.package-layers]
nixl = ["nixl", "nixl-cu*"]

[images.frontend]
title = "Dynamo frontend"
description = "The frontend without an engine"
repository = "dynamo-frontend"
stages = ["runtime", "ci"]
bases = ["debian"]
platforms = ["linux/amd64", "linux/arm64"]

[images.small]
title = "Dynamo small"
description = "An image for one platform"
repository = "dynamo-small"
stages = ["runtime"]
bases = ["debian"]
platforms = ["linux/amd64"]
"""

PINS = f"""\
epoch = 1700000000

[roots.debian.builder]
index = "sha256:{"1" * 64}"
"linux/amd64" = "sha256:{"2" * 64}"
"linux/arm64" = "sha256:{"3" * 64}"

[roots.debian.runtime]
index = "sha256:{"4" * 64}"
"linux/amd64" = "sha256:{"5" * 64}"
"linux/arm64" = "sha256:{"6" * 64}"

[programs.debian.etcd."linux/amd64"]
version = "3.5.16-4"
archive = "debian"
path = "pool/main/e/etcd/etcd-server_3.5.16-4_amd64.deb"
size = 1000
sha256 = "{"7" * 64}"

[programs.debian.etcd."linux/arm64"]
version = "3.5.16-4"
archive = "debian"
path = "pool/main/e/etcd/etcd-server_3.5.16-4_arm64.deb"
size = 1000
sha256 = "{"8" * 64}"
"""


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: in the background of a shell it is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the two data files and nothing else."""
    folder = tmp_path / "checkout"
    (folder / "containers").mkdir(parents=True)
    (folder / IMAGES_FILE).write_text(IMAGES, encoding="utf-8")
    (folder / PINS_FILE).write_text(PINS, encoding="utf-8")
    return folder


@pytest.fixture
def catalogue(checkout: Path) -> Catalogue:
    """Return the catalogue of the small checkout."""
    return load_catalogue(checkout)


def pieces_of(checkout: Path, layer: str, *names: str) -> tuple[PackageLayer, ...]:
    """Return the image layers of a layer of packages that is cut into these pieces, or not cut at all."""
    folder = checkout / ".build/pieces" / f"{layer}-0123456789abcdef"
    cut = [
        PackageLayer(name=name, target=f"{layer}-{name}" if names else layer, folder=folder / name)
        for name in (*names, REST)
    ]
    return (*cut, PackageLayer(name=COMPILED, target=f"{layer}-compiled", folder=folder / COMPILED))


@pytest.fixture
def facts(checkout: Path) -> BuildInputs:
    """Return the inputs of a plan."""
    return BuildInputs(
        version="1.4.2",
        revision="0123456789abcdef0123456789abcdef01234567",
        locks={"base": "a" * 64, "frontend": "b" * 64, "small": "c" * 64},
        native=Platform.AMD64,
        roots={
            ("builder", Platform.AMD64): f"sha256:{'d' * 64}",
            ("builder", Platform.ARM64): f"sha256:{'e' * 64}",
            ("runtime", Platform.AMD64): f"sha256:{'7' * 64}",
            ("runtime", Platform.ARM64): f"sha256:{'8' * 64}",
        },
        layout=checkout / ".build/roots",
        binaries=checkout / ".build/programs/debian-0123456789abcdef",
        package_layers={
            "base": pieces_of(checkout, "base", "nixl"),
            **{layer: pieces_of(checkout, layer) for layer in ("frontend", "frontend-ci", "small")},
        },
        drift=(),
        secrets=(
            f"id=ca,src={checkout}/certificates.crt",
            f"id=index,src={checkout}/index",
        ),
    )


@pytest.fixture
def own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of this project's own data, with full caches, on a disk that is never full."""
    leave_free(monkeypatch, 10**15)
    folder = tmp_path / "own"
    for name in ("requirements", "constraints", "contents", "containers"):
        copytree(ROOT / name, folder / name)
    own = load_catalogue(folder)
    for lock in selection.root_locks(own):
        digest = own.pins.root(lock.bases.name, lock.role, lock.platform)
        leave_root_image(folder, lock, os_lock.read(lock, folder), own.pins.epoch, digest)
        leave_binaries(binaries.folder_of(folder, lock.bases, own.pins) / lock.platform.arch)
    return folder


def leave_binaries(tree: Path) -> None:
    """Leave an empty tree of binaries without drift, as it was made."""
    record = tree.with_name(f"{tree.name}.drift")
    tree.mkdir(parents=True, exist_ok=True)
    record.touch()
    integrity.seal(tree, record)


def leave_locks_on_images(catalogue: Catalogue) -> None:
    """Write locks of one package for all OS packages on root images of registries, which are not available here."""
    for lock in selection.os_locks(catalogue):
        if lock.image:
            archive = lock.repositories.name if lock.repositories else lock.archive.name(lock.platform)
            package = Package(
                name=f"on-{lock.name}",
                version="1-1",
                architecture=lock.architectures[1],
                archive=archive,
                path=f"pool/main/o/on-{lock.name}/on-{lock.name}_1-1_all.deb",
                size=1000,
                sha256="9" * 64,
            )
            on = image_reference.digest(catalogue.pins, lock.bases, lock.role, lock.platform)
            write_lock(lock, catalogue.folder, (package,), "20261124T180000Z", on)


def leave_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Set the free bytes of every disk."""
    monkeypatch.setattr(disk_space, "disk_usage", lambda _: SimpleNamespace(free=free))


def leave_root_image(folder: Path, lock: OsLock, packages: tuple[Package, ...], epoch: int, digest: str) -> None:
    """Write the results of a bootstrap: a manifest in the layout, and the record of its inputs."""
    blob = oci_layout.layout(folder) / "blobs/sha256" / digest.removeprefix("sha256:")
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():  # a second write would break the seals of other root images with this manifest
        blob.write_text(json.dumps({"config": {"digest": digest}, "layers": []}), encoding="utf-8")
    record, content = root_images.record_path(folder, lock, packages, epoch), {"digest": digest, "size": 7, "drift": []}
    record.write_text(json.dumps(content), encoding="utf-8")
    integrity.seal(record, *root_images.files(record.parent, record))


@pytest.fixture(name="leave_root_image")
def _leave_root_image() -> Callable[[Path, OsLock, tuple[Package, ...], int, str], None]:
    """Return the function of that name."""
    return leave_root_image


@dataclass
class Server:
    """The files of a server on loopback, how often it breaks off a transfer, and the paths that were requested."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve `files` on loopback; a path with `deaths` left gets half of its bytes and a closed connection."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            deaths = state.deaths.get(self.path, 0)
            state.deaths[self.path] = max(0, deaths - 1)
            self.wfile.write(content[: len(content) // 2] if deaths else content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gave it
            """Keep the requests off the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@dataclass
class FakeApt:
    """The files that a stand-in for apt-get prints."""

    folder: Path

    def sources(self, *addresses: str) -> None:
        """Set the archives that the apt of the machine is configured with."""
        (self.folder / "targets").write_text("".join(f"{address}\n" for address in addresses), encoding="utf-8")

    def would_install(self, *lines: str) -> None:
        """Set the output of `apt-get install --print-uris`."""
        (self.folder / "uris").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def would_install_for(self, package: str, *lines: str) -> None:
        """Set its output for a command that names this package."""
        (self.folder / f"uris-{package}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def has_mmdebstrap(self) -> None:
        """Add an mmdebstrap whose tree is only the list of its packages."""
        program = 'while [ $# -gt 2 ]; do shift; done; from=${2#*copy:}; cp "${from% ./}/Packages" "$1"'
        for name, script in {"mmdebstrap": program, "unshare": 'shift; exec "$@"'}.items():
            (self.folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (self.folder / name).chmod(0o755)


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApt]:
    """Put an `apt-get` first on PATH that prints the output set by the test."""
    folder = tmp_path / "fake-apt"
    folder.mkdir()
    script = f"""\
#!/bin/sh
case $1 in
indextargets) cat '{folder}/targets' ;;
install)
    for word in "$@"; do
        if [ -e "{folder}/uris-$word" ]; then exec cat "{folder}/uris-$word"; fi
    done
    cat '{folder}/uris' ;;
esac
"""
    (folder / "apt-get").write_text(script, encoding="utf-8")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(apt, "KEYRING", folder / "apt-get")
    apt.host_mirrors.cache_clear()
    yield FakeApt(folder)
    apt.host_mirrors.cache_clear()


def build_package(folder: Path, name: str, version: str, files: tuple[str, ...] = (), more: str = "") -> bytes:
    """Return a .deb with these files; `more` is added to its control file."""
    (folder / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: none\n{more}Description: none\n"
    (folder / "DEBIAN/control").write_text(control, encoding="utf-8")
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("a program", encoding="utf-8")
    file = folder.with_suffix(".deb")
    argv = ("dpkg-deb", "--build", "-Zgzip", str(folder), str(file))
    subprocess.run(argv, check=True, capture_output=True)
    return file.read_bytes()


@pytest.fixture(scope="session")
def bash(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the .deb of bash 5.2-3, which every suite of these tests has."""
    return build_package(tmp_path_factory.mktemp("bash") / "tree", "bash", "5.2-3")


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a .deb that holds usr/bin/etcd."""
    return build_package(tmp_path_factory.mktemp("etcd") / "tree", "etcd-server", "3.5.16-4", ("usr/bin/etcd",))


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a docker CLI with buildx: this checkout's private one, or the user's."""
    place = EnginePaths(folder=ROOT)
    plugins = place.client / endpoint.PRIVATE_PLUGINS
    variables = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}  # nothing listens: --print asks no engine
    if (plugins / endpoint.BUILDX).exists():
        (tmp_path / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(plugins)]}), encoding="utf-8")
        path = f"{place.client / endpoint.PRIVATE_PROGRAMS}:{os.environ['PATH']}"
        return {**variables, "DOCKER_CONFIG": str(tmp_path), "PATH": path}
    if endpoint.has_tools(os.environ):
        return variables
    pytest.fail("There is no docker CLI with buildx to check the documents. Run these tests with: nox -s unit")
