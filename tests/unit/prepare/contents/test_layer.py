"""Layers as streams: what rules deny in them, in archives too, and layers that are not what they say."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.content import ContentRules, DeniedContent
from dynamo_containers.prepare.contents import layer
from dynamo_containers.prepare.contents.layer import LayerError, scan_layer, scan_of
from tests.unit import elf_files
from tests.unit.image_files import COMPRESSORS, Mode, digest, tar

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES = ContentRules(
    denied={"gpl": DeniedContent(reason="GPL", files=("libx264*",), texts=("--enable-gpl", "--enable-libx264"))}
)
CODEC = elf_files.elf("libx264.so.165")


def denied(content: bytes, rules: ContentRules = RULES, machine: int = elf_files.X86_64) -> dict[str, set[str]]:
    """Return path -> the rules that deny it."""
    paths: dict[str, set[str]] = {}
    for row in scan_layer(io.BytesIO(content), scan_of(rules, machine)).denied:
        paths.setdefault(row.path, set()).add(row.rule)
    return paths


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def ar(files: Mapping[str, bytes]) -> bytes:
    members = (
        f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        + content
        + b"\n" * (len(content) % 2)
        for name, content in files.items()
    )
    return b"!<arch>\n" + b"".join(members)


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_a_codec_is_found_by_its_file_its_soname_what_needs_it_and_its_configuration(compressor: str) -> None:
    files: dict[str, bytes | Mode | str] = {
        "opt/av.libs/libx264-0b814221.so.165": elf_files.elf("libx264-0b814221.so.165"),
        "opt/av.libs/renamed.so": CODEC,
        "opt/av.libs/LibX264.SO": elf_files.elf(),
        "opt/av.libs/libavcodec.so": elf_files.elf("libavcodec.so.62", ("libx264.so.165",)),
        "opt/ffmpeg": elf_files.elf(text=elf_files.FFMPEG),
        "opt/ffmpeg.exe": b"MZ" + bytes(600) + elf_files.FFMPEG.encode() + b"\0",
        "opt/clean.so": elf_files.elf("libvpx.so.9", ("libc.so.6",), "--enable-libvpx x264 - core %d libx264"),
        "opt/link/libx264.so": "/mnt/libx264.so.165",
        "opt/libx264.a": ar({}),
        "opt/src/libavcodec/libx264.c": b"int main;",
        "opt/README.md": b"Configure it with --enable-gpl --enable-libx264",
    }
    content = tar(files)
    read = scan_layer(io.BytesIO(COMPRESSORS[compressor](content)), scan_of(RULES, elf_files.X86_64))
    assert {row.path for row in read.denied} == {*list(files)[:6], "opt/link/libx264.so", "opt/libx264.a"}
    assert (read.files, read.binaries, read.unpacked, read.content) == (11, 6, len(content), digest(content))
    evidence = {row.evidence for row in read.denied}
    assert {
        "NEEDED libx264.so.165",
        "SONAME libx264.so.165",
        f"the text '--enable-libx264' in: {elf_files.FFMPEG}",
    } <= evidence


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("av.whl", zipped({"av.libs/libx264.so": CODEC})),
        ("av.tar.gz", gzip.compress(tar({"av.libs/libx264.so": CODEC}))),
        ("av.tar.xz", lzma.compress(tar({"av.libs/libx264.so": CODEC}))),
        ("ffmpeg.gz", gzip.compress(elf_files.elf(text=elf_files.FFMPEG))),
        ("libff.a", ar({"odd.o": b"1", "x264.o": elf_files.elf(text=elf_files.FFMPEG)})),
        ("ffmpeg.deb", ar({"data.tar.xz": lzma.compress(tar({"usr/lib/libx264.so.164": CODEC}))})),
        ("app.pyz", b"#!/usr/bin/python3\n" + zipped({"libx264.so": CODEC})),
        ("outer.jar", zipped({"inner.zip": zipped({"libx264.so": CODEC})})),
    ],
    ids=["wheel", "tar.gz", "tar.xz", "gz", "static library", "deb", "zip application", "zip in jar"],
)
def test_a_codec_in_an_archive_in_a_layer_is_found(name: str, content: bytes) -> None:
    paths = denied(tar({f"opt/{name}": content}))
    assert all(path.startswith(f"opt/{name}!") for path in paths)
    assert {"gpl"} in paths.values()


def test_the_real_rules_know_the_encoders_and_not_the_decoders() -> None:
    rules = load_catalogue(ROOT).content
    encoders = {
        "a": "x264 - core %d%s - H.264/MPEG-4 AVC codec - Copy%s 2003-2025 - http://www.videolan.org/x264.html",
        "b": "x265 (build %d) - %s:%s - H.265/HEVC codec - Copyright 2013-2018 (c) Multicoreware, Inc",
        "c": "--enable-version3 --enable-libx265",
        "d": "--enable-shared --enable-nonfree",
    }
    paths = denied(tar({name: elf_files.elf(text=text) for name, text in encoders.items()}), rules)
    assert {path: sorted(names) for path, names in paths.items()} == {
        **{name: ["gpl-codecs"] for name in "abc"},
        "d": ["nonfree-codecs"],
    }
    decoder = (
        "x264 - core %d\0x264 - core 0000\0libx264 H.264 / AVC\0--prefix=/ffmpeg_build --enable-openssl --enable-libvpx"
    )
    assert denied(tar({"opencv.so": elf_files.elf("libavcodec.so.62", text=decoder)}), rules) == {}


def test_what_runs_unasked_or_on_another_machine_is_denied_in_every_layer() -> None:
    packages = "opt/venv/lib/python3.11/site-packages"
    paths = denied(
        tar(
            {
                f"{packages}/hook.pth": b"import evil",
                f"{packages}/torch/weights.pth": b"weights",
                "usr/lib/python3/dist-packages/x.pth": b"",
                "usr/lib/python3.11/sitecustomize.py": b"",
                "usr/bin/arm": elf_files.elf(machine=elf_files.AARCH64),
                "usr/lib/kernel.cubin": elf_files.elf(machine=190),
                "usr/bin/su": Mode(b"", 0o4755),
                "usr/bin/wall": Mode(b"", 0o2755),
                "usr/bin/link": "su",
            }
        )
    )
    assert paths == {
        f"{packages}/hook.pth": {"startup"},
        "usr/lib/python3/dist-packages/x.pth": {"startup"},
        "usr/lib/python3.11/sitecustomize.py": {"startup"},
        "usr/bin/arm": {"foreign-machine"},
        "usr/bin/su": {"setuid"},
        "usr/bin/wall": {"setuid"},
    }


@pytest.mark.parametrize(
    "content",
    [
        zipped({"a": b"1"})[:-30],
        gzip.compress(os.urandom(9999))[:-9],
        lzma.compress(os.urandom(9999))[:-9],
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"deep")))),
        b"!<arch>\nnot a member of this length, which is as long as a header",
        tar({"a": bytes(9000)})[:4000],
    ],
    ids=["zip", "gzip", "xz", "too deep", "ar", "tar"],  # the bytes are other ones in each process
)
def test_an_archive_that_cannot_be_read_is_a_finding_because_it_was_not_checked(content: bytes) -> None:
    ((path, rules),) = denied(tar({"opt/archive": content})).items()
    assert (path.partition("!")[0], rules) == ("opt/archive", {"unreadable"})


def test_an_archive_bomb_in_a_layer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "MOST_NESTED", 1 << 20)
    assert denied(tar({"opt/bomb.gz": gzip.compress(bytes(4 << 20))})) == {"opt/bomb.gz": {"unreadable"}}


@pytest.mark.parametrize(
    "content",
    [
        b"no tar at all" * 99,
        tar({"a": bytes(9000)})[:4000],
        gzip.compress(tar({"a": bytes(9000)}))[:-9],
        COMPRESSORS["zstd"](tar({"a": os.urandom(9000)}))[:-9],
        b"{}",
    ],
    ids=["text", "tar", "gzip", "zstd", "json"],
)
def test_a_layer_that_cannot_be_read_to_its_end_is_an_error(content: bytes) -> None:
    with pytest.raises(LayerError):
        denied(content)


def test_a_header_that_would_fill_the_memory_is_refused() -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    with pytest.raises(LayerError, match="a header of 4294967296 bytes"):
        denied(header.tobuf(tarfile.GNU_FORMAT) + bytes(9000))


MEMORY = """
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.prepare.contents.layer import scan_layer, scan_of
from tests.unit import elf_files

class Endless:
    "A tar with one library of half a GB, and 10,000 files."
    def __init__(self):
        import tarfile
        library = tarfile.TarInfo("lib.so")
        library.size = 512 << 20
        self.blocks = self.make(library)
        self.rest = b""
    def make(self, library):
        import tarfile
        start = elf_files.elf("lib.so")
        yield library.tobuf() + start
        block, left = bytes(1 << 20), library.size - len(start)
        while left:
            yield block[:left]
            left -= min(left, len(block))
        for _ in range(10):
            yield b"".join(tarfile.TarInfo(f"usr/share/doc/{number:060}").tobuf() for number in range(1000))
        yield bytes(10240)
    def read(self, size):
        while len(self.rest) < size and (block := next(self.blocks, b"")):
            self.rest += block
        block, self.rest = self.rest[:size], self.rest[size:]
        return block

read = scan_layer(Endless(), scan_of(load_catalogue().content, 62))
assert (read.files, read.binaries) == (10_001, 1), read
status = open("/proc/self/status").read()  # ru_maxrss also counts the process that started this one
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_the_memory_does_not_grow_with_the_layer() -> None:
    output = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    assert int(output.stdout) < 150  # MB; two processes read layers at a time
