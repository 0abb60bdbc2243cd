from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks import contents
from dynamo_containers.facts.locks.contents import FileContents, ListedComponent

if TYPE_CHECKING:
    from pathlib import Path

FILE = FileContents(
    name="nixl-cu13",
    version="1.3.2",
    file="nixl_cu13-1.3.2-cp311.whl",
    sha256="0" * 64,
    targets=("debian-amd64-2.36",),
    license="Apache-2.0 AND MIT",
    sbom="nixl-cu13-1.3.2-01234567.txt",
)
PARTS = (
    ListedComponent(purl="pkg:cargo/ring@0.17.14", license="Apache-2.0 AND ISC"),
    ListedComponent(purl="pkg:generic/libgomp@1"),
)


def leave(folder: Path, text: str, sbom: str = "") -> None:
    (folder / contents.SBOMS).mkdir(parents=True)
    (folder / contents.CONTENTS_FILE).write_text(text)
    (folder / contents.SBOMS / FILE.sbom).write_text(sbom)


def test_files_and_their_parts_are_read_as_they_were_written(tmp_path: Path) -> None:
    leave(tmp_path, contents.render([FILE]), contents.sbom_text(PARTS))
    read = contents.read(tmp_path)
    assert read is not None
    assert read.of("debian-amd64-2.36", "nixl-cu13", "1.3.2") == FILE
    assert read.of("debian-arm64-2.36", "nixl-cu13", "1.3.2") is None
    assert contents.read_sbom(tmp_path, FILE.sbom) == PARTS


def test_what_was_never_read_is_not_empty(tmp_path: Path) -> None:
    assert contents.read(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"unknown": 1}', "[" * 100_000])
def test_a_damaged_line_is_named_with_the_command_that_mends_it(tmp_path: Path, text: str) -> None:
    leave(tmp_path, contents.render([FILE]) + text + "\n")
    with pytest.raises(LockError, match="line 2") as caught:
        contents.read(tmp_path)
    assert str(caught.value).endswith("Update it with: invoke lock --only contents")


def test_a_damaged_sbom_is_named(tmp_path: Path) -> None:
    leave(tmp_path, contents.render([FILE]), "<html>\n")
    with pytest.raises(LockError, match=f"contents/sboms/{FILE.sbom} has a line that is not a package URL"):
        contents.read_sbom(tmp_path, FILE.sbom)


def test_pins_without_content_are_named(tmp_path: Path) -> None:
    leave(tmp_path, contents.render([FILE]))
    assert contents.faults(tmp_path, {"debian-amd64-2.36": [FILE.pin]}) == ()
    (message,) = contents.faults(tmp_path, {"debian-amd64-2.36": [FILE.pin, "a==1", "b==1", "c==1", "d==1"]})
    assert message.startswith(
        "contents/files.jsonl does not have the content of a==1, b==1, c==1 and 1 more, which locks"
    )
