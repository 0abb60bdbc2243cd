"""Moves of locked packages, and their table."""

from __future__ import annotations

from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import LockedVersion, Move, compact, compare, report
from dynamo_containers.facts.locks.requirements import LockedPackage
from dynamo_containers.lock.python.report import python_moves

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64


def locked(version: str, size: int | None) -> LockedVersion:
    return LockedVersion(version=version, size=size)


BEFORE = {"bash": locked("5.2-2", 1_500_000), "dash": locked("0.5", 90_000), "login": locked("4", 600_000)}
AFTER = {"bash": locked("5.2-3", 1_500_400), "login": locked("4", 600_000), "tzdata": locked("2026a", 300_000)}
RUNTIME, BUILDER = "os-debian-runtime-amd64", "os-debian-builder-amd64"
MOVES = (
    *compare(LockKind.OS, RUNTIME, BEFORE, AFTER),
    *compare(LockKind.OS, BUILDER, BEFORE, {**BEFORE, "bash": locked("5.2-3", 1_500_400)}),
)


def move(name: str, old: str | None, new: str | None, size_change: int | None, lock: str = RUNTIME) -> Move:
    return Move(kind=LockKind.OS, lock=lock, name=name, old=old, new=new, size_change=size_change)


def python_move(name: str, old: str | None, new: str | None, size_change: int | None) -> Move:
    return Move(kind=LockKind.PYTHON, lock="x-debian-amd64", name=name, old=old, new=new, size_change=size_change)


def pin(name: str, version: str, *hashes: str) -> LockedPackage:
    return LockedPackage(name=name, version=version, hashes=hashes or (A,))


def test_a_package_with_another_version_or_only_in_one_state_is_a_move() -> None:
    assert MOVES[:3] == (
        move("bash", "5.2-2", "5.2-3", 400),
        move("dash", "0.5", None, -90_000),
        move("tzdata", None, "2026a", 300_000),
    )
    assert compare(LockKind.OS, RUNTIME, BEFORE, BEFORE) == ()


def test_the_same_move_in_several_locks_is_one_row_of_the_table() -> None:
    assert report(MOVES).splitlines() == [
        "| kind | name   | from  | to    | download | locks                             |",
        "| ---- | ------ | ----- | ----- | -------- | --------------------------------- |",
        "| os   | bash   | 5.2-2 | 5.2-3 | 0        | os-debian-{builder,runtime}-amd64 |",
        "| os   | dash   | 0.5   | -     | -0.09 MB | os-debian-runtime-amd64           |",
        "| os   | tzdata | -     | 2026a | +0.30 MB | os-debian-runtime-amd64           |",
        "",
        "- os-debian-builder-amd64: 0 to download",
        "- os-debian-runtime-amd64: +0.21 MB to download",
    ]


def test_without_moves_the_report_is_one_line() -> None:
    assert report(()) == "Nothing moved."


def test_moves_of_a_python_lock_have_the_change_in_download_size() -> None:
    before = [pin("gone", "1"), pin("moved", "1"), pin("same", "1")]
    after = [pin("moved", "2"), pin("new", "3"), pin("same", "1")]
    sizes = {"gone==1": 10, "moved==1": 200, "moved==2": 150, "new==3": 7}
    assert python_moves("constraints/x-debian-amd64.txt", before, after, sizes) == (
        python_move("gone", "1", None, -10),
        python_move("moved", "1", "2", -50),
        python_move("new", None, "3", 7),
    )


def test_a_size_that_the_index_does_not_state_makes_the_change_unknown() -> None:
    moves = python_moves("x", [pin("a", "1")], [pin("a", "2")], {"a==1": 10, "a==2": None})
    assert [change.size_change for change in moves] == [None]
    assert "| unknown " in report(moves)
    assert report(moves).endswith("\n- x: 0 and 1 of unknown size to download")


def test_other_files_of_the_same_version_are_a_move() -> None:
    moves = python_moves("x", [pin("a", "1", A)], [pin("a", "1", B)], {"a==1": 10})
    assert "| 1 (other files) |" in report(moves)
    assert python_moves("x", [pin("a", "1", A, B)], [pin("a", "1", B, A)], {}) == ()


def test_locks_of_several_targets_are_named_in_short() -> None:
    locks = [f"vllm-dev-{bases}-{arch}" for bases in ("debian", "cuda") for arch in ("amd64", "arm64")]
    assert compact([*locks, "common-debian-arm64", "tools"]) == (
        "common-debian-arm64",
        "tools",
        "vllm-dev-{cuda,debian}-{amd64,arm64}",
    )
    assert compact(locks[:3]) == ("vllm-dev-cuda-amd64", "vllm-dev-debian-{amd64,arm64}")
