"""Differences between two layers, from generated tars."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.reproducible.layer_compare import LayerDifference, first_difference, first_offset, members

ENTRY = {"name": "opt/a", "content": b"same", "mode": 0o644, "mtime": 100, "uid": 0, "gid": 0}


def tar(*entries: dict[str, object]) -> io.BytesIO:
    """Return a tar of files; missing attributes of an entry are those of ENTRY."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for entry in entries:
            attributes = {**ENTRY, **entry}
            content = attributes.pop("content")
            assert isinstance(content, bytes)
            header = tarfile.TarInfo()
            for key, value in attributes.items():
                setattr(header, key, value)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    file.seek(0)
    return file


def difference(first: io.BytesIO, second: io.BytesIO) -> LayerDifference | None:
    return first_difference(members(first), members(second))


def test_equal_layers_have_no_difference() -> None:
    assert difference(tar({}, {"name": "opt/b"}), tar({}, {"name": "opt/b"})) is None


@pytest.mark.parametrize(
    ("changed", "description"),
    [
        ({"mode": 0o664}, "mode 0644 and 0664"),
        ({"mtime": 107}, "mtime 100 and 107"),
        ({"uid": 1000, "gid": 5}, "owner 0:0 and 1000:5"),
        ({"type": tarfile.SYMTYPE, "linkname": "b", "content": b""}, "type 0 and 2, link to  and b"),
        ({"pax_headers": {"SCHILY.xattr.user.x": "1"}}, "extra headers  and SCHILY.xattr.user.x=1"),
    ],
)
def test_what_differs_in_a_file_is_named(changed: dict[str, object], description: str) -> None:
    result = difference(tar({"content": b""}), tar({"content": b"", **changed}))
    assert result is not None
    assert (result.name, result.description.partition(", content")[0]) == ("opt/a", description)


def test_other_bytes_are_named_by_size_and_digest() -> None:
    result = difference(tar({}), tar({"content": b"other"}))
    assert result == LayerDifference(
        name="opt/a", description="content of 4 bytes, sha256 0967115f2813 and of 5 bytes, sha256 d9298a10d1b0"
    )


def test_a_file_that_only_one_build_has_comes_before_a_file_that_differs() -> None:
    result = difference(tar({}), tar({"mode": 0o600}, {"name": "opt/b"}))
    assert result == LayerDifference(name="opt/b", description="only in the second build")


def test_the_first_file_in_the_order_of_the_first_build_is_named() -> None:
    result = difference(tar({"name": "z"}, {"name": "a"}), tar({"name": "z", "mode": 0}, {"name": "a", "mode": 0}))
    assert result == LayerDifference(name="z", description="mode 0644 and 0000")


def test_another_order_of_the_same_files_is_a_difference() -> None:
    result = difference(tar({"name": "a"}, {"name": "b"}), tar({"name": "b"}, {"name": "a"}))
    assert result == LayerDifference(name="a", description="order in the tar: place 1 has a and b")


def test_a_file_that_is_there_twice_is_compared_each_time() -> None:
    result = difference(tar({"mode": 0}, {}), tar({}, {}))
    assert result == LayerDifference(
        name="opt/a", description="is there more than once, and differs at place 1 of the tar"
    )


@pytest.mark.parametrize(
    ("first", "second", "offset"),
    [(b"abc", b"abc", None), (b"abc", b"abX", 2), (b"abc", b"abcd", 3), (b"", b"a", 0)],
)
def test_the_first_byte_that_differs_has_an_offset(first: bytes, second: bytes, offset: int | None) -> None:
    assert first_offset(io.BytesIO(first), io.BytesIO(second)) == offset


def test_an_offset_behind_the_first_chunk_is_counted_from_the_start() -> None:
    same = bytes(2**20 + 5)
    assert first_offset(io.BytesIO(same + b"a"), io.BytesIO(same + b"b")) == 2**20 + 5
