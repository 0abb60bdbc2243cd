"""Verdict on images in files: layouts and archives, exceptions by name, bytes that are not those of the image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError, UsageError
from dynamo_containers.facts.content import ContentException, ContentRules, DeniedContent
from dynamo_containers.inspect import content
from tests.unit import elf_files
from tests.unit.image_files import Layout, Mode, docker_save, tar

if TYPE_CHECKING:
    from pathlib import Path

RULES = ContentRules(
    denied={"gpl": DeniedContent(reason="GPL", files=("libx264*",))},
    exceptions={
        "accounts": ContentException(rule="setuid", paths=("usr/bin/su",), reason="Debian's", evidence="dpkg"),
        "other-rule": ContentException(rule="setuid", paths=("*",), reason="no", evidence="no"),
    },
)
CODEC = tar({"opt/libx264.so.165": elf_files.elf("libx264.so.165")})
DELETED = tar({"opt/.wh.libx264.so.165": b""})
ROOT_IMAGE = tar({"usr/bin/su": Mode(b"", 0o4755)})


@pytest.mark.parametrize("compressor", ["zstd", "gzip", "plain"])
def test_a_later_layer_that_deletes_a_codec_hides_nothing(tmp_path: Path, compressor: str) -> None:
    layout = Layout(tmp_path / "layout")
    manifest = layout.image(ROOT_IMAGE, CODEC, DELETED, compressor=compressor)
    (row,) = content.check(layout.folder, RULES)
    assert (row.image, row.platform, len(row.layers), row.binaries) == (manifest, "linux/amd64", 3, 1)
    finding = next(finding for finding in row.denied if finding.evidence.startswith("SONAME"))
    assert (finding.layer, finding.path, finding.rule, finding.reason) == (1, "opt/libx264.so.165", "gpl", "GPL")
    assert finding.digest == row.layers[1]
    result = content.result((row,))
    assert result.exit_code == 1
    assert "layer 1: /opt/libx264.so.165: gpl: SONAME libx264.so.165 (GPL)" in result.text
    assert json.loads(result.json())[0]["findings"]


def test_an_exception_allows_by_name_and_stays_in_the_result(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image(ROOT_IMAGE)
    (row,) = content.check(layout.folder, RULES)
    assert row.denied == ()
    assert [finding.exception for finding in row.findings] == ["accounts"]
    assert content.result((row,)).exit_code == 0


def test_an_archive_of_docker_save_is_read_like_a_layout(tmp_path: Path) -> None:
    (row,) = content.check(docker_save(tmp_path / "images.tar", ROOT_IMAGE, CODEC, DELETED, CODEC), RULES)
    assert (row.image, {finding.layer for finding in row.denied}) == ("toy:1", {1, 3})


def test_each_platform_of_an_index_is_an_image_of_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    library = tar({"usr/lib/libm.so.6": elf_files.elf("libm.so.6")})
    layout.image(library)
    layout.image(library, arch="arm64")
    layout.nest()
    amd64, arm64 = content.check(layout.folder, RULES)
    assert (amd64.denied, [finding.rule for finding in arm64.denied]) == ((), ["foreign-machine"])


def test_a_layer_with_other_bytes_than_its_image_states_is_an_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image(CODEC, compressor="plain")
    (blob,) = (file for file in layout.folder.glob("blobs/sha256/*") if file.read_bytes() == CODEC)
    blob.write_bytes(ROOT_IMAGE)
    with pytest.raises(DownloadError, match="other bytes than its image states"):
        content.check(layout.folder, RULES)
    blob.write_bytes(CODEC[:600])
    with pytest.raises(DownloadError, match="cannot be read"):
        content.check(layout.folder, RULES)


def test_a_manifest_with_other_bytes_than_its_name_states_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    digest = layout.image(CODEC)
    (layout.folder / "blobs" / digest.replace(":", "/")).write_text('{"config": {}, "layers": []}')
    with pytest.raises(UsageError, match="other bytes than its name states"):
        content.check(layout.folder, RULES)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ('{"manifests": []}', "has no image"),
        ('{"manifests": [{"digest": "sha256:00"}]}', "is incomplete: it has no 'blobs/sha256/00'"),
        ("{}", "is incomplete: it has no 'manifests'"),
        ("[]", "cannot be read"),
        ("[" * 9999, "cannot be read: its brackets"),
        ("no json", "cannot be read"),
    ],
)
def test_a_layout_that_is_not_one_is_refused_by_name(tmp_path: Path, index: str, reason: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(UsageError, match=reason) as error:
        content.check(tmp_path, RULES)
    assert str(tmp_path) in str(error.value)


def test_what_is_neither_a_layout_nor_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no image")
    for path in (tmp_path / "text", tmp_path / "absent"):
        with pytest.raises(UsageError, match="OCI image layout"):
            content.check(path, RULES)


def test_an_image_for_another_system_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image(ROOT_IMAGE, arch="s390x")
    with pytest.raises(UsageError, match="linux/s390x"):
        content.check(layout.folder, RULES)
