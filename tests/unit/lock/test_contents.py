"""Contents of locked files that moved: what is new in them, kept with the file until it is accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.locks.contents import SBOMS, FileContents
from dynamo_containers.lock.contents import Answers

if TYPE_CHECKING:
    from pathlib import Path

OLD = FileContents(
    name="toy", version="1", file="toy-1-py3-none-any.whl", sha256="1" * 64, targets=("debian-amd64-2.36",), unpacked=9
)


def answer(**content: object) -> dict[str, Any]:
    row = {"name": "toy", "version": "2", "file": "toy-2-py3-none-any.whl", "sha256": "2" * 64}
    empty = {"license": "", "license_text": "", "components": [], "unpacked": 9}
    return {**row, "targets": ["debian-amd64-2.36"], "content": {**empty, **content}}


def test_a_file_is_compared_with_the_one_that_its_target_had(tmp_path: Path) -> None:
    (tmp_path / SBOMS).mkdir(parents=True)
    (tmp_path / SBOMS / "toy.txt").write_text("pkg:generic/libgomp@1\n")
    answers = Answers(tmp_path, [replace(OLD, sbom="toy.txt")])
    components = [{"purl": "pkg:generic/libgomp@2", "license": ""}, {"purl": "pkg:generic/libx264@165", "license": ""}]
    answers.add_row(answer(components=components, native=2, startup=["toy.pth"]))
    assert [row.detail for row in answers.changes] == [
        "library libx264",
        "toy.pth runs at each start of Python",
        "native code (its name says that it has none)",
    ]
    (file,) = answers.files.values()
    assert file.suspicious == tuple(row.detail for row in answers.changes if row.suspicious)


def test_a_file_of_which_less_was_read_before_is_read_again_and_did_not_move(tmp_path: Path) -> None:
    answers = Answers(tmp_path, [replace(OLD, unpacked=0)])
    row = answer(startup=["toy.pth"]) | {"version": "1", "file": OLD.file, "sha256": OLD.sha256}
    assert not answers.knows(row)
    answers.add_row(row)
    (file,) = answers.files.values()
    assert (answers.changes, file.suspicious) == ([], ("toy.pth runs at each start of Python",))


def test_a_target_may_have_two_versions_of_a_package_for_two_images(tmp_path: Path) -> None:
    native = replace(OLD, version="1.5", file="toy-1.5-cp311-cp311-linux_x86_64.whl", sha256="5" * 64, native=3)
    answers = Answers(tmp_path, [replace(native, unpacked=0), OLD])
    row = answer(native=3) | {"version": native.version, "file": native.file, "sha256": native.sha256}
    answers.add_row(row)
    assert (answers.changes, answers.files[native.name, native.sha256].suspicious) == ([], ())
