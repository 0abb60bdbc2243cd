"""Conflicts of OS locks with the Python that images.toml states."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection, update
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = Package(
    name="python3.11",
    version="3.11.2-6+deb12u9",
    architecture="amd64",
    archive="debian-security",
    path="pool/updates/main/p/python3.11/python3.11_3.11.2-6+deb12u9_amd64.deb",
    size=575032,
    sha256="4" * 64,
)


@pytest.fixture
def runtime() -> OsLock:
    debian = replace(load_catalogue().bases["debian"], python="3.11", python_release="3.11.2")
    return OsLock(bases=debian, role="runtime", platform=Platform.AMD64)


def test_every_root_image_of_this_project_has_the_python_that_images_toml_states() -> None:
    locks = [lock for lock in selection.os_locks(load_catalogue()) if not lock.package_set]
    existing = [lock for lock in locks if not os_lock.never_locked(lock, ROOT)]
    names = {package.name for lock in existing for package in os_lock.read(lock, ROOT)}
    assert "python3.11" in names  # the lock of a root image does say which Python it has
    os_conflicts.check_pythons(existing, ROOT)


@pytest.mark.parametrize("version", ["3.11.9-1", "1:3.11.9-1"])
def test_another_patch_release_in_an_os_lock_is_named_with_what_to_write(runtime: OsLock, version: str) -> None:
    os_conflicts.check_python(runtime, [PYTHON])
    with pytest.raises(LockError) as caught:
        os_conflicts.check_python(runtime, [replace(PYTHON, version=version)])
    assert str(caught.value) == (
        "constraints/os-debian-runtime-amd64.txt has Python 3.11.9, but containers/images.toml states 3.11.2 for "
        'bases.debian.\nWrite python = "3.11.9" there, then run: invoke lock'
    )


def test_bases_that_state_no_patch_release_are_not_compared(runtime: OsLock) -> None:
    unstated = replace(runtime, bases=replace(runtime.bases, python_release=""))
    os_conflicts.check_python(unstated, [replace(PYTHON, version="3.11.9-1")])


def test_the_check_and_an_update_refuse_bases_whose_python_is_another(own_checkout: Path) -> None:
    images = own_checkout / IMAGES_FILE
    text = images.read_text(encoding="utf-8")
    images.write_text(text.replace('python = "3.11.2"', 'python = "3.11.1"'), encoding="utf-8")
    catalogue = load_catalogue(own_checkout)
    selected = selection.select(["os"], bases=["debian"])
    result = lock_check.check(catalogue, selected)
    assert result.exit_code == 4
    assert "constraints/os-debian-builder-arm64.txt has Python 3.11.2, but containers/images.toml states" in result.text
    with pytest.raises(LockError, match=r"has Python 3\.11\.2, but"):
        update.update(catalogue, selection.select(["python"], bases=["debian"]))
