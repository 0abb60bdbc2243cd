"""Backends that share packages, and a package with its own index; really locked, on loopback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update

if TYPE_CHECKING:
    from tests.lock.conftest import Backends, IndexContent


def offer(index: IndexContent) -> None:
    """Offer two engines that agree on torch and differ in numba."""
    index.add("torch", "2.10.0")
    index.add("torch", "2.11.0")
    index.add("numba", "0.65.0")
    index.add("numba", "0.65.1")
    index.add("engine-a", "1.0", requires=("torch", "numba==0.65.0", "dynamo"))
    index.add("engine-b", "1.0", requires=("torch==2.11.0", "numba==0.65.1"))


def test_what_the_backends_have_alike_is_locked_once_and_the_rest_beside_it(
    index: IndexContent, backends: Backends
) -> None:
    offer(index)
    backends.require("first", "engine-a")
    backends.require("second", "engine-b")
    backends.make()
    assert backends.pins("common") == ["torch==2.11.0"]
    assert backends.pins("first") == ["engine-a==1.0", "numba==0.65.0"]
    assert backends.pins("second") == ["engine-b==1.0", "numba==0.65.1"]
    assert backends.stale() == []
    assert backends.make().moves == ()


def test_a_requirement_of_one_patch_release_of_python_is_locked_where_the_bases_have_it(
    index: IndexContent, backends: Backends
) -> None:
    index.add("since", "1.0")
    index.add("before", "1.0")
    index.add("engine", "1.0", requires=('since; python_full_version >= "3.11.2"', 'before; python_version < "3.11"'))
    newer_python: dict[str, Any] = {"requires-python": ">=3.11.3"}
    index.add("engine", "2.0", **newer_python)
    backends.replace('python = "3.11"', 'python = "3.11.2"')
    backends.require("first", "engine")
    backends.require("second", "engine")
    backends.make()
    assert backends.pins("common") == ["engine==1.0", "since==1.0"]


def test_a_requirement_of_a_patch_release_that_nobody_states_is_in_the_report(
    index: IndexContent, backends: Backends
) -> None:
    index.add("since", "1.0")
    index.add(
        "engine", "1.0", requires=('since; python_full_version >= "3.11.2"', 'since; python_full_version < "3.10.9"')
    )
    backends.require("first", "engine")
    backends.require("second", "engine")
    start = 'python_full_version >= "3.11.2" may depend on the patch release of Python, which nobody states'
    assert backends.make().warnings == tuple(
        f"constraints/{name}-debian-amd64.txt: {start}" for name in ("first", "second")
    )
    assert backends.pins("common") == ["engine==1.0"]


def test_a_backend_takes_the_version_another_one_has_where_that_fits(index: IndexContent, backends: Backends) -> None:
    index.add("torch", "2.10.0")
    index.add("torch", "2.11.0")
    index.add("engine-a", "1.0", requires=("torch<2.11",))
    index.add("engine-b", "1.0", requires=("torch",))
    backends.require("first", "engine-a")
    backends.require("second", "engine-b")
    backends.make()
    assert backends.pins("common") == ["torch==2.10.0"]


def test_what_should_be_alike_and_is_not_is_reported_with_the_requirement_that_forces_it(
    index: IndexContent, backends: Backends
) -> None:
    index.add("torch", "2.10.0")
    index.add("torch", "2.11.0")
    index.add("engine-a", "1.0", requires=("torch<2.11",))
    index.add("engine-b", "1.0", requires=("torch>=2.11",))
    backends.require("first", "engine-a")
    backends.require("second", "engine-b")
    (row,) = backends.make().unshared
    assert row.name == "torch"
    assert row.versions == (
        ("first-debian-amd64", "2.10.0", "engine-a==1.0 requires torch<2.11"),
        ("second-debian-amd64", "2.11.0", "engine-b==1.0 requires torch>=2.11"),
    )


def test_an_upgrade_moves_a_shared_package_in_every_backend_and_is_reported_once(
    index: IndexContent, backends: Backends
) -> None:
    index.add("torch", "2.10.0")
    backends.require("first", "torch")
    backends.require("second", "torch")
    backends.make()
    index.add("torch", "2.11.0")
    assert backends.make().moves == ()
    (move,) = backends.make("torch").moves
    assert (move.old, move.new, move.lock) == ("2.10.0", "2.11.0", "common-debian-amd64")
    assert backends.pins("common") == ["torch==2.11.0"]
    assert backends.stale() == []


def test_a_requirement_new_to_one_backend_moves_nothing_of_the_other(index: IndexContent, backends: Backends) -> None:
    offer(index)
    backends.require("first", "engine-a")
    backends.require("second", "engine-b")
    backends.make()
    index.add("torch", "2.12.0")
    index.add("extra", "1.0", requires=("torch",))
    backends.require("first", "engine-a", "extra")
    moves = backends.make().moves
    assert [(move.name, move.old, move.new, move.lock) for move in moves] == [
        ("extra", None, "1.0", "first-debian-amd64")
    ]
    assert backends.pins("common") == ["torch==2.11.0"]


def test_the_ci_form_is_constrained_by_what_is_shared_and_leaves_it_out(
    index: IndexContent, backends: Backends
) -> None:
    offer(index)
    index.add("pytest", "9.0", requires=("torch", "iniconfig"))
    index.add("iniconfig", "2.0")
    for name, line in {"first": "engine-a", "second": "engine-b", "ci": "pytest"}.items():
        backends.require(name, line)
    backends.make(also=("first-ci",))
    assert backends.pins("first-ci") == ["iniconfig==2.0", "pytest==9.0"]


def test_sizes_are_those_of_the_targets_own_wheels(index: IndexContent, backends: Backends) -> None:
    for system in ("macosx_11_0_arm64", "manylinux_2_17_aarch64", "manylinux_2_17_x86_64", "win_amd64"):
        index.add("kernels", "1.0", tag=f"cp311-cp311-{system}", requires=("dynamo",) * len(system))
    backends.require("first", "kernels")
    size = len(index.files["kernels-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"])
    assert [(move.name, move.size_change) for move in backends.make().moves if move.name == "kernels"] == [
        ("kernels", size)
    ]


# An index of its own


def test_a_package_with_an_index_of_its_own_is_asked_for_there_and_nowhere_else(
    index: IndexContent, other: IndexContent, backends: Backends
) -> None:
    index.add("tensorrt-llm", "99.0")  # as an attacker would upload it
    index.add("torch", "2.11.0")
    digest = other.add("tensorrt-llm", "1.3.0", requires=("torch",))
    other.add("torch", "99.0")
    backends.own_index("nvidia", other.address, "tensorrt-llm")
    backends.image("trtllm", more='indexes = ["nvidia"]')
    backends.require("trtllm", "tensorrt_llm")
    assert backends.make(also=("trtllm",)).unreachable == ()
    assert backends.pins("trtllm") == ["tensorrt-llm==1.3.0", "torch==2.11.0"]
    assert digest in (backends.folder / "constraints/trtllm-debian-amd64.txt").read_text(encoding="utf-8")
    assert {path for path in index.requests if "tensorrt" in path} == set()
    assert {path for path in other.requests if "torch" in path} == set()


def test_an_index_that_cannot_be_reached_leaves_its_locks_not_locked_and_the_others_are_made(
    index: IndexContent, backends: Backends
) -> None:
    index.add("torch", "2.11.0")
    backends.own_index("nvidia", "http://127.0.0.1:9/simple/", "tensorrt-llm")
    backends.image("trtllm", more='indexes = ["nvidia"]')
    backends.require("trtllm", "tensorrt_llm")
    backends.require("first", "torch")
    outcome = backends.make(also=("trtllm", "trtllm-ci"))
    assert backends.pins("first") + backends.pins("common") == ["torch==2.11.0"]
    assert [(row.name, row.pinned) for row in outcome.unreachable] == [
        ("constraints/trtllm-debian-amd64.txt", "not locked"),
        ("constraints/trtllm-ci-debian-amd64.txt", "not locked"),
    ]
    assert outcome.unreachable[0].reason == "http://127.0.0.1:9/simple/ cannot be reached from here"
    assert not (backends.folder / "constraints/trtllm-debian-amd64.txt").exists()
    selected = selection.select(["python"], images=["trtllm"])
    result = lock_check.check(load_catalogue(backends.folder), selected)
    assert result.exit_code == 10
    pattern = r"constraints/trtllm-debian-amd64\.txt +http://127\.0\.0\.1:9/simple/$"
    assert re.search(pattern, result.text, re.MULTILINE)


def test_a_lock_whose_own_index_cannot_be_reached_any_more_stays_as_it_was(
    index: IndexContent, other: IndexContent, backends: Backends
) -> None:
    index.add("torch", "2.11.0")
    other.add("tensorrt-llm", "1.3.0", requires=("torch",))
    backends.own_index("nvidia", other.address, "tensorrt-llm")
    backends.image("trtllm", more='indexes = ["nvidia"]')
    backends.require("trtllm", "tensorrt_llm")
    backends.make(also=("trtllm",))
    other.instead["tensorrt-llm"] = lambda to: to.send_error(503)
    outcome = backends.make("tensorrt-llm", also=("trtllm",))
    assert [(row.name, row.pinned) for row in outcome.unreachable] == [
        ("constraints/trtllm-debian-amd64.txt", "as it was")
    ]
    assert backends.pins("trtllm") == ["tensorrt-llm==1.3.0", "torch==2.11.0"]


def test_a_command_writes_all_locks_or_where_one_fails_none(index: IndexContent, backends: Backends) -> None:
    constraints, selected = backends.folder / "constraints", selection.select(["python"], images=["first", "second"])
    index.add("torch", "2.11.0")
    backends.require("first", "torch")
    backends.require("second", "torch")
    result = lock_update.update(load_catalogue(backends.folder), selected)
    assert isinstance(result.data, lock_update.LockUpdate)
    files = {f"constraints/{file.name}" for file in constraints.iterdir()}
    assert set(result.data.files) == {*files, "containers/pins.toml"}
    assert backends.pins("common") == ["torch==2.11.0"]
    assert backends.stale() == []
    text = (constraints / "common-debian-amd64.txt").read_text(encoding="utf-8")
    assert "staged" not in text
    before = {file.name: file.read_bytes() for file in constraints.iterdir()}
    index.add("dynamo", "2.0")
    backends.require("base", "dynamo==2.0")  # its lock is made first
    backends.require("second", "no-such-package")
    with pytest.raises(LockError, match=r"\nNothing was written: this command changed no lock and no pin\.$"):
        lock_update.update(load_catalogue(backends.folder), selected)
    assert {file.name: file.read_bytes() for file in constraints.iterdir()} == before
