"""A wheel with an additional line, or without its large files, is valid and otherwise unchanged."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import pytest

from benchmarks.changed_wheel import LARGE_BYTES, SMALL_FILES, with_digest, with_line, without_large_files

INFO = "thing-1.0.dist-info"
RECORD = f"thing/__init__.py,sha256=old,4\nthing/lib.so,sha256=kept,3\n{INFO}/RECORD,,\n"


def wheel(**files: str) -> bytes:
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_one_module_has_a_line_more_and_the_record_says_so() -> None:
    content = wheel(**{"thing/__init__.py": "x=1\n", "thing/lib.so": "ELF", f"{INFO}/RECORD": RECORD})
    with ZipFile(BytesIO(with_line(content, "round 1"))) as archive:
        assert archive.read("thing/__init__.py") == b"x=1\n\n# round 1\n"
        assert archive.read("thing/lib.so") == b"ELF"
        assert archive.read(f"{INFO}/RECORD").decode().splitlines() == [
            "thing/__init__.py,sha256=yibiYEye8hgS38s_o_EohqFEFBcRGHlBClAFZLe70gM,15",
            "thing/lib.so,sha256=kept,3",
            f"{INFO}/RECORD,,",
        ]


def test_a_file_whose_name_only_begins_so_keeps_its_line() -> None:
    record = "a.py,sha256=x,1\na.pyi,sha256=y,2\n"
    assert with_digest(record, "a.py", b"").endswith("\na.pyi,sha256=y,2\n")


def test_a_wheel_without_a_module_cannot_be_changed_so() -> None:
    with pytest.raises(ValueError, match="no module"):
        with_line(wheel(**{f"{INFO}/RECORD": ""}), "round 1")


def test_a_small_wheel_has_no_large_file_but_those_that_are_asked_for_and_its_record_fits() -> None:
    large = "x" * LARGE_BYTES
    lines = ("thing/__init__.py,sha256=a,4", "thing/large.so,sha256=b,9", '".thing.libs/wanted.so",sha256=c,9')
    record = "\n".join((*lines, f"{INFO}/RECORD,,\n"))
    files = {"thing/__init__.py": "x=1\n", "thing/large.so": large, ".thing.libs/wanted.so": large}
    with ZipFile(
        BytesIO(without_large_files(wheel(**files, **{f"{INFO}/RECORD": record}), ["*/wanted.so"]))
    ) as archive:
        assert archive.namelist() == ["thing/__init__.py", ".thing.libs/wanted.so", f"{INFO}/RECORD"]
        assert archive.read(".thing.libs/wanted.so") == large.encode()
        assert "large.so" not in archive.read(f"{INFO}/RECORD").decode()
        assert len(archive.read(f"{INFO}/RECORD").splitlines()) == 3


def test_a_record_stays_however_long_it_is() -> None:
    record = "".join(f"thing/{number}.py,sha256=a,4\n" for number in range(LARGE_BYTES // 10))
    with ZipFile(BytesIO(without_large_files(wheel(**{f"{INFO}/RECORD": record})))) as archive:
        assert archive.read(f"{INFO}/RECORD").decode() == record


def test_a_small_wheel_has_its_first_files_and_all_that_describes_it() -> None:
    files = {f"thing/{number:03}.py": "" for number in range(SMALL_FILES + 5)}
    described = {f"{INFO}/METADATA": "", f"{INFO}/RECORD": ""}
    with ZipFile(BytesIO(without_large_files(wheel(**files, **described)))) as archive:
        assert archive.namelist() == [*list(files)[:SMALL_FILES], *described]
