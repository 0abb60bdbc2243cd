"""The configuration files on pages are accepted by their readers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dynamo_containers.facts import mirrors, sccache
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.plan import builders, caches
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^ *```toml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def write(folder: Path, page: str, number: int = 0) -> str:
    """Write a TOML block of a page into a file and return its path."""
    block = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))[number]
    file = folder / "example.toml"
    file.write_text(block, encoding="utf-8")
    return str(file)


def test_the_mirrors_of_the_page_are_accepted(tmp_path: Path) -> None:
    example = mirrors.load({"DYNAMO_CONTAINERS_MIRRORS": write(tmp_path, "how-to/mirrors.md")})
    assert example.image("nvcr.io/nvidia/cuda:1") == "mirror.example.com/nvcr.io/nvidia/cuda:1"


def test_the_builders_of_the_page_are_accepted(tmp_path: Path) -> None:
    rows = builders.load({"DYNAMO_CONTAINERS_BUILDERS": write(tmp_path, "how-to/builders.md")})
    assert rows == {Platform.ARM64: "arm-node"}


def test_the_caches_of_the_page_are_accepted(tmp_path: Path) -> None:
    rows = caches.load({"DYNAMO_CONTAINERS_CACHES": write(tmp_path, "how-to/caches.md")})
    assert rows != caches.load({"XDG_CONFIG_HOME": str(tmp_path)})


def test_the_storage_of_the_page_is_accepted(tmp_path: Path) -> None:
    assert sccache.secrets({"DYNAMO_CONTAINERS_SCCACHE": write(tmp_path, "how-to/caches.md", 1)})
