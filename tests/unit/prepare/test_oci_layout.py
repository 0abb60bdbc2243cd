"""Tests of the OCI image layout: its documents, and an index beside others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import oci_layout
from dynamo_containers.prepare.oci_layout import RootImage

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1700000000
AMD = f"sha256:{'a' * 64}"
ARM = f"sha256:{'c' * 64}"


def test_the_date_in_the_configuration_of_an_image_is_the_epoch() -> None:
    assert oci_layout.image_config(AMD, Platform.ARM64, EPOCH) == {
        "architecture": "arm64",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": "2023-11-14T22:13:20Z",
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "mmdebstrap --variant=essential"}],
        "os": "linux",
        "rootfs": {"diff_ids": [AMD], "type": "layers"},
    }


def test_the_manifest_has_one_layer() -> None:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": ARM, "size": 20}
    assert oci_layout.image_manifest({"digest": AMD, "size": 10}, layer) == {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": AMD, "size": 10},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": ARM, "size": 20}],
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
    }


def test_the_index_does_not_depend_on_the_order_of_the_platforms() -> None:
    images = {Platform.ARM64: RootImage(digest=ARM, size=8), Platform.AMD64: RootImage(digest=AMD, size=7)}
    manifest = "application/vnd.oci.image.manifest.v1+json"
    assert oci_layout.image_index(images) == {
        "manifests": [
            {"digest": AMD, "mediaType": manifest, "platform": {"architecture": "amd64", "os": "linux"}, "size": 7},
            {"digest": ARM, "mediaType": manifest, "platform": {"architecture": "arm64", "os": "linux"}, "size": 8},
        ],
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "schemaVersion": 2,
    }


def test_an_index_is_added_once_to_a_layout_with_others(tmp_path: Path) -> None:
    both = {Platform.AMD64: RootImage(digest=AMD, size=7), Platform.ARM64: RootImage(digest=ARM, size=8)}
    first = oci_layout.write_index(tmp_path, {Platform.AMD64: RootImage(digest=AMD, size=7)})
    second = oci_layout.write_index(tmp_path, both)
    assert oci_layout.write_index(tmp_path, both) == second != first
    store = tmp_path / ".build/roots"
    assert json.loads((store / "oci-layout").read_text(encoding="utf-8")) == {"imageLayoutVersion": "1.0.0"}
    listed = json.loads((store / "index.json").read_text(encoding="utf-8"))["manifests"]
    assert [row["digest"] for row in listed] == [first, second]
    blob = store / "blobs/sha256" / second.removeprefix("sha256:")
    assert listed[1]["size"] == blob.stat().st_size
    assert json.loads(blob.read_text(encoding="utf-8")) == oci_layout.image_index(both)
