"""The private apt: what is read out of apt's answers, what configures it, and where the mirrors come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UnsupportedHostError
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.upstream import apt
from dynamo_containers.upstream.apt import Apt

if TYPE_CHECKING:
    from tests.unit.conftest import FakeApt

MIRRORS = {
    "debian": "http://mirror.example.invalid/debian",
    "debian-security": "http://mirror.example.invalid/debian-security",
}
A = "a" * 64
B = "b" * 64


def test_what_apt_would_fetch_is_read_with_epochs_and_plus_signs() -> None:
    security = "http://mirror.example.invalid/debian-security/pool/updates/main/l/login/login_4.13%2bdfsg1_amd64.deb"
    main = "http://mirror.example.invalid/debian/pool/main/g/gcc-12/libstdc%2b%2b6_12.2.0-14_amd64.deb"
    text = (
        "Reading package lists...\n"
        f"'{security}' login_1%3a4.13+dfsg1_amd64.deb 617984 SHA256:{B}\n"
        f"'{main}' libstdc++6_12.2.0-14_amd64.deb 613000 SHA256:{A}\n"
    )
    assert apt.parse_uris(text, MIRRORS) == (
        Package(
            name="libstdc++6",
            version="12.2.0-14",
            architecture="amd64",
            archive="debian",
            path="pool/main/g/gcc-12/libstdc++6_12.2.0-14_amd64.deb",
            size=613000,
            sha256=A,
        ),
        Package(
            name="login",
            version="1:4.13+dfsg1",
            architecture="amd64",
            archive="debian-security",
            path="pool/updates/main/l/login/login_4.13+dfsg1_amd64.deb",
            size=617984,
            sha256=B,
        ),
    )


def test_nothing_to_fetch_is_no_package() -> None:
    assert apt.parse_uris("0 upgraded, 0 newly installed\n", MIRRORS) == ()


def test_the_address_of_a_package_is_quoted() -> None:
    package = Package(
        name="libstdc++6",
        version="12.2.0-14",
        architecture="amd64",
        archive="debian",
        path="pool/libstdc++6_12.2.0~1.deb",
        size=1,
        sha256=A,
    )
    assert apt.url(package, MIRRORS) == "http://mirror.example.invalid/debian/pool/libstdc%2B%2B6_12.2.0~1.deb"


@pytest.mark.parametrize(
    ("suite", "lines"),
    [
        pytest.param(
            "bookworm",
            [
                "http://mirror.example.invalid/debian bookworm main",
                "http://mirror.example.invalid/debian bookworm-updates main",
                "http://mirror.example.invalid/debian-security bookworm-security main",
            ],
            id="a released suite has updates and security",
        ),
        pytest.param("forky", ["http://mirror.example.invalid/debian forky main"], id="testing has neither"),
    ],
)
def test_the_private_sources_are_those_of_the_suite_signed_by_debian(suite: str, lines: list[str]) -> None:
    private = Apt(folder=Path("/checkout/apt"), suite=suite, architecture="arm64", mirrors=MIRRORS)
    texts = {document.path.name: document.text for document in apt.configuration(private)}
    head = "deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert texts["sources.list"].splitlines() == [f"{head} {line}" for line in lines]


def test_the_private_apt_touches_nothing_of_the_machine_s_own() -> None:
    private = Apt(folder=Path("/checkout/apt"), suite="bookworm", architecture="arm64", mirrors=MIRRORS)
    documents = apt.configuration(private)
    assert [str(document.path) for document in documents] == [
        "/checkout/apt/apt.conf",
        "/checkout/apt/sources.list",
        "/checkout/apt/status",
    ]
    settings = documents[0].text.splitlines()
    assert private.environment == {"APT_CONFIG": "/checkout/apt/apt.conf", "LC_ALL": "C"}
    for line in (
        'Dir "/checkout/apt";',
        'Dir::State "/checkout/apt";',
        'Dir::State::status "/checkout/apt/status";',
        'Dir::Cache "/checkout/apt/cache";',
        'Dir::Etc::sourcelist "/checkout/apt/sources.list";',
        'Dir::Etc::sourceparts "/dev/null";',
        'APT::Architecture "arm64";',
        'Acquire::ForceHash "SHA256";',
        "#clear DPkg::Post-Invoke;",
    ):
        assert line in settings


def test_what_the_machine_has_installed_can_be_left_out() -> None:
    status = Path("/var/lib/dpkg/status")
    private = Apt(folder=Path("/a"), suite="bookworm", architecture="arm64", mirrors=MIRRORS, status=status)
    documents = apt.configuration(private)
    assert [document.path.name for document in documents] == ["apt.conf", "sources.list"]
    assert 'Dir::State::status "/var/lib/dpkg/status";' in documents[0].text


def test_the_mirrors_are_those_of_the_machine_s_apt(fake_apt: FakeApt) -> None:
    fake_apt.sources(
        "http://other.example.invalid/ubuntu/",
        "http://mirror.example.invalid/debian/",
        "http://security.example.invalid/debian-security/",
    )
    assert apt.host_mirrors() == {
        "debian": "http://mirror.example.invalid/debian",
        "debian-security": "http://security.example.invalid/debian-security",
    }


def test_a_machine_without_the_security_archive_gets_it_from_beside_the_other(fake_apt: FakeApt) -> None:
    fake_apt.sources("http://mirror.example.invalid/debian/")
    assert apt.host_mirrors() == MIRRORS


def test_a_machine_without_a_debian_source_is_told_what_to_add(fake_apt: FakeApt) -> None:
    fake_apt.sources("http://mirror.example.invalid/ubuntu/")
    with pytest.raises(UnsupportedHostError, match="configured without a Debian archive") as caught:
        apt.host_mirrors()
    assert "/etc/apt/sources.list.d" in str(caught.value)


@pytest.mark.usefixtures("fake_apt")
@pytest.mark.parametrize("missing", ["apt-get", "keyring"])
def test_a_machine_without_apt_or_its_keyring_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    if missing == "apt-get":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(apt, "KEYRING", tmp_path / "no-keyring.gpg")
    with pytest.raises(UnsupportedHostError, match="Install the packages apt and debian-archive-keyring"):
        apt.host_mirrors()
