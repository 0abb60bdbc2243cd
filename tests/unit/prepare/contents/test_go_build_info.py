from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.prepare.contents import go_build_info

if TYPE_CHECKING:
    from pathlib import Path

MODULES = (
    "path\tgithub.com/nats-io/nats-server/v2\n"
    "mod\tgithub.com/nats-io/nats-server/v2\tv2.12.15\t\n"
    "dep\tgithub.com/Masterminds/semver\tv1.5.0\th1:x=\n"
    "dep\tgolang.org/x/old\tv0.1.0\n"
    "=>\tgolang.org/x/new\tv0.2.0\th1:x=\n"
    "build\t-compiler=gc\n"
)


def text(value: bytes) -> bytes:
    length, head = len(value), b""
    while length >= 0x80:
        head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
    return head + bytes([length]) + value


def binary(version: bytes, modules: bytes) -> bytes:
    header = go_build_info.MAGIC + bytes([8, 2]) + bytes(16)
    return b"\x7fELF" + bytes(12 + 16 * 7) + header + text(version) + text(b"0" * 16 + modules + b"1" * 16)


def test_modules_of_a_binary_are_listed_and_a_replaced_one_by_what_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "nats-server"
    file.write_bytes(binary(b"go1.26.1", MODULES.encode()))
    assert [row.purl for row in go_build_info.go_modules(file)] == [
        "pkg:golang/github.com/masterminds/semver@v1.5.0",
        "pkg:golang/github.com/nats-io/nats-server/v2@v2.12.15",
        "pkg:golang/golang.org/x/new@v0.2.0",
        "pkg:golang/stdlib@1.26.1",
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF" + bytes(200), binary(b"go1.26.1", MODULES.encode())[:150], bytes(16) + go_build_info.MAGIC],
    ids=["empty", "no build information", "cut in the header", "nothing after the mark"],
)
def test_a_binary_without_build_information_has_no_modules(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "nats-server"
    file.write_bytes(content)
    assert go_build_info.go_modules(file) == ()
