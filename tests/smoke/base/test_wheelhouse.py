"""The wheels of the base stage match its manifest and its lock, and run on the promised systems."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks import requirements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.platforms import Platform
    from tests.smoke.containers import Engine

GLIBC = re.compile(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)")
"""The version of a glibc symbol in the string table of an ELF file."""
TAG = re.compile(r"manylinux_(\d+)_(\d+)_")
"""The version of glibc in the name of a wheel."""


@pytest.fixture(scope="module")
def wheelhouse(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the wheels out of the image, so that reading them needs no emulation."""
    folder = tmp_path_factory.mktemp("base")
    with engine.container(image, (), name="wheelhouse") as container:
        engine.docker("cp", f"{container.id}:/opt/dynamo/wheelhouse", str(folder))
    return folder / "wheelhouse"


@pytest.fixture(scope="module")
def manifest(wheelhouse: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads((wheelhouse / "manifest.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def libraries(wheelhouse: Path) -> Mapping[str, tuple[set[int], tuple[int, int]]]:
    """Return for each wheel the ELF machines of its libraries, and the newest glibc version that they need."""
    return {file.name: _elf_facts(file) for file in wheelhouse.glob("*.whl")}


def _elf_facts(wheel: Path) -> tuple[set[int], tuple[int, int]]:
    machines: set[int] = set()
    newest = (0, 0)
    for content in _elf_files(wheel):
        machines.add(int.from_bytes(content[18:20], "little"))
        newest = max([newest, *((int(major), int(minor)) for major, minor in GLIBC.findall(content))])
    return machines, newest


def _elf_files(wheel: Path) -> Iterator[bytes]:
    with ZipFile(wheel) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                head = file.read(4)
                if head == b"\x7fELF":
                    yield head + file.read()


def test_it_holds_the_locked_wheels_by_hash_and_nothing_else(
    wheelhouse: Path, manifest: Mapping[str, Any], bases: Bases, platform: Platform
) -> None:
    text = (ROOT / f"constraints/base-{bases.name}-{platform.arch}.txt").read_text(encoding="utf-8")
    locked = {(pin.name, pin.version, hash_) for pin in requirements.read(text) for hash_ in pin.hashes}
    present = {
        (
            wheel["name"],
            wheel["version"],
            f"sha256:{hashlib.sha256((wheelhouse / wheel['file']).read_bytes()).hexdigest()}",
        )
        for wheel in manifest["wheels"]
    }
    assert present == locked
    assert {file.name for file in wheelhouse.iterdir()} == {
        "manifest.d",  # one manifest for each layer
        "manifest.json",
        "locked.txt",
        *(wheel["file"] for wheel in manifest["wheels"]),
    }


def test_the_manifest_is_true(
    wheelhouse: Path, manifest: Mapping[str, Any], catalogue: Catalogue, platform: Platform
) -> None:
    assert manifest["arch"] == platform.arch
    assert manifest["oldest_glibc"] == catalogue.oldest_glibc
    for wheel in manifest["wheels"]:
        content = (wheelhouse / wheel["file"]).read_bytes()
        assert wheel["sha256"] == hashlib.sha256(content).hexdigest()
        assert wheel["size"] == len(content)


def test_every_library_is_for_the_platform(
    libraries: Mapping[str, tuple[set[int], tuple[int, int]]], manifest: Mapping[str, Any], platform: Platform
) -> None:
    machines = {name: elf_machines for name, (elf_machines, _) in libraries.items() if elf_machines}
    assert len(machines) == 2
    assert all(elf_machines == {platform.elf_machine} for elf_machines in machines.values()), machines
    assert {
        wheel["file"]: {*wheel["elf_machines"]} for wheel in manifest["wheels"] if wheel["elf_machines"]
    } == machines


def test_every_library_runs_on_ubuntu_22_04(
    libraries: Mapping[str, tuple[set[int], tuple[int, int]]], manifest: Mapping[str, Any]
) -> None:
    ubuntu = (2, 35)
    for wheel in manifest["wheels"]:
        machines, needed = libraries[wheel["file"]]
        if machines:
            audited = tuple(int(number) for number in wheel["glibc"].split("."))
            # auditwheel names the oldest sufficient manylinux, which may be newer than the newest symbol.
            assert (2, 17) <= needed <= audited <= ubuntu, wheel["file"]
            # The needs of the builder's own libraries do not affect the wheel (docs/adr/0029).
            tags = [(int(major), int(minor)) for major, minor in TAG.findall(wheel["file"])]
            assert audited <= max(needed, *tags), wheel["file"]


def test_the_manifests_of_the_layers_have_all_wheels(wheelhouse: Path, manifest: Mapping[str, Any]) -> None:
    files = list(wheelhouse.glob("manifest.d/*.json"))
    manifests = [json.loads(file.read_text(encoding="utf-8"))["wheels"] for file in files]
    assert len(manifests) == 3
    assert sorted((row for rows in manifests for row in rows), key=lambda row: str(row["file"])) == manifest["wheels"]


def test_there_is_one_nixl(manifest: Mapping[str, Any]) -> None:
    versions = {wheel["version"] for wheel in manifest["wheels"] if wheel["name"].startswith("nixl")}
    assert versions == {"1.3.2"}
