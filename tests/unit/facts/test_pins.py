"""containers/pins.toml: each value is of its type, or the file is refused as one that a tool wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.pins import PINS_FILE, load_pins, render

if TYPE_CHECKING:
    from pathlib import Path

TYPICAL = f"""\
epoch = 1795521358

[roots.cuda.builder]
image = "quay.io/pypa/manylinux_2_28_{{machine}}:2026.08.15-1"
"linux/amd64" = "sha256:{"1" * 64}"

[programs.cuda.etcd."linux/amd64"]
version = "3.5.21"
url = "https://example.invalid/etcd.tar.gz"
size = 7
sha256 = "{"2" * 64}"

[programs.debian.etcd."linux/amd64"]
version = "3.5.16-4+b1"
archive = "debian"
path = "pool/main/e/etcd/etcd-server_3.5.16-4+b1_amd64.deb"
size = 5
sha256 = "{"3" * 64}"
locked = "20261124T180600Z"

[sources.dynamo]
ref = "v1.4.2"
commit = "{"c" * 40}"
"""
DEB = "programs.debian.etcd.linux/amd64"
FAULTS = {
    "a sha256 that is a path": (f'sha256 = "{"3" * 64}"', 'sha256 = "../../../evil.deb"', f"{DEB}.sha256"),
    "a short sha256": (f'sha256 = "{"2" * 64}"', 'sha256 = "22"', "programs.cuda.etcd.linux/amd64.sha256"),
    "a digest without its kind": (f'"sha256:{"1" * 64}"', f'"{"1" * 64}"', "roots.cuda.builder.linux/amd64"),
    "a path above its archive": ('"pool/main/', '"pool/../../../', f"{DEB}.path"),
    "an absolute path": ('"pool/main/', '"/main/', f"{DEB}.path"),
    "an archive that is a path": ('archive = "debian"', 'archive = "../x"', f"{DEB}.archive"),
    "a version with a space": ('version = "3.5.16-4+b1"', 'version = "3.5.16 4"', f"{DEB}.version"),
    "a version of a shell": ('version = "3.5.21"', 'version = "$(id)"', "programs.cuda.etcd.linux/amd64.version"),
    "a URL of a file": ('"https://example.invalid/', '"file:///', "programs.cuda.etcd.linux/amd64.url"),
    "a URL with a login": ('"https://', '"https://me:secret@', "programs.cuda.etcd.linux/amd64.url"),
    "a negative size": ("size = 5", "size = -5", f"{DEB}.size"),
    "a size of no file": ("size = 5", f"size = {10**30}", f"{DEB}.size"),
    "a size that is true": ("size = 5", "size = true", f"{DEB}.size"),
    "a moment in the year 9999": ('"20261124T', '"99991124T', f"{DEB}.locked"),
    "a moment that is no day": ('"20261124T', '"20260231T', f"{DEB}.locked"),
    "an epoch beyond time": ("epoch = 1795521358", f"epoch = {10**30}", "epoch"),
    "an epoch before 1970": ("epoch = 1795521358", "epoch = -1", "epoch"),
    "a commit that is a branch": (f'"{"c" * 40}"', '"main"', "sources.dynamo.commit"),
    "a ref that is an option": ('"v1.4.2"', '"--upload-pack=x"', "sources.dynamo.ref"),
    "an image with a space": ('"quay.io/pypa/', '"quay.io/py pa/', "roots.cuda.builder.image"),
    "bases that are a path": ("[roots.cuda.builder]", '[roots."../x".builder]', "roots"),
    "a role that is a path": ("[roots.cuda.builder]", '[roots.cuda."../x"]', "roots.cuda"),
    "a source that is an option": ("[sources.dynamo]", '[sources."--x"]', "sources"),
    "text where a table is": ("[sources.dynamo]", "[sources]\ndynamo = 1\n[x]", "sources.dynamo"),
}


def load(folder: Path, text: str) -> str:
    (folder / PINS_FILE).parent.mkdir()
    (folder / PINS_FILE).write_text(text, encoding="utf-8")
    return render(load_pins(folder))


def test_typical_pins_are_read_and_written_again(tmp_path: Path) -> None:
    written = load(tmp_path, TYPICAL)
    assert sorted(filter(None, TYPICAL.splitlines())) == sorted(
        line for line in written.splitlines() if line and not line.startswith("#")
    )


def test_the_pins_of_this_project_are_of_their_types() -> None:
    assert render(load_pins(ROOT)) == (ROOT / PINS_FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FAULTS)
def test_a_value_of_another_type_is_refused_by_file_and_key(name: str, tmp_path: Path) -> None:
    old, new, key = FAULTS[name]
    assert TYPICAL.count(old) == 1
    with pytest.raises(LockError) as error:
        load(tmp_path, TYPICAL.replace(old, new))
    head, *remedy = str(error.value).splitlines()
    assert head.startswith((f"containers/pins.toml: {key}: found ", f"containers/pins.toml: {key} has the key "))
    assert ", allowed is " in head
    assert len(head) < 300
    assert remedy[0] == "`invoke lock` writes this file. Restore it with: git checkout containers/pins.toml"


def test_a_folder_in_place_of_the_pins_is_not_taken_for_a_new_project(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).mkdir(parents=True)
    with pytest.raises(LockError, match="is a folder, not a file"):
        load_pins(tmp_path)
