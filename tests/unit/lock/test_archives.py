"""Release archives: when one is fetched, what stays when nobody answers, and what is taken out of it."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError, LockError, UsageError
from dynamo_containers.facts.bases import Release
from dynamo_containers.facts.pins import ArchivePin, PackagePin, Pins, render_programs
from dynamo_containers.lock import archives as lock_archives
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import binaries

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.upstream.unreachable import RefreshResult
    from tests.unit.conftest import Server

AMD, KEY = Platform.AMD64, ("debian", "etcd", Platform.AMD64)
PATH = "/v3.5.21/etcd-linux-amd64.tar.gz"
NO_PINS = Pins(epoch=1, programs={}, roots={})


def archive(*names: str) -> bytes:
    """Return a .tar.gz with a file of each name."""
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, BytesIO(name.encode()))
    return content.getvalue()


COMPLETE = archive("etcd-3.5.21/etcd", "etcd-3.5.21/etcdctl", "etcd-3.5.21/README.md")
PIN = ArchivePin(version="3.5.21", url="", sha256=hashlib.sha256(COMPLETE).hexdigest(), size=len(COMPLETE))


@pytest.fixture
def bases(catalogue: Catalogue, server: Server) -> Bases:
    """Return bases that take one program out of a release archive."""
    server.files[PATH] = COMPLETE
    url = f"{server.address}/v{{version}}/etcd-linux-{{arch}}.tar.gz"
    row = Release(url=url, version="3.5.21", files={"etcd-{version}/etcd": "/usr/local/bin/etcd"})
    return replace(catalogue.bases["debian"], programs={"etcd": row}, strict=True)


def both(bases: Bases) -> Bases:
    """Return bases that take a second program out of the same archive."""
    row = bases.archive_programs["etcd"]
    other = replace(row, files={"etcd-{version}/etcdctl": "/usr/local/bin/etcdctl"})
    return replace(bases, programs={"etcd": row, "etcdctl": other})


def ask(
    catalogue: Catalogue, bases: Bases, old: Pins = NO_PINS
) -> RefreshResult[tuple[str, str, Platform], PackagePin | ArchivePin]:
    return lock_archives.pin_archives(catalogue.folder, [(bases, AMD)], old, seconds=1)


def with_pin(pin: ArchivePin) -> Pins:
    return replace(NO_PINS, programs={KEY: pin})


def test_an_archive_is_pinned_by_what_its_address_gives(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    pin = replace(PIN, url=f"{server.address}{PATH}")
    outcome = ask(catalogue, bases)
    assert outcome.pins == {KEY: pin}
    assert outcome.messages == (f"programs.debian.etcd for linux/amd64: {pin.url} is pinned to sha256:{pin.sha256}",)


def test_an_archive_of_two_programs_is_fetched_once(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    assert len(ask(catalogue, both(bases)).pins) == 2
    assert server.requests == [PATH]


def test_what_is_pinned_is_not_fetched_and_its_address_gives_others_the_same_pin(
    catalogue: Catalogue, bases: Bases, server: Server
) -> None:
    pin = replace(PIN, url=f"{server.address}{PATH}", sha256="0" * 64)
    outcome = ask(catalogue, both(bases), with_pin(pin))
    assert set(outcome.pins.values()) == {pin}
    assert server.requests == []


def test_another_version_in_the_data_is_fetched(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    old = replace(PIN, version="3.5.20", url=f"{server.address}/v3.5.20/etcd-linux-amd64.tar.gz")
    assert ask(catalogue, bases, with_pin(old)).pins == {KEY: replace(PIN, url=f"{server.address}{PATH}")}


def test_a_server_that_refuses_leaves_the_old_pin(catalogue: Catalogue, bases: Bases) -> None:
    row = replace(bases.archive_programs["etcd"], url="http://127.0.0.1:1/v{version}/etcd.tar.gz")
    nowhere = replace(bases, programs={"etcd": row})
    old = replace(PIN, version="3.5.20", url="http://127.0.0.1:1/v3.5.20/etcd.tar.gz", sha256="a" * 64)
    outcome = ask(catalogue, nowhere, with_pin(old))
    assert outcome.pins == {KEY: old}
    (missing,) = outcome.unreachable
    assert missing.name == "programs.debian.etcd for linux/amd64"
    assert missing.address == "http://127.0.0.1:1/v3.5.21/etcd.tar.gz"
    assert missing.pinned == "the old pin sha256:aaaaaaaaaaaa of 3.5.20"
    assert "refused" in missing.reason
    assert ask(catalogue, nowhere).unreachable[0].pinned == "not locked"


def test_a_server_that_says_nothing_is_left_after_some_seconds(catalogue: Catalogue, bases: Bases) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/etcd-{{version}}.tar.gz"
        nowhere = replace(bases, programs={"etcd": replace(bases.archive_programs["etcd"], url=address)})
        (missing,) = ask(catalogue, nowhere).unreachable
    assert (missing.reason, missing.pinned) == ("timed out", "not locked")


def test_a_connection_that_ends_early_pins_nothing(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    server.deaths[PATH] = 1
    outcome = ask(catalogue, bases)
    assert outcome.pins == {}
    assert outcome.unreachable[0].reason.startswith("the connection ended after ")


def test_no_such_archive_is_an_error_that_names_the_row(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    del server.files[PATH]
    with pytest.raises(LockError) as caught:
        ask(catalogue, bases)
    assert str(caught.value).startswith(
        f"programs.debian.etcd for linux/amd64: {server.address}{PATH}: the server does not have this file.\n"
    )


def test_an_archive_that_lacks_the_file_names_it(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    server.files[PATH] = archive("etcd-3.5.21/etcdctl")
    with pytest.raises(UsageError) as caught:
        ask(catalogue, bases)
    assert str(caught.value).startswith(f"The archive {server.address}{PATH} has no file etcd-3.5.21/etcd.\n")


@pytest.mark.parametrize(
    "content",
    [b"<html>please log in</html>", gzip.compress(b"no tar"), COMPLETE[: len(COMPLETE) // 2]],
    ids=["a login page", "no tar", "half of one"],
)
def test_what_is_no_archive_is_not_pinned(catalogue: Catalogue, bases: Bases, server: Server, content: bytes) -> None:
    server.files[PATH] = content
    with pytest.raises(UsageError, match=r"is not a \.tar\.gz archive"):
        ask(catalogue, bases)


def test_only_the_named_files_are_taken_out_of_an_archive(catalogue: Catalogue, bases: Bases, server: Server) -> None:
    pins = with_pin(replace(PIN, url=f"{server.address}{PATH}", size=0))
    assert binaries.ensure(catalogue.folder, bases, pins, AMD) == ()
    tree = binaries.folder_of(catalogue.folder, bases, pins) / "amd64"
    files = [Path(folder, name) for folder, _, names in os.walk(tree) for name in names]
    assert files == [tree / "usr/local/bin/etcd"]
    assert files[0].read_text(encoding="utf-8") == "etcd-3.5.21/etcd"
    assert files[0].stat().st_mode & 0o777 == 0o755
    binaries.ensure(catalogue.folder, bases, pins, AMD)
    assert server.requests == [PATH]


def test_a_build_refuses_another_archive_than_the_pinned_one(
    catalogue: Catalogue, bases: Bases, server: Server
) -> None:
    pins = with_pin(replace(PIN, url=f"{server.address}{PATH}", sha256="0" * 64))
    with pytest.raises(DownloadError, match="is not the pinned file"):
        binaries.ensure(catalogue.folder, bases, pins, AMD)


def test_a_build_says_what_to_do_when_a_pinned_archive_is_gone(
    catalogue: Catalogue, bases: Bases, server: Server
) -> None:
    del server.files[PATH]
    pins = with_pin(replace(PIN, url=f"{server.address}{PATH}"))
    with pytest.raises(LockError, match=r"set another version in containers/images\.toml"):
        binaries.ensure(catalogue.folder, bases, pins, AMD)


def test_a_build_refuses_a_pin_of_another_version_than_the_data_names(catalogue: Catalogue, bases: Bases) -> None:
    pins = with_pin(replace(PIN, version="3.5.20", url="https://example.invalid/v3.5.20/etcd.tar.gz"))
    with pytest.raises(LockError) as caught:
        binaries.ensure(catalogue.folder, bases, pins, AMD)
    assert str(caught.value).startswith("containers/pins.toml is stale: programs.debian.etcd for linux/amd64 is for ")
    assert str(caught.value).endswith("\nPin it with: invoke lock --only archives")


def test_an_archive_is_rendered_with_its_address_and_without_a_size_that_nobody_knows() -> None:
    assert render_programs({KEY: replace(PIN, url="https://example.invalid/etcd.tar.gz", size=0)}) == (
        '[programs.debian.etcd."linux/amd64"]\n'
        'version = "3.5.21"\n'
        'url = "https://example.invalid/etcd.tar.gz"\n'
        f'sha256 = "{PIN.sha256}"\n\n'
    )
