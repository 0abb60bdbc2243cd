"""How a lock of the comparison is led to a changed wheel."""

from __future__ import annotations

from benchmarks.comparison_project import OF_ONE, REAL, with_hash
from dynamo_containers import model
from dynamo_containers.python_lock_shared import parse

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


def test_a_lock_without_the_package_stays_as_it_is() -> None:
    assert with_hash(LOCK, "beta", "dd") == LOCK


def test_the_package_that_changes_is_in_the_locks_of_one_backend_alone() -> None:
    folder = model.ROOT / "constraints"
    locks = [file for file in folder.glob("*.txt") if not file.name.startswith(("os-", "tools"))]
    named = {file.name.split("-")[0] for file in locks if OF_ONE in parse(file.read_text(encoding="utf-8")).entries}
    assert named == {REAL[0]}
