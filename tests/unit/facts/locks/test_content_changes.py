"""What is new in a package that moved, and what of it must be accepted by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo_containers.facts.locks import content_changes
from dynamo_containers.facts.locks.content_changes import ChangeKind, ContentChange, changes
from dynamo_containers.facts.locks.wheel_contents import WheelContent

PURE = WheelContent(filename="toy-1-py3-none-any.whl", unpacked=1_000_000, files=9, pure=True)
NATIVE = replace(
    PURE, pure=False, native=("toy.libs/libx264-0b814221.so.165",), libraries=("toy.libs/libx264-0b814221.so.165",)
)


def new(before: WheelContent | None, after: WheelContent, **accepted: str) -> tuple[ContentChange, ...]:
    return changes(("toy", "2"), before, after, {f"{name}==2": reason for name, reason in accepted.items()})


@pytest.mark.parametrize(
    ("after", "kind", "detail"),
    [
        (replace(PURE, startup=("toy.pth",)), ChangeKind.STARTUP, "toy.pth"),
        (replace(PURE, native=("toy/run",)), ChangeKind.NATIVE, "toy/run (1 in all; its WHEEL says that it has none)"),
        (
            replace(PURE, pure=False, native=("toy/run",)),
            ChangeKind.NATIVE,
            "toy/run (1 in all; the version before had none)",
        ),
        (replace(PURE, unpacked=9_000_000), ChangeKind.SIZE, "1.0 -> 9.0 MB"),
    ],
)
def test_what_is_suspicious_must_be_accepted_by_name(after: WheelContent, kind: ChangeKind, detail: str) -> None:
    (change,) = new(PURE, after)
    assert (change.kind, change.detail, change.suspicious) == (kind, detail, True)
    assert content_changes.refused([change]) == (change,)
    assert content_changes.refused(new(PURE, after, toy="looked at")) == ()
    assert content_changes.refused(new(PURE, after, other="looked at")) == (change,)


def test_libraries_and_commands_are_reported_and_not_refused() -> None:
    rows = new(replace(NATIVE, libraries=(), scripts=("a",)), replace(NATIVE, scripts=("a", "b")))
    assert [(row.kind, row.detail) for row in rows] == [(ChangeKind.LIBRARY, "libx264"), (ChangeKind.SCRIPT, "b")]
    assert content_changes.refused(rows) == ()


def test_what_was_there_before_is_not_new() -> None:
    moved = replace(
        NATIVE, libraries=("toy.libs/libx264-ffffffff.so.166",), native=("toy.libs/libx264-ffffffff.so.166",)
    )
    assert new(NATIVE, moved) == ()
    assert new(replace(PURE, native=("toy/run",)), replace(PURE, native=("toy/run",), unpacked=2_900_000)) == ()
    assert new(replace(PURE, unpacked=10), replace(PURE, unpacked=900)) == ()


def test_a_new_package_that_lies_about_its_native_code_is_suspicious() -> None:
    """As imageio-ffmpeg 0.5.1: its WHEEL says pure, and it has a program of 74 MB."""
    assert [row.kind for row in content_changes.refused(new(None, replace(PURE, native=("toy/ffmpeg",))))] == [
        ChangeKind.NATIVE
    ]
    assert content_changes.refused(new(None, NATIVE)) == ()


def test_the_table_is_markdown_and_empty_where_nothing_is_new() -> None:
    assert content_changes.changes_table([]) == ""
    text = content_changes.changes_table(new(PURE, replace(PURE, startup=("toy.pth",))))
    assert "| toy==2  | file that runs at each start | toy.pth | ACCEPT   |" in text
