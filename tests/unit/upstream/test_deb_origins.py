"""Where locked .debs are fetched from: the order of sources, and that none of them can lie or be passed over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.bases import DebSources
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import bootstrap
from dynamo_containers.upstream import deb_origins, download

if TYPE_CHECKING:
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from tests.unit.conftest import FakeApt, Server

CONTENT = b"a package"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "pool/main/libs/libstdc++6_1_amd64.deb"
PACKAGE = Package(
    name="libstdc++6",
    version="1",
    architecture="amd64",
    archive="debian-security",
    path=PATH,
    size=len(CONTENT),
    sha256=SHA256,
)
QUOTED = "pool/main/libs/libstdc%2B%2B6_1_amd64.deb"
THEN = "20231114T221320Z"
SNAPSHOT = "/snapshot/{archive}/{timestamp}/"


@pytest.fixture
def bases(catalogue: Catalogue) -> Bases:
    return catalogue.bases["debian"]


@pytest.fixture
def mirror(server: Server, fake_apt: FakeApt) -> Server:
    """Return the server on loopback, which the machine's apt has for its archives."""
    fake_apt.sources(f"{server.address}/mirror/debian", f"{server.address}/mirror/debian-security")
    return server


def with_sources(bases: Bases, **rows: str) -> Bases:
    return replace(bases, deb_sources=DebSources(**rows))


def put(folder: Path, content: bytes) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(content)


def test_the_order_is_the_pool_the_snapshot_service_and_the_mirror() -> None:
    both = DebSources(
        pool="https://pool.example.invalid/", snapshot="https://old.example.invalid/{archive}/{timestamp}/"
    )
    places = deb_origins.url_templates(both, Path("/checkout"))
    assert [deb_origins.url(place, PACKAGE, THEN) for place in places[:3]] == [
        f"https://pool.example.invalid/debian-security/{QUOTED}",
        f"https://pool.example.invalid/sha256/{SHA256}",
        f"https://old.example.invalid/debian-security/20231114T221320Z/{QUOTED}",
    ]
    assert places[3:] == (deb_origins.MIRROR,)
    assert deb_origins.url_templates(DebSources(), Path("/checkout")) == (deb_origins.MIRROR,)


def test_a_pool_without_a_scheme_is_a_folder_of_the_checkout_or_of_the_machine() -> None:
    relative, absolute = (
        deb_origins.url_templates(DebSources(pool=pool), Path("/checkout"))[0] for pool in ("debs", "/srv/debs")
    )
    assert relative == "file:///checkout/debs/{archive}/{path}"
    assert absolute == "file:///srv/debs/{archive}/{path}"


@pytest.mark.parametrize("place", [f"debian-security/{PATH}", f"sha256/{SHA256}"], ids=["by path", "by sha256"])
@pytest.mark.parametrize("kind", ["folder", "URL"])
def test_what_the_pool_has_needs_no_mirror(
    catalogue: Catalogue, bases: Bases, server: Server, place: str, kind: str
) -> None:
    put(catalogue.folder / "kept" / place, CONTENT)
    server.files[f"/kept/{place.replace('+', '%2B')}"] = CONTENT
    pool = "kept" if kind == "folder" else f"{server.address}/kept"
    assert deb_origins.fetch_all(catalogue.folder, with_sources(bases, pool=pool), (PACKAGE,), "") == ()
    assert deb_origins.store_path(catalogue.folder, PACKAGE).read_bytes() == CONTENT
    assert bool(server.requests) is (kind == "URL")


def test_what_the_pool_lacks_comes_from_the_snapshot_of_the_lock_s_time(
    catalogue: Catalogue, bases: Bases, server: Server
) -> None:
    server.files[f"/snapshot/debian-security/{THEN}/{QUOTED}"] = CONTENT
    (catalogue.folder / "kept").mkdir()
    both = with_sources(bases, pool="kept", snapshot=server.address + SNAPSHOT)
    assert deb_origins.fetch_all(catalogue.folder, both, (PACKAGE,), THEN) == ()
    assert server.requests == [f"/snapshot/debian-security/{THEN}/{QUOTED}"]


def test_what_both_lack_comes_from_the_mirror(catalogue: Catalogue, bases: Bases, mirror: Server) -> None:
    mirror.files[f"/mirror/debian-security/{QUOTED}"] = CONTENT
    (catalogue.folder / "kept").mkdir()
    both = with_sources(bases, pool="kept", snapshot=mirror.address + SNAPSHOT)
    assert deb_origins.fetch_all(catalogue.folder, both, (PACKAGE,), THEN) == ()
    assert [path.split("/")[1] for path in mirror.requests] == ["snapshot", "mirror"]


