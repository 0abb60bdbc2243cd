"""Reader of wheels: what they contain, and wheels that are not what they say."""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.facts.locks.wheel_contents import library_name, library_version
from dynamo_containers.prepare.contents import wheel
from dynamo_containers.prepare.contents.wheel import WheelError, read_record, read_wheel
from tests.unit import elf_files

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.locks.wheel_contents import WheelContent


def content(path: Path, *, complete: bool = True) -> WheelContent:
    with path.open("rb") as file:
        return read_wheel(file, path.name, complete=complete)


FILES = {
    "toy/__init__.py": b"",
    "toy/_native.cpython-311-x86_64-linux-gnu.so": elf_files.elf(needed=("libx264-0b814221.so.165", "libc.so.6")),
    "toy.libs/libx264-0b814221.so.165": elf_files.elf("libx264-0b814221.so.165", ("libm.so.6",)),
    "toy/bin/ffmpeg-v4": elf_files.elf(text="x" * 5000),
    "toy.pth": b"import toy\n",
    "toy/data/names.pth": b"the weights of a model",
    "toy-1.data/scripts/run-toy": b"#!python\n",
    "toy-1.dist-info/entry_points.txt": b"[console_scripts]\nToy = toy:main\n[other]\nx = y\n",
    "toy-1.dist-info/sboms/auditwheel.cdx.json": b"{}",
    "toy-1.dist-info/licenses/LICENSE": b"MIT",
}


@pytest.mark.parametrize("complete", [True, False])
def test_a_wheel_is_known_by_its_native_code_startup_files_commands_sboms_and_licences(
    tmp_path: Path, *, complete: bool
) -> None:
    read = content(elf_files.wheel(tmp_path, FILES), complete=complete)
    assert read.native == (
        "toy.libs/libx264-0b814221.so.165",
        "toy/_native.cpython-311-x86_64-linux-gnu.so",
        "toy/bin/ffmpeg-v4",
    )
    assert read.libraries == ("toy.libs/libx264-0b814221.so.165",)
    assert (read.startup, read.scripts) == (("toy.pth",), ("Toy", "run-toy"))
    assert read.sboms == ("toy-1.dist-info/sboms/auditwheel.cdx.json",)
    assert (read.licenses, read.license) == (("toy-1.dist-info/licenses/LICENSE",), "MIT")
    assert (read.pure, read.files, read.unpacked > 5000) == (True, len(FILES) + 3, True)
    assert read.needed == (("libc.so.6", "libm.so.6") if complete else ())
    assert read.machines == ((elf_files.X86_64,) if complete else ())


def test_the_table_of_contents_of_a_large_wheel_is_few_bytes(tmp_path: Path) -> None:
    noise = os.urandom(20 << 20)
    path = elf_files.wheel(tmp_path, {"toy/libtoy.so": elf_files.elf("libtoy.so") + noise, "toy/model.bin": noise})

    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            block = super().read(size)
            self.count += len(block)
            return block

    file = Counting(path.read_bytes())
    assert read_wheel(file, path.name, complete=False).libraries == ("toy/libtoy.so",)
    assert file.count < 200_000


def test_the_hash_of_every_file_is_known_from_the_record(tmp_path: Path) -> None:
    path = elf_files.wheel(tmp_path, {"toy/__init__.py": b"1"})
    with path.open("rb") as file:
        hashes = {line.path: line.sha256 for line in read_record(file, path.name)}
    assert hashes["toy/__init__.py"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert hashes["toy-1.dist-info/RECORD"] == ""


WRONG_HASH = b"toy/__init__.py,sha256=" + b"A" * 43 + b",1\n"
OTHERS = b"toy-1.dist-info/WHEEL,,\ntoy-1.dist-info/METADATA,,\ntoy-1.dist-info/RECORD,,\n"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (WRONG_HASH + OTHERS, r"RECORD that lies: toy/__init__.py has sha256 6b86b273\S+, not 0000"),
        (OTHERS, "does not list 'toy/__init__.py'"),
        (b"toy/__init__.py,,\ntoy/gone.py,,\n" + OTHERS, "lists 'toy/gone.py', which is not in the wheel"),
        (b"toy/__init__.py\n", "RECORD that cannot be read"),
        (b"\xff\xfe", "RECORD that cannot be read"),
        (b"", "has no toy-1.dist-info/RECORD"),
    ],
)
def test_a_record_that_lies_is_refused_by_name(tmp_path: Path, record: bytes, reason: str) -> None:
    path = elf_files.wheel(tmp_path, {"toy/__init__.py": b"1", "toy-1.dist-info/RECORD": record})
    with pytest.raises(WheelError, match=reason) as error:
        content(path)
    assert (error.value.exit_code, path.name in str(error.value)) == (4, True)


def test_an_archive_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "RATIO_FROM", 1 << 20)
    path = elf_files.wheel(tmp_path, {"toy/zeros": bytes(4 << 20)})
    with pytest.raises(WheelError, match=r"would unpack .* an archive bomb"):
        content(path, complete=False)


def test_files_that_share_their_compressed_bytes_are_a_bomb(tmp_path: Path) -> None:
    path = elf_files.wheel(tmp_path, {"toy/a": b"1" * 99})
    archive = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as opened:
        first = opened.infolist()[0]
    directory = archive.index(b"PK\x01\x02")
    second = archive.index(b"PK\x01\x02", directory + 1)
    archive[second + 42 : second + 46] = first.header_offset.to_bytes(4, "little")
    with pytest.raises(WheelError, match="share bytes"):
        read_wheel(io.BytesIO(archive), path.name, complete=False)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "toy/../../x", "toy\\x"])
def test_a_path_that_leaves_the_wheel_is_refused(tmp_path: Path, name: str) -> None:
    path = elf_files.wheel(tmp_path, {name: b""})
    with pytest.raises(WheelError, match="leaves its folder"):
        content(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = elf_files.wheel(tmp_path, {"toy/a.py": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("toy/a.py", b"2")
    with pytest.raises(WheelError, match=r"has the file 'toy/a[.]py' twice"):
        content(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda archive: archive[:-30], "is not a zip archive"),
        (lambda _: b"<html>not found</html>", "is not a zip archive"),
        (lambda archive: archive.replace(b"PK\x03\x04", b"PK\x00\x00"), "cannot be unpacked"),
    ],
)
def test_a_file_that_is_damaged_is_refused(tmp_path: Path, change: Any, reason: str) -> None:  # noqa: ANN401 - a lambda
    path = elf_files.wheel(tmp_path, {"toy/a.py": b"1"})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(WheelError, match=reason):
        content(path)


def test_the_name_of_a_grafted_library_is_without_hash_and_version() -> None:
    assert library_name("av.libs/libx264-0b814221.so.165") == "libx264"
    assert library_name("numpy.libs/libgfortran-040039e1-0352e75f.so.5.0.0") == "libgfortran"
    assert library_name("torch/lib/libtorch_cuda.so") == "libtorch_cuda"
    assert library_version("numpy.libs/libgfortran-040039e1-0352e75f.so.5.0.0") == "5.0.0"
    assert library_version("torch/lib/libtorch_cuda.so") == ""
