"""Staged locks: one command at a time works on a copy, and an interrupted one is seen, refused and completed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import progress, state, transaction
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.facts.locks import interrupted
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import staging
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.selection import select
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = (
    "An interrupted `invoke lock` replaced only a part of its files.\nComplete it with: invoke lock --only python"
)
FILES = ("constraints/tools.txt", "constraints/os-debian-dev-amd64.txt")


def contents(checkout: Path) -> list[bytes]:
    return [(checkout / path).read_bytes() for path in FILES]


def die_after_the_first_file(checkout: Path) -> None:
    """Let a process die between two files that a command writes; they get a comment at their end."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    real, renames = Path.replace, iter(range(100))

    def replace(source: Path, target: Path) -> Path:
        if next(renames) == len(FILES) + 2:  # the new texts, the journal, and the first file
            os._exit(9)
        return real(source, target)

    Path.replace = replace  # type: ignore[assignment,method-assign]
    with staging.staged_locks(checkout) as staged:
        for path in FILES:
            with (staged.folder / path).open("a", encoding="utf-8") as file:
                file.write("# new\n")
        staged.commit()
    os._exit(0)


def test_a_half_written_state_is_refused_and_the_next_lock_completes_it(own_checkout: Path) -> None:
    before = contents(own_checkout)
    die_after_the_first_file(own_checkout)
    assert [old == new for old, new in zip(before, contents(own_checkout), strict=True)].count(True) == 1
    catalogue = load_catalogue(own_checkout)
    result = lock_check.check(catalogue, select(["images"]))
    assert (result.text, result.exit_code) == (f"1 lock is not current:\n{INTERRUPTED}", 4)
    with pytest.raises(LockError, match=r"^An interrupted `invoke lock` replaced only a part"):
        inputs.offline_build_inputs(request_for(catalogue, Stage.BASE, ImageSelection(platforms=["linux/amd64"])))
    assert lock_update.update(catalogue, select(["python"], images=["frontend"])).exit_code == 0
    assert contents(own_checkout) == [text + b"# new\n" for text in before]
    assert interrupted.reason(own_checkout) == ""
    assert not [file for file in (own_checkout / "constraints").iterdir() if file.name.startswith(".")]


def interrupt_a_command(checkout: Path) -> Path:
    """Interrupt a command that has changed a lock; return the folder of its copy."""
    folders = []
    with suppress(KeyboardInterrupt), staging.staged_locks(checkout) as staged:
        folders.append(staged.folder)
        (staged.folder / FILES[1]).write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    return folders[0]


def test_a_block_that_raises_writes_nothing_and_its_copy_goes_with_the_next_command(own_checkout: Path) -> None:
    before = contents(own_checkout)
    folder = interrupt_a_command(own_checkout)
    assert contents(own_checkout) == before
    assert folder.is_dir()
    with staging.staged_locks(own_checkout) as again:
        assert not folder.exists()
        assert (again.folder / FILES[1]).read_bytes() == before[1]
        assert again.commit() == ()
    assert list((own_checkout / state.LOCKING).iterdir()) == []


def test_new_texts_that_were_never_decided_on_are_removed(own_checkout: Path) -> None:
    left = own_checkout / "constraints/.tools.txt.new"
    left.write_text("half", encoding="utf-8")
    with staging.staged_locks(own_checkout) as staged:
        assert staged.commit() == ()
    assert not left.exists()


def test_a_second_command_waits_for_the_first(own_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []

    def waiting(line: str) -> None:
        waits.append(line)
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "say", waiting)
    with (
        staging.staged_locks(own_checkout),
        pytest.raises(KeyboardInterrupt),
        staging.staged_locks(own_checkout),
    ):
        pass
    assert waits == ["Waiting for another `invoke lock` of this checkout"]


@pytest.mark.parametrize("read", [interrupted.reason, transaction.is_pending])
def test_a_checkout_without_locks_is_not_interrupted(tmp_path: Path, read: Callable[[Path], object]) -> None:
    assert not read(tmp_path)
