"""Locks from an index on loopback: results of a good index, and messages about a bad one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError, UsageError

if TYPE_CHECKING:
    from tests.lock.conftest import IndexContent, ToolsProject


def test_a_lock_is_made_renewed_and_says_what_moved_with_sizes(index: IndexContent, project: ToolsProject) -> None:
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
    assert (move.old, move.new, move.lock, move.size_change) == ("1.0", "1.1", "tools", difference)


def test_files_that_a_requirement_file_includes_are_locked_with_it(index: IndexContent, project: ToolsProject) -> None:
    for name in ("alpha", "beta"):
        index.add(name, "1.0")
        index.add(name, "2.0")
    folder = project.catalogue.folder
    (folder / "requirements/constraints.in").write_text("-c floors.in\n", encoding="utf-8")
    (folder / "requirements/floors.in").write_text("alpha<2\n", encoding="utf-8")
    (folder / "requirements/more.in").write_text("beta\n", encoding="utf-8")
    project.require("alpha", "-r more.in")
    project.make()
    assert project.pins() == ["alpha==1.0", "beta==2.0"]
    text = project.path.read_text(encoding="utf-8")
    assert "# via -r requirements/more.in" in text
    assert str(folder) not in text
    (folder / "requirements/more.in").write_text("beta<2\n", encoding="utf-8")
    project.make()
    assert project.pins() == ["alpha==1.0", "beta==1.0"]


def test_a_second_index_in_a_requirement_file_is_refused_before_pip_reads_it(
    index: IndexContent, project: ToolsProject
) -> None:
    project.require("alpha", f"--extra-index-url {index.address}")
    with pytest.raises(UsageError, match=r"^requirements/tools\.in:2: "):
        project.make()
    assert index.requests == []


# Cooldown. The tests' day is 2026-11-20, so that 2026-11-12 is old enough and 2026-11-14 is not.


def test_an_upgrade_passes_over_a_release_that_is_younger_than_a_week(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0")
    index.add("alpha", "1.1", uploaded="2026-11-12T00:00:00Z")
    index.add("alpha", "2.0", uploaded="2026-11-14T00:00:00Z")
    project.require("alpha")
    project.make()
    assert project.pins() == ["alpha==1.1"]
    assert project.make(upgrade_all=True) == ()


def test_an_exempt_package_is_taken_at_once_and_a_young_pin_stays_when_the_exemption_ends(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0")
    index.add("alpha", "2.0", uploaded="2026-11-19T00:00:00Z")
    project.require("alpha")
    images = project.catalogue.folder / "containers/images.toml"
    before = images.read_bytes()
    project.exempt("alpha", "a security floor")
    project.make()
    assert project.pins() == ["alpha==2.0"]
    images.write_bytes(before)
    assert project.make(upgrade_all=True) == ()
    assert project.pins() == ["alpha==2.0"]


def test_a_requirement_that_only_a_young_release_meets_says_so(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")
    index.add("alpha", "2.0", uploaded="2026-11-19T00:00:00Z")
    project.require("alpha>=2")
    with pytest.raises(LockError, match=r"an upload before 2026-11-13T00:00:00\+00:00: alpha==2\.0\.(.|\n)*exempt"):
        project.make()


def test_an_index_that_states_no_time_is_no_hindrance_where_nothing_is_chosen(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0")
    project.require("alpha")
    project.make()
    del index.pages["alpha"]
    index.add("alpha", "1.0", uploaded=None)
    index.add("alpha", "2.0", uploaded=None)
    index.add("beta", "1.0")
    project.require("alpha", "beta")
    project.make()
    assert project.pins() == ["alpha==1.0", "beta==1.0"]
    with pytest.raises(LockError, match="does not provide upload-time"):
        project.make("alpha")


def test_an_index_that_states_no_time_is_an_error(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0", uploaded=None)
    project.require("alpha")
    with pytest.raises(LockError, match=f"Index {index.address}alpha/ does not provide upload-time"):
        project.make()
    assert not project.path.exists()
