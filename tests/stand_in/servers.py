"""What stands in for NVIDIA's index, for release pages and for registries: servers that this machine's builds reach.

A build runs in the engine's network, which has no way to the host's loopback (docs/reference/engine.md). The index
listens at the host's own address instead, which both sides reach. It speaks TLS: pip trusts no other server off
loopback. An engine takes a registry without TLS only on its own loopback: so one is on the host's, and where the engine
has a network of its own a second one with the same folder and port is on that one's.
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
    """Return this machine's own address: the one it would speak from. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A server for three things, and what each was asked."""

    address: str
    certificates: Path
    """Those of the machine, and the server's own."""
    nvidia: IndexContent = field(default_factory=IndexContent)
    """The index of `tensorrt-llm`, at /nvidia/."""
    machine: list[str] = field(default_factory=list)
    """The packages that the machine's own index, at /machine/, was asked for."""
    moved: dict[str, str] = field(default_factory=dict)
    """Package -> the page that the machine's own index sends to instead of the real one's."""
    releases: dict[str, bytes] = field(default_factory=dict)
    """Release archives by their file's name, anywhere below /releases/."""
    archives: list[str] = field(default_factory=list)
    """The paths below /releases/ that were asked for."""
    repositories: Path
    """The folder with what is at /almalinux/."""
    rpms: list[str] = field(default_factory=list)
    """The paths below /almalinux/ that were asked for."""


@contextmanager
def stand_in(folder: Path) -> Iterator[StandIn]:
    """Serve until the end of the block."""
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
        do_handshake_on_connect=False,  # in the thread of the request: a client that says nothing holds up nobody
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
    """Return the answer for a file of the repositories, or for what is not there."""
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
            self.send_error(405)  # uv then asks for the whole file

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
    """Run a registry on the loopback of the host, of the engine where that is another one, and of other `networks`.

    Each of these is the words that run a command there (`engine.network`).
    """
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "error"},  # beside it the log of requests, into the same file
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
