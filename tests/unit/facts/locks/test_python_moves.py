"""What moved in the Python locks, as a table that is Markdown too."""

from __future__ import annotations

from dynamo_containers.facts.locks.python_moves import Move, compact, moves, report
from dynamo_containers.facts.locks.requirements import LockedPackage

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64


def pin(name: str, version: str, *hashes: str) -> LockedPackage:
    return LockedPackage(name=name, version=version, hashes=hashes or (A,))


def test_what_came_went_and_moved_is_found_with_the_change_in_size() -> None:
    before = [pin("gone", "1"), pin("moved", "1"), pin("same", "1")]
    after = [pin("moved", "2"), pin("new", "3"), pin("same", "1")]
    sizes = {"gone==1": 10, "moved==1": 200, "moved==2": 150, "new==3": 7}
    assert moves("constraints/x-debian-amd64.txt", before, after, sizes) == (
        Move(name="gone", old="1", new=None, lock="x-debian-amd64", size=-10),
        Move(name="moved", old="1", new="2", lock="x-debian-amd64", size=-50),
        Move(name="new", old=None, new="3", lock="x-debian-amd64", size=7),
    )


def test_a_size_that_the_index_does_not_state_makes_the_change_unknown() -> None:
    (move,) = moves("x", [pin("a", "1")], [pin("a", "2")], {"a==1": 10, "a==2": None})
    assert move.size is None
    assert "| unknown" in report([move])


def test_other_files_of_the_same_version_are_told() -> None:
    assert "| 1 (other files) |" in report(moves("x", [pin("a", "1", A)], [pin("a", "1", B)], {"a==1": 10}))
    assert moves("x", [pin("a", "1", A, B)], [pin("a", "1", B, A)], {}) == ()


def test_nothing_moved_is_said_so() -> None:
    assert report([]) == "No Python package moved."


def test_locks_that_move_alike_share_a_row_and_others_do_not() -> None:
    alike = [Move(name="idna", old="3.10", new="3.11", lock=lock, size=70000) for lock in ("b", "a")]
    other = Move(name="nats-py", old=None, new="2.12", lock="a", size=-1234567)
    assert report([*alike, other]) == (
        "| package | from | to   | download | locks |\n"
        "| ------- | ---- | ---- | -------- | ----- |\n"
        "| idna    | 3.10 | 3.11 | +0.07 MB | a, b  |\n"
        "| nats-py | -    | 2.12 | -1.23 MB | a     |"
    )


def test_locks_of_several_targets_are_named_in_short() -> None:
    four = [f"vllm-dev-{bases}-{arch}" for bases in ("debian", "cuda") for arch in ("amd64", "arm64")]
    assert compact([*four, "common-debian-arm64", "tools"]) == (
        "common-debian-arm64",
        "tools",
        "vllm-dev-{cuda,debian}-{amd64,arm64}",
    )
    assert compact(four[:3]) == ("vllm-dev-cuda-amd64", "vllm-dev-debian-{amd64,arm64}")
