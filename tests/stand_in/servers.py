"""Stand-ins for the index of NVIDIA, release pages and registries: servers that builds on this machine reach.

A build runs in the network of the engine, which does not reach the loopback of the host (docs/reference/engine.md). So
the index listens at the address of the host, which both networks reach. It uses TLS, because pip trusts other servers
only on loopback. An engine accepts a registry without TLS only on its own loopback. So one registry is on the loopback
of the host. If the engine has its own network, a second one with the same folder and port is on the loopback there.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pip._internal.models.index import PyPI

from dynamo_containers import engine
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.prepare import build_secrets
from dynamo_containers.upstream import host_tools
from tests.lock.conftest import JSON, IndexContent
from tests.lock.test_registry import Registry, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def host_address() -> str:
    """Return the address of this machine for outgoing connections; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A server for an index, release pages and RPM repositories, with their requests."""

    address: str
    certificates: Path
    """The certificates of the machine, and that of the server."""
    nvidia: IndexContent = field(default_factory=IndexContent)
    """The index of `tensorrt-llm`, at /nvidia/."""
    machine: list[str] = field(default_factory=list)
    """The packages requested from the index of the machine, at /machine/."""
    moved: dict[str, str] = field(default_factory=dict)
    """Package -> the page that the index of the machine redirects to; the default is the real page."""
    releases: dict[str, bytes] = field(default_factory=dict)
    """File name -> release archive, in any folder below /releases/."""
    archives: list[str] = field(default_factory=list)
    """The requested paths below /releases/."""
    repositories: Path
    """The folder that is served at /almalinux/."""
    rpms: list[str] = field(default_factory=list)
    """The requested paths below /almalinux/."""


@contextmanager
def stand_in(folder: Path) -> Iterator[StandIn]:
    """Run the server until the end of the block."""
    host = host_address()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stand-in")
    names = ("-addext", f"subjectAltName=IP:{host}", "-addext", "basicConstraints=critical,CA:FALSE")
    argv = ("openssl", "req", *options, *names, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(argv, check=True, capture_output=True)
    trusted = build_secrets.CERTIFICATES.read_text(encoding="utf-8") + certificate.read_text(encoding="utf-8")
    (folder / "trusted.pem").write_text(trusted, encoding="utf-8")
    real = (build_secrets.index_address(os.environ) or PyPI.simple_url).rstrip("/")
    server = ThreadingHTTPServer((host, 0), BaseHTTPRequestHandler)
    address = f"https://{host}:{server.server_port}"
    running = StandIn(address=address, certificates=folder / "trusted.pem", repositories=folder / "rpms/repositories")
    server.RequestHandlerClass = _handler(running, real)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(
        server.socket,
        server_side=True,
        do_handshake_on_connect=False,  # done in the thread of the request, so that a silent client blocks nobody
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _other(server: StandIn, parts: list[str]) -> tuple[int, bytes]:
    """Return the answer for a file of the repositories, or for an unknown path."""
    path = unquote("/".join(parts))
    if path.startswith("almalinux/"):
        server.rpms.append(path.removeprefix("almalinux/"))
        file = server.repositories / path.removeprefix("almalinux/")
        return (200, file.read_bytes()) if file.is_file() else (404, b"no such file")
    server.nvidia.requests.append(parts[-1])
    return 404, b"no such page"


def _handler(server: StandIn, real: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.strip("/").split("/"):
                case ["machine", "simple", name]:
                    server.machine.append(name)
                    self._answer(302, b"", location=server.moved.get(name, f"{real}/{name}/"))
                case ["nvidia", "simple", name] if name in server.nvidia.pages:
                    server.nvidia.requests.append(name)
                    page = {"meta": {"api-version": "1.1"}, "name": name, "files": server.nvidia.pages[name]}
                    self._answer(200, json.dumps(page).encode(), JSON)
                case ["nvidia", "files", name] if name in server.nvidia.files:
                    server.nvidia.requests.append(name)
                    self._answer(200, server.nvidia.files[name])
                case ["releases", *_, name] if name in server.releases:
                    server.archives.append(self.path.removeprefix("/releases/"))
                    self._answer(200, server.releases[name])
                case parts:
                    self._answer(*_other(server, parts))

        def do_HEAD(self) -> None:
            self.send_error(405)  # uv then downloads the whole file

        def _answer(
            self, status: int, content: bytes, kind: str = "application/octet-stream", location: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the requests off the terminal."""

    return Handler


@contextmanager
def registry(folder: Path, networks: Iterable[tuple[str, ...]] = ()) -> Iterator[Registry]:
    """Run a registry on the loopback of the host, of the engine and of other `networks`.

    A network is the prefix of a command that runs there (`engine.network`).
    """
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "error"},  # the log of requests goes to the same file
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "settings.yml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    program = {**os.environ, **host_tools.environment(ROOT, ("docker-registry",))}
    serve = ("docker-registry", "serve", str(folder / "settings.yml"))
    inside = engine.network(ROOT)
    with ExitStack() as stack, (folder / "log").open("wb") as log:
        for prefix in dict.fromkeys(((), inside, *networks)):
            process = stack.enter_context(subprocess.Popen((*prefix, *serve), env=program, stdout=log, stderr=log))
            stack.callback(process.terminate)
            if not prefix:
                wait_for(f"http://127.0.0.1:{port}/v2/", process)
        yield Registry(address=f"127.0.0.1:{port}")
