"""Tests of a bootstrap: the Release file of its repository, and the command of mmdebstrap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import bootstrap

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue


@pytest.fixture
def lock(catalogue: Catalogue) -> OsLock:
    return OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)


def test_the_release_file_has_the_suite_and_the_digest_of_its_index(lock: OsLock) -> None:
    assert bootstrap.release_file(lock, "Package: bash\n") == (
        "Origin: Debian\n"
        "Label: Debian\n"
        "Suite: bookworm\n"
        "Codename: bookworm\n"
        "Architectures: amd64\n"
        "SHA256:\n"
        " ff90cfaf656f455caa6bdf76f440c0d7044ac9cfbceb99350583e768f779ce7c 14 Packages\n"
    )


@pytest.mark.parametrize(
    ("as_root", "head"), [pytest.param(True, ["unshare", "--mount"], id="root"), pytest.param(False, [], id="a user")]
)
def test_the_command_of_mmdebstrap(lock: OsLock, as_root: bool, head: list[str]) -> None:  # noqa: FBT001 - a row
    foreign = replace(lock, role="builder", platform=Platform.ARM64)
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    command = bootstrap.mmdebstrap_command(foreign, Path("/s"), environment, Path("/hooks"), as_root=as_root)
    assert list(command.argv) == [
        *head,
        "mmdebstrap",
        "--variant=essential",
        "--architectures=arm64",
        "--include=python3,python3-venv",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--skip=check/qemu",
        "--hook-dir=/hooks/merged-usr",
        *(f"--customize-hook={hook}" for hook in bootstrap.CLEAN_UP),
        "bookworm",
        "/s/root.tar",
        "deb [trusted=yes] copy:/s/repository ./",
    ]
    assert command.env == {"SOURCE_DATE_EPOCH": "1700000000"}
    assert command.quiet
