"""Sessions of nox: what CI and people read from `nox --list`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dynamo_containers.facts.catalogue import ROOT, load_catalogue

pytestmark = pytest.mark.cli


def sessions(*arguments: str) -> list[dict[str, Any]]:
    """Return what `nox --list --json` says."""
    argv = (sys.executable, "-m", "nox", "--list", "--json", *arguments)
    listing = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT)
    answer: list[dict[str, Any]] = json.loads(listing.stdout)
    return answer


def test_the_matrix_of_smoke_tests_names_platforms_as_oci_does() -> None:
    matrix = {(row["name"], row["call_spec"]["platform"]) for row in sessions("--tags", "smoke")}
    images = load_catalogue().images.values()
    assert matrix == {(f"smoke-{image.name}", platform.value) for image in images for platform in image.platforms}
    assert ("smoke-vllm", "linux/amd64") in matrix


def test_sessions_that_test_the_project_itself_say_so_in_their_name() -> None:
    argv = (sys.executable, "-m", "nox", "--list")
    listing = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    names = {line[2:].partition(" ")[0].partition("(")[0] for line in listing.splitlines() if " -> " in line}
    others = {name for name in names if not name.startswith(("test-", "smoke-"))}
    assert others == {"lint", "typecheck", "unit", "docs", "reproducible", "bench"}
    assert all("_" not in name for name in names)
