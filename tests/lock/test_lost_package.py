"""A locked version that never existed, with the real mirror: a root image is bootstrapped without it.

Needs a Debian host and its mirror; takes about a minute. What it makes stands in a folder of its own.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import oci_layout, root_images

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NEVER = "9999:0-never"


@pytest.fixture
def lock(tmp_path: Path) -> os_lock.OsLock:
    """Return the lock of the runtime's root image in a copied checkout, with a version of tzdata that never existed."""
    for name in ("containers", "constraints"):
        copytree(ROOT / name, tmp_path / name)
    bases = load_catalogue(tmp_path).bases["debian"]
    lock = os_lock.OsLock(bases=bases, role="runtime", platform=native_platform())
    packages = {package.name: package for package in os_lock.read(lock, tmp_path)}
    tzdata = packages["tzdata"]
    path = tzdata.path.replace("tzdata_", "tzdata_never-")
    packages["tzdata"] = replace(tzdata, version=NEVER, path=path, sha256="0" * 64)
    write_lock(lock, tmp_path, tuple(packages.values()))
    return lock


def versions(folder: Path, image: oci_layout.RootImage) -> dict[str, str]:
    """Return the installed packages of a root image according to dpkg."""
    store = oci_layout.layout(folder)
    manifest = json.loads(oci_layout.blob_path(store, image.digest).read_text(encoding="utf-8"))
    with tarfile.open(oci_layout.blob_path(store, manifest["layers"][0]["digest"])) as tree:
        name = next(member for member in tree.getnames() if member.endswith("var/lib/dpkg/status"))
        status = tree.extractfile(name)
        assert status
        stanzas = status.read().decode().strip().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line) for stanza in stanzas]
    return {stanza["Package"]: stanza["Version"] for stanza in fields}


def test_a_version_that_never_existed_is_replaced_by_the_current_one_and_recorded(
    lock: os_lock.OsLock, tmp_path: Path
) -> None:
    epoch = 1700000000
    image = root_images.ensure(tmp_path, lock, os_lock.read(lock, tmp_path), epoch)
    (row,) = [row for row in image.drift if row.name == "tzdata"]
    assert row.locked == NEVER
    assert row.used[0].isdigit()
    installed = versions(tmp_path, image)
    assert installed["tzdata"] == row.used
    assert {name: installed.get(name, "") for name in [drift.name for drift in image.drift]} == {
        drift.name: drift.used for drift in image.drift
    }
    assert root_images.cached_root_image(tmp_path, lock, os_lock.read(lock, tmp_path), epoch) == image
