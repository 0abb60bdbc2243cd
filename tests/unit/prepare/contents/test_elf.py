"""ELF files as streams: names of libraries, machines, and texts in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dynamo_containers.prepare.contents import elf
from dynamo_containers.prepare.contents.elf import ElfFile, ElfStream, TextPattern
from tests.unit import elf_files

CODECS = TextPattern(name="codecs", anchor=b"--enable-", pattern=re.compile(rb"--enable-libx26[45]"))


def parse(content: bytes, *patterns: TextPattern, block: int = 1 << 20) -> ElfFile | None:
    stream = ElfStream(patterns)
    for start in range(0, len(content), block):
        stream.feed(content[start : start + block])
    return stream.finish()


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
def test_names_and_texts_are_found_whatever_the_blocks_are(block: int) -> None:
    content = elf_files.elf("libavcodec.so.62", ("libx264.so.165", "libc.so.6"), elf_files.FFMPEG, elf_files.AARCH64)
    assert parse(content, CODECS, block=block) == ElfFile(
        machine=elf_files.AARCH64,
        soname="libavcodec.so.62",
        needed=("libx264.so.165", "libc.so.6"),
        texts=(("codecs", elf_files.FFMPEG),),
    )


def test_a_text_is_found_behind_many_bytes_that_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "HEAD_BYTES", 4096)
    monkeypatch.setattr(elf, "TAIL_BYTES", 4096)
    read = parse(elf_files.elf("libx.so", text=elf_files.FFMPEG, padding=300_000) + bytes(300_000), CODECS, block=1000)
    assert read is not None
    assert (read.soname, read.texts) == ("libx.so", (("codecs", elf_files.FFMPEG),))


def test_a_real_library_says_its_name() -> None:
    """Our own writer of test files is not the only witness."""
    library = next(Path("/lib").glob("*-linux-gnu/libm.so.6"), None)
    if library is None:
        pytest.skip("needs the C library of this machine")
    read = parse(library.read_bytes())
    assert read is not None
    assert (read.soname, "libc.so.6" in read.needed) == ("libm.so.6", True)


def test_two_texts_of_one_file_are_both_found() -> None:
    text = elf_files.FFMPEG + "\0" + "x" * 20000 + "\0--enable-libx265 --enable-gpl\0--enable-libvpx"
    read = parse(elf_files.elf("libx.so", text=text), CODECS, block=999)
    assert read is not None
    assert [line for _, line in read.texts] == [elf_files.FFMPEG, "--enable-libx265 --enable-gpl"]


def test_a_damaged_file_has_a_machine_and_no_names() -> None:
    content = elf_files.elf("libx.so")
    for length in range(64, len(content), 9):
        read = parse(content[:length])
        assert read is not None
        assert read.machine == elf_files.X86_64
    assert parse(b"\x7fELF\x02\x01" + b"\xff" * 300) is not None


def test_what_is_no_elf_file_is_nothing() -> None:
    assert parse(b"#!/bin/sh\n") is None
    assert parse(b"\x7fELF") is None
    assert parse(b"") is None
