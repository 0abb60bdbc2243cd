"""Locking from an index on loopback: what a good one gives, and what is said about a bad one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lock.conftest import Index, Project


def test_a_lock_is_made_renewed_and_says_what_moved_with_sizes(index: Index, project: Project) -> None:
    index.add("alpha", "1.0", requires=("beta",))
    index.add("beta", "1.0")
    project.require("alpha")
    assert [(move.name, move.old, move.new) for move in project.make()] == [
        ("alpha", None, "1.0"),
        ("beta", None, "1.0"),
    ]
    assert project.pins() == ["alpha==1.0", "beta==1.0"]
    index.add("beta", "1.1")
    assert project.make() == ()
    (move,) = project.make("beta")
    difference = len(index.files["beta-1.1-py3-none-any.whl"]) - len(index.files["beta-1.0-py3-none-any.whl"])
    assert (move.old, move.new, move.lock, move.size) == ("1.0", "1.1", "tools", difference)
