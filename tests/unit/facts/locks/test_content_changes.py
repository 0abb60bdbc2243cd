"""What is new in a package that moved, and what of it must be accepted by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo_containers.facts.locks import content_changes
from dynamo_containers.facts.locks.content_changes import changes
from dynamo_containers.facts.locks.contents import FileContents

PURE = FileContents(
    name="toy",
    version="2",
    file="toy-2-py3-none-any.whl",
    sha256="0" * 64,
    targets=("debian-amd64-2.36",),
    unpacked=10**6,
)
NATIVE = replace(PURE, file="toy-2-cp311-cp311-manylinux_2_28_x86_64.whl", native=3)


def suspicious(before: FileContents | None, after: FileContents) -> list[str]:
    return [row.detail for row in changes(before, after, ((), ())) if row.suspicious]


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        (PURE, replace(PURE, startup=("toy.pth",)), "toy.pth runs at each start of Python"),
        (None, replace(PURE, startup=("toy.pth",)), "toy.pth runs at each start of Python"),
        (PURE, replace(PURE, native=1), "native code (its name says that it has none)"),
        (None, replace(PURE, native=1), "native code (its name says that it has none)"),
        (PURE, NATIVE, "native code (the file before had none)"),
        (PURE, replace(PURE, unpacked=9 * 10**6), "1.0 -> 9.0 MB"),
    ],
)
def test_what_is_suspicious_is_named(before: FileContents | None, after: FileContents, detail: str) -> None:
    assert suspicious(before, after) == [detail]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, NATIVE),
        (NATIVE, replace(NATIVE, native=9, unpacked=29 * 10**5)),
        (replace(PURE, startup=("toy.pth",)), replace(PURE, startup=("toy.pth",))),
        (replace(PURE, unpacked=10), replace(PURE, unpacked=900)),
    ],
)
def test_what_was_there_before_is_not_suspicious(before: FileContents | None, after: FileContents) -> None:
    assert suspicious(before, after) == []


def test_new_libraries_and_commands_are_reported_and_need_not_be_accepted() -> None:
    rows = changes(NATIVE, replace(NATIVE, scripts=("toy",)), (("libgomp",), ("libgomp", "libx264")))
    assert [(row.detail, row.suspicious) for row in rows] == [("library libx264", False), ("command toy", False)]
    assert "| toy==2  | library libx264 | -          |" in content_changes.changes_table(rows)
    assert content_changes.changes_table(()) == ""


def test_suspicious_content_must_be_accepted_for_this_version() -> None:
    file = replace(PURE, suspicious=("toy.pth runs at each start of Python",))
    assert content_changes.not_accepted([file], {"toy==1": "looked at"}) == (
        "toy==2: toy.pth runs at each start of Python",
    )
    assert content_changes.not_accepted([file], {"toy==2": "looked at"}) == ()
    assert "[lock.accepted-content] of containers/images.toml" in content_changes.refusal(["toy==2: x"])
    assert content_changes.refusal([]) == ""
