"""Locks of the comparison after a change of a wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.comparison_project import NATIVE, OF_ONE, REAL, shrink_devel, with_hash
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.locks.python_common import parse
from dynamo_containers.prepare import root_images

if TYPE_CHECKING:
    from pathlib import Path

LOCK = """\
#
# inputs: sha256:00
#
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r requirements/base.in
alpha-runtime==1.0 \\
    --hash=sha256:cc
    # via alpha
"""


def test_a_pin_then_allows_the_one_file_and_its_neighbours_stay() -> None:
    assert (
        with_hash(LOCK, "alpha", "dd")
        == """\
#
# inputs: sha256:00
#
alpha==1.0 \\
    --hash=sha256:dd
    # via -r requirements/base.in
alpha-runtime==1.0 \\
    --hash=sha256:cc
    # via alpha
"""
    )


def test_in_the_quick_form_the_devel_image_is_the_builders(own_checkout: Path) -> None:
    shrink_devel(own_checkout)
    catalogue = load_catalogue(own_checkout)
    bases, pins = catalogue.bases["debian"], catalogue.pins
    locks = [OsLock(bases=bases, role=role, platform=NATIVE) for role in ("builder", "devel")]
    packages = [os_lock.read(lock, own_checkout) for lock in locks]
    assert packages[0] == packages[1]
    images = [
        root_images.cached_root_image(own_checkout, *lock_and_packages, pins.epoch)
        for lock_and_packages in zip(locks, packages, strict=True)
    ]
    assert images[0] is not None
    assert images[0] == images[1]
    assert pins.root("debian", "devel", NATIVE) == images[0].digest


def test_a_lock_without_the_package_stays_as_it_is() -> None:
    assert with_hash(LOCK, "beta", "dd") == LOCK


def test_the_package_that_changes_is_in_the_locks_of_one_backend_alone() -> None:
    folder = ROOT / "constraints"
    locks = [file for file in folder.glob("*.txt") if not file.name.startswith(("os-", "tools"))]
    named = {file.name.split("-")[0] for file in locks if OF_ONE in parse(file.read_text(encoding="utf-8")).entries}
    assert named == {REAL[0]}
