"""Integrity of stored files: content under a name, and seals of what was made from it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import integrity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"a program"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a sealed folder with a program and a link."""

    def fill(folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin/program").write_bytes(CONTENT)
        (folder / "link").symlink_to("bin/program")

    integrity.provide(tmp_path / "tree", fill)
    return tmp_path / "tree"


def in_place(tree: Path) -> None:
    """Write as many other bytes, and set the time of the old ones."""
    program = tree / "bin/program"
    before = program.stat()
    with program.open("r+b") as file:
        file.write(b"b program")
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_rename(tree: Path) -> None:
    other = tree.with_name("other")
    other.write_bytes(b"b program")
    other.rename(tree / "bin/program")


def relinked(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("/bin/sh")


CHANGES: dict[str, Callable[[Path], object]] = {
    "written in place": in_place,
    "replaced": by_rename,
    "cut short": lambda tree: os.truncate(tree / "bin/program", 0),
    "another mode": lambda tree: (tree / "bin/program").chmod(0o755),
    "one more": lambda tree: (tree / "bin/more").touch(),
    "one less": lambda tree: (tree / "link").unlink(),
    "a link to another": relinked,
    "no seal": lambda tree: integrity.seal_path(tree).unlink(),
    "half a seal": lambda tree: os.truncate(integrity.seal_path(tree), 10),
    "no folder": integrity.discard,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_was_changed_is_made_again(tree: Path, change: str) -> None:
    assert integrity.is_sealed(tree)
    CHANGES[change](tree)
    assert not integrity.is_sealed(tree)
    integrity.provide(tree, lambda folder: (folder / "new").write_bytes(CONTENT))
    assert [path.name for path in tree.iterdir()] == ["new"]
    assert integrity.is_sealed(tree)
    assert sorted(path.name for path in tree.parent.iterdir() if path.name != "other") == ["tree", "tree.seal"]


def test_a_folder_as_it_was_made_is_left_alone(tree: Path) -> None:
    assert (tree / "bin/program").read_bytes() == CONTENT  # to read it changes nothing
    integrity.provide(tree, lambda _: pytest.fail("it was made again"))


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()

    def fail(partial: Path) -> None:
        (partial / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        integrity.provide(folder, fail)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_record_beside_a_folder_is_sealed_with_it(tmp_path: Path) -> None:
    folder, record = tmp_path / "tree", tmp_path / "tree.drift"
    integrity.provide(folder, lambda _: record.write_text("bash 1 2\n", encoding="utf-8"), record)
    assert integrity.is_sealed(folder, record)
    record.write_text("", encoding="utf-8")
    assert not integrity.is_sealed(folder, record)


UNDER_THE_NAME: dict[str, Callable[[Path], object]] = {
    "another file": lambda path: path.write_bytes(b"b program"),
    "an empty file": lambda path: path.touch(),
    "half of the file": lambda path: path.write_bytes(CONTENT[:4]),
    "a folder": lambda path: (path / "folder").mkdir(parents=True),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", UNDER_THE_NAME)
def test_what_is_not_the_file_of_its_name_is_removed(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / SHA256
    UNDER_THE_NAME[kind](path)
    assert not integrity.keep_intact(path, SHA256)
    assert not os.path.lexists(path)
    assert f"Removing {path}: it is not the file with the sha256 {SHA256}" in "".join(capsys.readouterr())


def test_the_file_of_its_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / SHA256
    assert not integrity.keep_intact(path, SHA256)
    path.write_bytes(CONTENT)
    assert integrity.keep_intact(path, SHA256)
    assert path.read_bytes() == CONTENT
