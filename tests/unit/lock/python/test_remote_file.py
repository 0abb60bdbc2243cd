from __future__ import annotations

import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from pip._internal.network.session import PipSession

from dynamo_containers.errors import DownloadError
from dynamo_containers.lock.python import remote_file
from dynamo_containers.lock.python.remote_file import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RangeServer(ThreadingHTTPServer):
    content = b""
    ranges = True
    sent = 0
    wrong = False


class Handler(BaseHTTPRequestHandler):
    server: RangeServer

    def do_GET(self) -> None:
        content, (first, last) = self.server.content, self.headers["Range"].removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first else len(content)
        if self.server.wrong and first:
            start, stop = 0, stop - start
        body = content[start:stop] if self.server.ranges else content
        self.send_response(206 if self.server.ranges else 200)
        if self.server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("first.txt", "the first")
        archive.writestr("large.so", os.urandom(3_000_000))
        archive.writestr("x.dist-info/METADATA", "Name: x\n")
    with RangeServer(("127.0.0.1", 0), Handler) as found:
        found.content = (tmp_path / "x.whl").read_bytes()
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def address(server: RangeServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/x.whl"


def test_of_a_large_wheel_only_the_end_and_what_is_asked_for_are_received(server: RangeServer) -> None:
    with zipfile.ZipFile(RemoteFile(PipSession(), address(server))) as archive:
        assert archive.read("x.dist-info/METADATA") == b"Name: x\n"
        assert archive.read("first.txt") == b"the first"
    assert server.sent < 200_000


def test_a_server_without_ranges_sends_a_small_file_as_a_whole(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ranges = False
    with zipfile.ZipFile(RemoteFile(PipSession(), address(server))) as archive:
        assert archive.read("first.txt") == b"the first"
    monkeypatch.setattr(remote_file, "MOST_WHOLE", 1_000_000)
    with pytest.raises(DownloadError, match="its server does not support ranges"):
        RemoteFile(PipSession(), address(server))


def test_a_server_that_sends_another_part_is_refused(server: RangeServer) -> None:
    file = RemoteFile(PipSession(), address(server))
    server.wrong = True
    file.seek(1000)
    with pytest.raises(DownloadError, match="was sent in other parts than were asked for"):
        file.read(10)


def test_a_server_that_is_gone_is_a_failed_download(server: RangeServer) -> None:
    url = address(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="could not be read"):
        RemoteFile(PipSession(retries=0), url)
