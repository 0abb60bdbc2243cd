"""An index on loopback whose answers a test sets, and small projects that lock from it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import pytest

from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.lock.python import schedule as python_schedule
from dynamo_containers.lock.python import update as python_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.moves import Move
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.lock.python.update import PythonUpdate

OLD = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
JSON = "application/vnd.pypi.simple.v1+json"
ANY = "py3-none-any"
IMAGE = """
[images.{name}]
title = "{name}"
description = "{name}"
repository = "{name}"
stages = [{stages}]
bases = ["debian"]
platforms = ["linux/amd64"]
{more}
"""


def _entry(name: str) -> ZipInfo:
    return ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # always the same bytes


def wheel(
    name: str, version: str, requires: tuple[str, ...] = (), tag: str = ANY, extras: tuple[str, ...] = ()
) -> bytes:
    """Return a minimal wheel."""
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {requirement}" for requirement in requires),
        *(f"Provides-Extra: {extra}" for extra in extras),
    ]
    info = f"{name}-{version}.dist-info"
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr(_entry(f"{info}/METADATA"), "\n".join(lines) + "\n")
        archive.writestr(_entry(f"{info}/WHEEL"), f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(_entry(f"{info}/RECORD"), "")
    return content.getvalue()


@dataclass(kw_only=True)
class IndexContent:
    """Files and pages of an index, other answers in their place, and the requests."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    instead: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        version: str,
        *,
        requires: tuple[str, ...] = (),
        tag: str = ANY,
        uploaded: str | None = OLD,
        **entry: Any,  # noqa: ANN401 - keys of PEP 691 with values of JSON
    ) -> str:
        """Offer a wheel of a release; return its sha256. `extras` are in its metadata, other keys on the page."""
        extras = entry.pop("extras", ())
        file = f"{name.replace('-', '_')}-{version}-{tag}.whl"
        self.files[file] = wheel(name, version, requires, tag, extras)
        digest = hashlib.sha256(self.files[file]).hexdigest()
        row: dict[str, object] = {"filename": file, "url": f"../../files/{file}", "hashes": {"sha256": digest}}
        row |= {"size": len(self.files[file])} | ({"upload-time": uploaded} if uploaded else {}) | entry
        self.pages.setdefault(name, []).append(row)
        return digest

    def add_source(self, name: str, version: str, content: bytes = b"") -> None:
        """Offer a source archive that nobody builds; its content is its name by default."""
        file = f"{name.replace('-', '_')}-{version}.tar.gz"
        self.files[file] = content or file.encode()
        digest = hashlib.sha256(self.files[file]).hexdigest()
        row: dict[str, object] = {"filename": file, "url": f"../../files/{file}", "hashes": {"sha256": digest}}
        self.pages.setdefault(name, []).append(row | {"size": len(self.files[file]), "upload-time": OLD})


def answer(request: BaseHTTPRequestHandler, content: bytes, kind: str = JSON, status: int = 200, more: int = 0) -> None:
    """Send a page; its header promises `more` bytes than are sent."""
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(content) + more))
    request.end_headers()
    request.wfile.write(content)


def serve(index: IndexContent) -> ThreadingHTTPServer:
    """Serve the index on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            name = self.path.strip("/").rpartition("/")[2]
            if name in index.instead:
                index.instead[name](self)
            elif self.path.startswith("/files/") and name in index.files:
                answer(self, index.files[name], "application/octet-stream")
            elif name in index.pages:
                page = {"meta": {"api-version": "1.1"}, "name": name, "files": index.pages[name]}
                answer(self, json.dumps(page).encode())
            else:
                answer(self, b"no such page", "text/plain", 404)

        def do_HEAD(self) -> None:
            self.send_error(405)  # uv then downloads the whole file

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.address = f"http://127.0.0.1:{server.server_port}/simple/"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def interrupted(
    index: IndexContent, name: str, *arguments: str, number: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    """Run a module of the library, send it a signal when it requests a page, and return its exit code and stderr."""
    requested, over = threading.Event(), threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> None:
        requested.set()
        over.wait(10)

    index.instead[name] = wait
    # Tests in the background ignore Ctrl-C, and their child processes would inherit that.
    argv = ("env", "--default-signal=INT", sys.executable, "-m", *arguments)
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert requested.wait(10)
        running.send_signal(number)
        _, complaints = running.communicate(timeout=10)
    over.set()
    return running.returncode, complaints


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IndexContent]:
    """Serve an empty index, which is the only index of pip, with its own cache."""
    served = IndexContent()
    server = serve(served)
    monkeypatch.setenv("PIP_INDEX_URL", served.address)
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_TOOLS_CACHE_DIR", str(tmp_path / "cache"))
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def other() -> Iterator[IndexContent]:
    """Serve a second index."""
    served = IndexContent()
    server = serve(served)
    yield served
    server.shutdown()
    server.server_close()


@dataclass(frozen=True, kw_only=True)
class ToolsProject:
    """A checkout whose only lock is that of the tools, which needs no image."""

    catalogue: Catalogue
    lock: LockFile

    @property
    def path(self) -> Path:
        """Return the path of the lock."""
        return self.catalogue.folder / self.lock.path

    def require(self, *lines: str) -> None:
        """Write the requirements."""
        (self.catalogue.folder / "requirements/tools.in").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def make(self, *upgrade: str, upgrade_all: bool = False) -> tuple[Move, ...]:
        """Update this lock as `invoke lock --only python` does, on a fixed day; return what moved."""
        return self.update(*upgrade, upgrade_all=upgrade_all).moves

    def update(self, *upgrade: str, upgrade_all: bool = False) -> PythonUpdate:
        """Update this lock in the same way; return the complete result."""
        before = python_schedule.cooldown_limit(self.catalogue, NOW)
        options = python_schedule.UpgradeOptions(upgrade=upgrade, upgrade_all=upgrade_all, uploaded_before=before)
        return python_update.update_locks(self.catalogue, [self.lock], options)

    def exempt(self, name: str, reason: str) -> None:
        """Exempt a package from the cooldown."""
        file = self.catalogue.folder / IMAGES_FILE
        head = "[lock.cooldown-exempt]\n"
        text = file.read_text(encoding="utf-8").replace(head, f'{head}{name} = "{reason}"\n')
        file.write_text(text, encoding="utf-8")

    def pins(self) -> list[str]:
        """Return the pins of the lock."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [line.removesuffix(" \\") for line in lines if "==" in line]