def test_what_is_in_the_store_needs_no_source(catalogue: Catalogue, bases: Bases) -> None:
    put(deb_origins.store_path(catalogue.folder, PACKAGE), CONTENT)
    nowhere = with_sources(bases, pool="not-mounted")
    assert deb_origins.fetch_all(catalogue.folder, nowhere, (PACKAGE,), "") == ()


@pytest.mark.parametrize("kind", ["folder", "URL", "snapshot"])
def test_a_source_with_other_bytes_is_refused_with_both_values_and_not_passed_over(
    catalogue: Catalogue, bases: Bases, mirror: Server, kind: str
) -> None:
    mirror.files[f"/mirror/debian-security/{QUOTED}"] = CONTENT
    mirror.files[f"/kept/debian-security/{QUOTED}"] = b"other bytes"
    mirror.files[f"/snapshot/debian-security/{THEN}/{QUOTED}"] = b"other bytes"
    put(catalogue.folder / "kept/debian-security" / PATH, b"other bytes")
    rows = {
        "folder": {"pool": "kept"},
        "URL": {"pool": f"{mirror.address}/kept"},
        "snapshot": {"snapshot": mirror.address + SNAPSHOT},
    }
    with pytest.raises(DownloadError) as caught:
        deb_origins.fetch_all(catalogue.folder, with_sources(bases, **rows[kind]), (PACKAGE,), THEN)
    assert not isinstance(caught.value, download.GoneError)
    assert str(caught.value).splitlines()[1:3] == [
        f"  pinned   sha256:{SHA256}",
        f"  received sha256:{hashlib.sha256(b'other bytes').hexdigest()}",
    ]
    assert not deb_origins.store_path(catalogue.folder, PACKAGE).exists()
    assert not [path for path in mirror.requests if path.startswith("/mirror/")]


def test_a_pool_that_is_not_mounted_is_named(catalogue: Catalogue, bases: Bases) -> None:
    with pytest.raises(DownloadError) as caught:
        deb_origins.fetch_all(catalogue.folder, with_sources(bases, pool="not-mounted"), (PACKAGE,), "")
    assert str(caught.value) == (
        "bases.debian.deb-sources.pool is not-mounted, but this folder does not exist.\n"
        "Mount it, or correct containers/images.toml."
    )


def test_a_snapshot_service_cannot_be_asked_for_a_lock_without_a_time(catalogue: Catalogue, bases: Bases) -> None:
    undated = with_sources(bases, snapshot="https://old.example.invalid/{timestamp}")
    with pytest.raises(LockError, match="the lock has no time") as caught:
        deb_origins.fetch_all(catalogue.folder, undated, (PACKAGE,), "")
    assert str(caught.value).endswith("Add it with: invoke lock --only os --only archives")


def test_strict_bases_build_from_the_pool_what_the_mirror_dropped(
    catalogue: Catalogue, bases: Bases, mirror: Server
) -> None:
    strict = replace(with_sources(bases, pool=f"{mirror.address}/kept"), strict=True)
    lock = os_lock.OsLock(bases=strict, role="runtime", platform=Platform.AMD64)
    write_lock(lock, catalogue.folder, (PACKAGE,), THEN)
    with pytest.raises(
        LockError, match=r"^Neither the pool nor the mirror has packages of .*: libstdc\+\+6_1_amd64\.deb\.\n"
    ):
        bootstrap.fetch(catalogue.folder, lock, (PACKAGE,))
    mirror.files[f"/kept/debian-security/{QUOTED}"] = CONTENT
    assert bootstrap.fetch(catalogue.folder, lock, (PACKAGE,)) == (PACKAGE,)


def test_a_stored_package_with_another_content_comes_again_from_its_origin(
    catalogue: Catalogue, bases: Bases, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    put(pool / PACKAGE.archive / PACKAGE.path, CONTENT)
    put(deb_origins.store_path(catalogue.folder, PACKAGE), b"another package")
    assert deb_origins.fetch_all(catalogue.folder, with_sources(bases, pool=str(pool)), (PACKAGE,), "") == ()
    assert deb_origins.store_path(catalogue.folder, PACKAGE).read_bytes() == CONTENT
