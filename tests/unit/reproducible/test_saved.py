"""The difference between two saved images is named."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.reproducible.saved import difference

if TYPE_CHECKING:
    from pathlib import Path


def tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


def saved(place: Path, layers: list[dict[str, bytes]], user: str = "dynamo") -> Path:
    """Write an image as `docker save` does: an OCI image layout."""
    blobs: dict[str, bytes] = {}

    def descriptor(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content)}

    history = [
        {"created_by": "ENV A=1", "empty_layer": True},
        *({"created_by": f"RUN step {n}"} for n, _ in enumerate(layers)),
    ]
    config = descriptor(json.dumps({"config": {"User": user}, "history": history}).encode())
    described = [descriptor(tar(files)) for files in layers]
    manifest = descriptor(json.dumps({"config": config, "layers": described}).encode())
    place.write_bytes(tar({"index.json": json.dumps({"manifests": [manifest]}).encode(), **blobs}))
    return place


LOWER, UPPER = {"etc/os": b"debian"}, {"opt/a.py": b"print(1)", "opt/b.py": b"print(2)"}


def test_the_same_image_has_no_difference(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name, [LOWER, UPPER]) for name in ("one", "two"))
    assert difference(first, second) == ""


@pytest.mark.parametrize(
    ("layers", "user", "beginning"),
    [
        ([LOWER, {**UPPER, "opt/b.py": b"print(3)"}], "dynamo", "layer 1 (RUN step 1): opt/b.py: content of 8 bytes"),
        ([LOWER, {**UPPER, "opt/c.py": b""}], "dynamo", "layer 1 (RUN step 1): opt/c.py: only in the second build"),
        ([{"etc/os": b"d"}, {}], "dynamo", "layer 0 (RUN step 0): etc/os: content"),
        ([LOWER], "dynamo", "the number of layers: 2 and 1"),
        ([LOWER, UPPER], "root", "the configuration: config: {'User': 'dynamo'} and {'User': 'root'}"),
    ],
)
def test_the_first_difference_is_named(
    tmp_path: Path, layers: list[dict[str, bytes]], user: str, beginning: str
) -> None:
    first, second = saved(tmp_path / "one", [LOWER, UPPER]), saved(tmp_path / "two", layers, user)
    assert difference(first, second).startswith(beginning)


def test_of_other_content_the_first_byte_is_named(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name, [{"a": f"12{name}".encode()}]) for name in ("x", "y"))
    assert difference(first, second).endswith(", first at byte 2")