@pytest.fixture
def project(tmp_path: Path) -> ToolsProject:
    """Return a checkout with the library of this one, and with one lock to update."""
    folder = tmp_path / "checkout"
    for part in ("requirements", "containers"):
        (folder / part).mkdir(parents=True)
    (folder / "dynamo_containers").symlink_to(ROOT / "dynamo_containers")
    (folder / IMAGES_FILE).write_bytes((ROOT / IMAGES_FILE).read_bytes())
    (folder / "requirements/constraints.in").touch()
    catalogue = load_catalogue(folder)
    (lock,) = (lock for lock in python_lock.locks(catalogue) if lock.layer.name == "tools")
    return ToolsProject(catalogue=catalogue, lock=lock)


@dataclass(frozen=True, kw_only=True)
class Backends:
    """A checkout with a base image and two backends that share their common packages."""

    folder: Path

    def image(self, name: str, *, stages: str = "", more: str = "") -> None:
        """Add an image to the table."""
        with (self.folder / IMAGES_FILE).open("a", encoding="utf-8") as file:
            file.write(IMAGE.format(name=name, stages=stages, more=more))

    def replace(self, old: str, new: str) -> None:
        """Edit the table."""
        file = self.folder / IMAGES_FILE
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    def own_index(self, name: str, address: str, package: str) -> None:
        """Declare a package that has its own index."""
        with (self.folder / IMAGES_FILE).open("a", encoding="utf-8") as file:
            file.write(f'\n[indexes.{name}]\nurl = "{address}"\npackages = ["{package}"]\n')

    def require(self, name: str, *lines: str) -> None:
        """Write the requirements of a layer."""
        (self.folder / f"requirements/{name}.in").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def make(self, *upgrade: str, also: tuple[str, ...] = ()) -> PythonUpdate:
        """Update the backends and these layers as `invoke lock --only python` does, on a fixed day."""
        catalogue = load_catalogue(self.folder)
        before = python_schedule.cooldown_limit(catalogue, NOW)
        layers = ("base", "first", "second", "common", *also)
        locks = [lock for lock in python_lock.locks(catalogue) if lock.layer.name in layers]
        return python_update.update_locks(
            catalogue, locks, python_schedule.UpgradeOptions(upgrade=upgrade, uploaded_before=before)
        )

    def pins(self, layer: str) -> list[str]:
        """Return the pins of a lock."""
        text = (self.folder / f"constraints/{layer}-debian-amd64.txt").read_text(encoding="utf-8")
        return [f"{pin.name}=={pin.version}" for pin in requirements.read(text)]

    def stale(self) -> list[str]:
        """Return the existing locks that `invoke lock --check` reports."""
        locks = python_lock.locks(load_catalogue(self.folder))
        existing = (lock for lock in locks if (self.folder / lock.path).is_file())
        return [lock.path for lock in existing if python_lock.stale_reason(lock, self.folder)]


@pytest.fixture
def backends(tmp_path: Path, index: IndexContent) -> Backends:
    """Return a checkout with backends; its index has the packages of the base image."""
    folder = tmp_path / "backends"
    for part in ("requirements", "containers"):
        (folder / part).mkdir(parents=True)
    (folder / "dynamo_containers").symlink_to(ROOT / "dynamo_containers")
    head, _, _ = (ROOT / IMAGES_FILE).read_text(encoding="utf-8").partition("[indexes.")
    bases = """\
[bases.debian]
description = "d"
strict = false
python = "3.11"
interpreter = "/usr/bin/python3"
glibc = "2.36"
roots = {}
programs = {}
"""
    (folder / IMAGES_FILE).write_text(head + bases, encoding="utf-8")
    checkout = Backends(folder=folder)
    checkout.image("base", stages='"base"')
    for name in ("first", "second"):
        checkout.image(name, more='common-layer = "common"')
    for name in ("tools", "base", "builder", "constraints", "first", "second", "ci", "dev"):
        checkout.require(name)
    index.add("dynamo", "1.0")
    checkout.require("base", "dynamo")
    return checkout
