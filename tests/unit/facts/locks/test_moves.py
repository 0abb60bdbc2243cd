"""The report of what moved: its rows, and how it looks in a terminal and in a pull request."""

from __future__ import annotations

from dynamo_containers.facts.locks import moves as lock_moves
from dynamo_containers.facts.locks.moves import Move

BEFORE = {"bash": ("5.2-2", 1_500_000), "dash": ("0.5", 90_000), "login": ("4", 600_000)}
AFTER = {"bash": ("5.2-3", 1_500_400), "login": ("4", 600_000), "tzdata": ("2026a", 300_000)}
MOVED = (
    *lock_moves.moves("os", "debian-runtime-amd64", BEFORE, AFTER),
    *lock_moves.moves("os", "debian-builder-amd64", BEFORE, {**BEFORE, "bash": ("5.2-3", 1_500_400)}),
)


def test_a_move_is_what_has_another_version_came_or_went() -> None:
    assert MOVED[:3] == (
        Move(kind="os", layer="debian-runtime-amd64", name="bash", old="5.2-2", new="5.2-3", size_change=400),
        Move(kind="os", layer="debian-runtime-amd64", name="dash", old="0.5", new="", size_change=-90_000),
        Move(kind="os", layer="debian-runtime-amd64", name="tzdata", old="", new="2026a", size_change=300_000),
    )


def test_what_moved_alike_in_several_layers_is_one_row_of_the_table() -> None:
    assert lock_moves.text(MOVED).splitlines() == [
        "kind  name    from    to      download  in",
        "os    bash    5.2-2   5.2-3   0         debian-builder-amd64, debian-runtime-amd64",
        "os    dash    0.5     (none)  -0.09 MB  debian-runtime-amd64",
        "os    tzdata  (none)  2026a   +0.30 MB  debian-runtime-amd64",
        "",
        "debian-builder-amd64: 0 to download",
        "debian-runtime-amd64: +0.21 MB to download",
    ]


def test_the_markdown_says_the_same() -> None:
    assert lock_moves.markdown(MOVED).splitlines() == [
        "| kind | name | from | to | download | in |",
        "| --- | --- | --- | --- | --- | --- |",
        "| os | bash | 5.2-2 | 5.2-3 | 0 | debian-builder-amd64, debian-runtime-amd64 |",
        "| os | dash | 0.5 | (none) | -0.09 MB | debian-runtime-amd64 |",
        "| os | tzdata | (none) | 2026a | +0.30 MB | debian-runtime-amd64 |",
        "",
        "- debian-builder-amd64: 0 to download",
        "- debian-runtime-amd64: +0.21 MB to download",
    ]


def test_nothing_moved_is_said_so() -> None:
    assert lock_moves.text(()) == "Nothing moved."
    assert lock_moves.markdown(()) == "Nothing moved.\n"
    assert lock_moves.moves("os", "debian-runtime-amd64", BEFORE, BEFORE) == ()
