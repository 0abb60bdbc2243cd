"""Debian programs that this machine lacks: found where they were unpacked, and never half-unpacked."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import integrity
from dynamo_containers.errors import CommandFailedError, DownloadError
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.upstream import apt, host_tools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import FakeApt, Server

CONTENT = b"this is no .deb"
PACKAGE = Package(
    name="mmdebstrap",
    version="1.3.5-7",
    architecture="all",
    archive="debian",
    path="pool/mmdebstrap.deb",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


def test_what_the_machine_has_is_not_fetched(tmp_path: Path) -> None:
    assert host_tools.environment(tmp_path, ("sh", "ls")) == {}


def test_an_unpacked_tree_comes_before_the_machine_s_own_programs(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr/share/perl5").mkdir(parents=True)
    assert host_tools.variables(tmp_path, "x86_64-linux-gnu", {"PATH": "/usr/bin", "PERL5LIB": "/my/perl"}) == {
        "PATH": f"{tmp_path}/usr/bin:{tmp_path}/usr/sbin:{tmp_path}/sbin:/usr/bin",
        "LD_LIBRARY_PATH": f"{tmp_path}/usr/lib/x86_64-linux-gnu",
        "PERL5LIB": f"{tmp_path}/usr/share/perl5:/my/perl",
    }


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        pytest.param("pool/mmdebstrap.deb", CommandFailedError, id="a package that cannot be unpacked"),
        pytest.param("pool/gone.deb", DownloadError, id="a package that is gone"),
    ],
)
def test_a_failure_leaves_no_half_of_a_tree(
    server: Server, tmp_path: Path, path: str, failure: type[Exception]
) -> None:
    server.files["/debian/pool/mmdebstrap.deb"] = CONTENT
    package = Package(**{**vars(PACKAGE), "path": path})
    tools, mirrors = tmp_path / "tools", {"debian": f"{server.address}/debian"}

    def fill(partial: Path) -> None:
        host_tools.unpack(host_tools.fetch((package,), mirrors, tmp_path / "store"), partial)

    with pytest.raises(failure):
        integrity.provide(tools / "0123", fill)
    assert not tools.exists() or list(tools.iterdir()) == []


def test_two_threads_that_lack_the_same_programs_ask_apt_one_after_the_other(fake_apt: FakeApt, tmp_path: Path) -> None:
    script = fake_apt.folder / "apt-get"
    lock = fake_apt.folder / "lock"
    busy = f"mkdir '{lock}' || exit 100\nsleep 0.1\nrmdir '{lock}'\n"
    script.write_text(
        script.read_text(encoding="utf-8").replace("case $1 in\n", f"{busy}case $1 in\n"), encoding="utf-8"
    )
    fake_apt.sources("http://mirror.invalid/debian")
    fake_apt.would_install()
    apt.host_mirrors()
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(host_tools.missing_packages, tmp_path, ("mmdebstrap",)) for _ in range(2)]
    assert [future.result() for future in futures] == [(), ()]
