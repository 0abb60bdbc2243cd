"""Downloads by content: what is kept, what is refused, and what a broken server leads to."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError
from dynamo_containers.upstream import download as upstream_download
from dynamo_containers.upstream.download import Download, GoneError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Server

CONTENT = b"the pinned bytes " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def kept(store: Path) -> list[str]:
    """Return the names of all files below the store, hidden ones included."""
    return [name for _, _, files in os.walk(store) for name in files]


def test_the_right_file_is_kept_under_its_sha256(server: Server, store: Path) -> None:
    server.files["/a.deb"] = CONTENT
    path = upstream_download.fetch(store, Download(url=f"{server.address}/a.deb", sha256=SHA256))
    assert path == store / "sha256" / SHA256
    assert path.read_bytes() == CONTENT
    assert kept(store) == [SHA256]


def test_what_is_there_needs_no_network(server: Server, store: Path) -> None:
    server.files["/a.deb"] = CONTENT
    download = Download(url=f"{server.address}/a.deb", sha256=SHA256)
    upstream_download.fetch(store, download)
    assert upstream_download.fetch(store, download).read_bytes() == CONTENT
    assert upstream_download.fetch_all(store, [download]) == ()
    assert server.requests == ["/a.deb"]


def test_another_content_shows_both_values_and_is_not_kept(server: Server, store: Path) -> None:
    server.files["/a.deb"] = b"other bytes"
    url = f"{server.address}/a.deb"
    with pytest.raises(DownloadError) as caught:
        upstream_download.fetch(store, Download(url=url, sha256=SHA256))
    assert caught.value.exit_code == 5
    assert str(caught.value).splitlines()[:3] == [
        f"{url} is not the pinned file and was discarded.",
        f"  pinned   sha256:{SHA256}",
        f"  received sha256:{hashlib.sha256(b'other bytes').hexdigest()}",
    ]
    assert kept(store) == []
    assert server.requests == ["/a.deb"]


def test_a_file_that_the_server_dropped_is_gone(server: Server, store: Path) -> None:
    url = f"{server.address}/gone.deb"
    with pytest.raises(GoneError) as caught:
        upstream_download.fetch(store, Download(url=url, sha256=SHA256))
    assert caught.value.exit_code == 5
    assert str(caught.value) == f"{url}: the server no longer has this file."
    assert server.requests == ["/gone.deb"]


def test_of_several_files_those_that_are_gone_are_returned_and_the_others_kept(server: Server, store: Path) -> None:
    server.files["/a.deb"] = CONTENT
    here = Download(url=f"{server.address}/a.deb", sha256=SHA256, size=len(CONTENT))
    gone = Download(url=f"{server.address}/gone.deb", sha256="0" * 64)
    assert upstream_download.fetch_all(store, [here, gone]) == (gone,)
    assert kept(store) == [SHA256]


def test_a_server_that_dies_in_the_middle_is_asked_again(server: Server, store: Path) -> None:
    server.files["/a.deb"] = CONTENT
    server.deaths["/a.deb"] = 2
    upstream_download.fetch(store, Download(url=f"{server.address}/a.deb", sha256=SHA256))
    assert server.requests == ["/a.deb"] * 3
    assert kept(store) == [SHA256]


def test_a_server_that_dies_every_time_is_named(server: Server, store: Path) -> None:
    server.files["/a.deb"] = CONTENT
    server.deaths["/a.deb"] = 3
    url = f"{server.address}/a.deb"
    with pytest.raises(DownloadError) as caught:
        upstream_download.fetch(store, Download(url=url, sha256=SHA256))
    assert str(caught.value).startswith(
        f"{url} could not be downloaded: the connection ended after 8500 of 17000 bytes.\n"
    )
    assert server.requests == ["/a.deb"] * 3
    assert kept(store) == []


def test_a_server_that_is_not_there_is_named(server: Server, store: Path) -> None:
    nowhere = f"{server.address.rpartition(':')[0]}:1/a.deb"
    with pytest.raises(DownloadError, match=r"could not be downloaded: .*refused") as caught:
        upstream_download.fetch(store, Download(url=nowhere, sha256=SHA256))
    assert not isinstance(caught.value, GoneError)
    assert kept(store) == []


@pytest.mark.parametrize("stored", [b"another file", b"", CONTENT[:100]], ids=["another file", "empty", "cut short"])
def test_a_stored_file_is_not_believed_by_its_name(server: Server, store: Path, stored: bytes) -> None:
    server.files["/a.deb"] = CONTENT
    download = Download(url=f"{server.address}/a.deb", sha256=SHA256)
    path = upstream_download.store_path(store, download)
    path.parent.mkdir(parents=True)
    for fetch in (upstream_download.fetch, lambda *found: upstream_download.fetch_all(found[0], [found[1]])):
        path.write_bytes(stored)
        fetch(store, download)
        assert path.read_bytes() == CONTENT
    assert server.requests == ["/a.deb"] * 2


def test_a_stored_file_with_another_content_is_removed_even_if_the_server_is_unreachable(
    server: Server, store: Path
) -> None:
    download = Download(url=f"{server.address.rpartition(':')[0]}:1/a.deb", sha256=SHA256)
    path = upstream_download.store_path(store, download)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another file")
    with pytest.raises(DownloadError) as caught:
        upstream_download.fetch(store, download)
    assert caught.value.exit_code == 5
    assert kept(store) == []
