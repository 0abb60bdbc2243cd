"""Reader of every file: what is no text is refused by name, and by who wrote it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import file_reader
from dynamo_containers.errors import FatalError, LockError, UsageError
from dynamo_containers.file_reader import LOCK, PERSON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def unreadable(file: Path) -> None:
    file.symlink_to("/proc/self/mem")  # a regular file whose first byte no user can read, root neither


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def below_a_file(file: Path) -> None:
    file.parent.rmdir()
    file.parent.write_text("", encoding="utf-8")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "latin-1": (lambda file: file.write_bytes(b"a\nb\xff"), "is not UTF-8 text: line 2 has the byte 0xff"),
    "utf-16": (lambda file: file.write_bytes("a".encode("utf-16")), "is UTF-16 text; save it as UTF-8"),
    "utf-16-be": (lambda file: file.write_bytes(b"\xfe\xff\0a"), "is UTF-16 text; save it as UTF-8"),
    "utf-16-without-mark": (lambda file: file.write_bytes("a".encode("utf-16-le")), "line 1 has a NUL"),
    "nul": (lambda file: file.write_bytes(b"a\n\n\0"), "is not UTF-8 text: line 3 has a NUL"),
    "surrogate": (lambda file: file.write_bytes(b"\xed\xa0\x80"), "has the byte 0xed"),
    "folder": (lambda file: file.mkdir(), "is a folder, not a file"),
    "loop": (link_to_itself, "is a loop of links"),
    "pipe": (os.mkfifo, "is not a file"),
    "unreadable": (unreadable, "cannot be read: Input/output error"),
    "endless": (endless, "has more than 67108864 bytes"),
    "below-a-file": (below_a_file, "cannot be read: Not a directory"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "a.in"


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("read", [file_reader.read_text, file_reader.read_text_if_there])
def test_what_is_no_text_is_refused_by_name(name: str, read: Callable[..., str | None], file: Path) -> None:
    break_file, reason = FAULTS[name]
    break_file(file)
    with pytest.raises(UsageError) as error:
        read(file, "requirements/a.in")
    assert str(error.value).startswith("requirements/a.in ")
    assert reason in str(error.value)
    assert str(error.value).endswith("\nEdit requirements/a.in and run again.")


@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_cache_counts_as_absent(name: str, file: Path) -> None:
    FAULTS[name][0](file)
    assert (file_reader.cached_text(file), file_reader.cached_json(file)) == (None, None)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' * 100_000, "9" * 5000, "nonsense"])
def test_a_cache_that_is_no_json_counts_as_absent(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    assert file_reader.cached_json(file) is None


def test_a_file_that_a_tool_wrote_is_written_again(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(LockError, match=r"^a\.txt is not UTF-8 text.*\n.*Update it with: invoke lock$"):
        file_reader.read_text(file, "a.txt", LOCK)


def test_a_file_that_does_not_exist_is_named(file: Path) -> None:
    for read in (file_reader.read_text, file_reader.read_bytes):
        with pytest.raises(UsageError, match="does not exist"):
            read(file)
    assert file_reader.read_text_if_there(file) is None
    assert file_reader.cached_text(file) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"\xef\xbb\xbfa\n", "a\n"),
        (b"\xef\xbb\xbf", ""),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        ("é".encode(), "é"),
    ],
)
def test_text_comes_without_a_mark_and_with_newlines(content: bytes, text: str, file: Path) -> None:
    file.write_bytes(content)
    assert file_reader.read_text(file) == file_reader.read_text_if_there(file) == file_reader.cached_text(file) == text


def test_contents_may_be_any_bytes(file: Path) -> None:
    file.write_bytes(b"\xff\0")
    assert file_reader.read_bytes(file) == b"\xff\0"


def test_no_content_is_read_of_a_folder(file: Path) -> None:
    file.mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        file_reader.read_bytes(file)


def test_the_null_device_is_an_empty_file(file: Path) -> None:
    file.symlink_to("/dev/null")
    assert file_reader.read_text(file) == ""


@pytest.mark.parametrize("parse", [file_reader.parse_json, file_reader.parse_toml])
@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "[" * 100_000, "a = " + "9" * 5000, "9" * 5000, "a = '\0'"])
def test_a_text_of_another_format_is_a_value_error(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_every_fault_is_foreseen() -> None:
    assert issubclass(PERSON.error, FatalError)
    assert (PERSON.error.exit_code, LOCK.error.exit_code) == (2, 4)
