"""Inventory of built images beside their bytes: every binary belongs to something listed.

`nox -s test-inventory` runs it. It needs an engine with images that `invoke build.runtime` made; others are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine
from dynamo_containers.facts.bases import Program
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.inspect.inventory import owners
from dynamo_containers.inspect.inventory.components import ComponentKind
from dynamo_containers.inspect.inventory.image import LockReader
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.inspect.inventory.components import ImageInventory

CATALOGUE = load_catalogue()
IMAGES = [name for name, row in CATALOGUE.images.items() if Stage.RUNTIME in row.stages and "debian" in row.bases]
WITHOUT_OWNER = {
    "opt/dynamo/venv/bin/python": "link of the environment to the interpreter",
    "etc/ld.so.cache": "made by ldconfig",
}
"""Binary -> why no package has it."""
MAGIC = b"\x7fELF"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, **engine.docker(ROOT).environment}


@pytest.fixture(params=IMAGES)
def inventory(request: pytest.FixtureRequest, environment: Mapping[str, str]) -> ImageInventory:
    found = LockReader(CATALOGUE).read(request.param, "runtime", "debian", native_platform()).inventory
    inspect = subprocess.run(
        ("docker", "image", "inspect", found.tag), env=environment, capture_output=True, check=False
    )
    if inspect.returncode:
        pytest.skip(f"{found.tag} was not built")
    return found


def exported(tag: str, environment: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of an image, one at a time; of a file that is no list, the first bytes."""
    command = ("docker", "create", "--pull", "never", tag, "true")
    container = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    try:
        export = subprocess.Popen(("docker", "export", container), env=environment, stdout=subprocess.PIPE)
        with export, tarfile.open(fileobj=export.stdout, mode="r|") as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)):
                    path = member.name.removeprefix("./")
                    yield path, file.read() if owners.is_list(path) else file.read(len(MAGIC))
    finally:
        subprocess.run(("docker", "rm", container), env=environment, capture_output=True, check=True)


def test_every_binary_of_an_image_belongs_to_something_listed(
    inventory: ImageInventory, environment: Mapping[str, str]
) -> None:
    lists: dict[str, str] = {}
    binaries: list[str] = []
    for path, content in exported(inventory.tag, environment):
        if owners.is_list(path):
            lists[path] = content.decode()
        elif content == MAGIC:
            binaries.append(path)
    programs = CATALOGUE.bases["debian"].programs
    paths = {
        path: program.package
        for program in programs.values()
        if isinstance(program, Program)
        for path in program.files.values()
    }
    found = owners.unlisted(binaries, owners.owners(lists, paths), inventory)
    assert len(binaries) > 100
    assert {path: owner for path, owner in found.items() if path not in WITHOUT_OWNER} == {}


def test_syft_sees_the_same_packages_and_versions(inventory: ImageInventory, environment: Mapping[str, str]) -> None:
    if shutil.which("syft") is None:
        pytest.skip("there is no syft on PATH")
    command = ("syft", "scan", f"docker:{inventory.tag}", "--output", "syft-json", "--quiet")
    output = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    seen = {
        (row["name"].lower(), row["version"])
        for row in json.loads(output)["artifacts"]
        if row["type"] in {"deb", "python"}
    }
    kinds = {ComponentKind.DEB, ComponentKind.PYTHON}
    listed = {(row.name, row.version) for row in inventory.components if row.kind in kinds}
    assert {(name.replace("_", "-").replace(".", "-"), version) for name, version in seen} - {
        (name.replace(".", "-"), version) for name, version in listed
    } == set()
