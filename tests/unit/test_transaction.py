"""Transaction over files: whatever ends the process, all files are new afterwards, or none is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamo_containers import transaction
from dynamo_containers.errors import LockError, NoSpaceError
from dynamo_containers.facts.catalogue import ROOT

OLD = {"a/one": "old 1", "a/two": "old 2", "b/pins": "old pins"}
TEXTS = {"a/one": "new 1", "a/two": "new 2", "b/pins": "new pins", "b/added": "added"}
ALL_NEW = {**TEXTS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in OLD.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def journal(folder: Path) -> Path:
    return folder / "a/.journal.json"


def contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_text("utf-8") for file in folder.rglob("*") if file.is_file()}


def die_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process die before its rename of this number; nothing is tidied up then."""
    renames = iter(range(1000))
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if next(renames) >= number:
            os._exit(9)
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)


def in_a_process_that_dies(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    child = os.fork()
    if not child:
        die_at(monkeypatch, number)
        transaction.replace_all(folder, journal(folder), TEXTS)
        os._exit(0)
    os.waitpid(child, 0)


def test_all_files_get_their_new_texts_and_nothing_else_stays(folder: Path) -> None:
    transaction.replace_all(folder, journal(folder), TEXTS)
    assert contents(folder) == ALL_NEW
    assert not transaction.is_pending(journal(folder))


@pytest.mark.parametrize("number", range(10), ids=lambda number: f"before rename {number}")
def test_a_process_that_dies_leaves_the_old_files_or_a_transaction_that_is_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Rename 4 is that of the journal, after which the transaction is decided; there is no rename 9."""
    in_a_process_that_dies(folder, monkeypatch, number)
    assert transaction.is_pending(journal(folder)) is (4 < number < 9)
    completed = transaction.complete(folder, journal(folder))
    transaction.remove_leftovers(journal(folder), (folder / "a", folder / "b"))
    assert bool(completed) is (4 < number < 9)
    assert contents(folder) == (OLD if number <= 4 else ALL_NEW)
    assert transaction.complete(folder, journal(folder)) == ()


@pytest.mark.parametrize("number", range(9))
def test_ctrl_c_leaves_all_files_old_or_all_new(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    renames = iter(range(1000))
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if next(renames) == number:
            raise KeyboardInterrupt
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        transaction.replace_all(folder, journal(folder), TEXTS)
    assert contents(folder) == (OLD if number <= 4 else ALL_NEW)


@pytest.mark.parametrize("number", range(5))
def test_a_full_disk_leaves_all_files_old_and_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    syncs = iter(range(1000))

    def fsync(_: int) -> None:
        if next(syncs) == number:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NoSpaceError, match=r"^The disk is full: "):
        transaction.replace_all(folder, journal(folder), TEXTS)
    assert contents(folder) == OLD


def test_a_transaction_whose_files_were_restored_since_is_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_process_that_dies(folder, monkeypatch, 7)
    for path, text in OLD.items():
        (folder / path).write_text(text, encoding="utf-8")
    assert transaction.complete(folder, journal(folder)) == ()
    assert contents(folder) == OLD


def test_a_file_that_was_changed_since_is_not_overwritten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_process_that_dies(folder, monkeypatch, 7)
    (folder / "b/pins").write_text("of a person", encoding="utf-8")
    with pytest.raises(LockError, match=r"wrote a part of its files, and these were changed since: b/pins\."):
        transaction.complete(folder, journal(folder))
    assert (folder / "b/pins").read_text(encoding="utf-8") == "of a person"
    assert transaction.is_pending(journal(folder))


def test_a_process_that_is_killed_at_any_moment_leaves_all_files_of_one_state(tmp_path: Path) -> None:
    """A real SIGKILL: a child replaces the files over and over, and dies at some moment."""
    script = (
        "import sys; from pathlib import Path; from dynamo_containers import transaction\n"
        "folder = Path(sys.argv[1])\n"
        "for number in range(100000):\n"
        "    texts = {f'a/{name}': f'{number}' for name in range(20)}\n"
        "    transaction.replace_all(folder, folder / 'a/.journal.json', texts)\n"
        "    print(number, flush=True)\n"
    )
    for seconds in (0.0, 0.003, 0.007, 0.011, 0.02):
        child = subprocess.Popen(
            (sys.executable, "-c", script, str(tmp_path)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        assert child.stdout
        child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        transaction.complete(tmp_path, journal(tmp_path))
        transaction.remove_leftovers(journal(tmp_path), (tmp_path / "a",))
        assert len(set(contents(tmp_path).values())) == 1, "files of two transactions"
        assert set(contents(tmp_path)) == {f"a/{name}" for name in range(20)}


def test_the_journal_names_the_files_with_their_digests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_process_that_dies(folder, monkeypatch, 5)
    rows = json.loads(journal(folder).read_text(encoding="utf-8"))
    assert set(rows) == set(TEXTS)
    assert rows["b/added"]["old"] == transaction.ABSENT
    assert rows["a/one"]["old"] == transaction.digest(folder / "a/one")
