"""Dynamo from a checkout with the real Dockerfiles: wheels, image, and what a change rebuilds. Takes minutes."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import Stage
from tests.source_builds.conftest import SourceBuild, build_log, docker, executed_steps, fresh_number, git, tag_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 20
"""Time limit of an image after a change of Python code."""


@pytest.fixture(scope="module")
def dynamo(repositories: Callable[[str], Path]) -> Path:
    """Return a repository of the small sources, with build output that no build may read."""
    folder = repositories("dynamo")
    (folder / "lib/bindings/python/target").mkdir()
    (folder / "lib/bindings/python/target/large").write_bytes(b"0" * 50_000_000)
    return folder


def frontend_of(dynamo: Path) -> str:
    return build_log(SourceBuild(stage=Stage.RUNTIME, image="frontend", sources={"dynamo": str(dynamo)}))


def test_the_frontend_says_what_the_checkout_s_python_and_rust_code_say(dynamo: Path) -> None:
    log = frontend_of(dynamo)
    sent = re.findall(r"transferring context: [\d.]+([kMG]?B)", log)
    assert sent
    assert set(sent) <= {"B", "kB"}  # so without the 50 MB in target/
    assert docker("run", "--rm", tag_of("frontend"), "python", "-m", "dynamo.frontend") == "first runtime 42"


def test_the_wheels_are_of_one_abi_for_all_pythons_and_the_rest_is_as_locked(dynamo: Path) -> None:
    build_log(SourceBuild(stage=Stage.BASE, image="base", sources={"dynamo": str(dynamo)}))
    tag = tag_of("base")
    manifest = json.loads(docker("run", "--rm", tag, "cat", "/opt/dynamo/wheelhouse/manifest.json"))
    files = {wheel["name"]: wheel["file"] for wheel in manifest["wheels"]}
    assert files["ai-dynamo"] == "ai_dynamo-1.4.2-py3-none-any.whl"
    assert re.fullmatch(r"ai_dynamo_runtime-1[.]4[.]2-cp310-abi3-(manylinux\w+[.]?)+[.]whl", files["ai-dynamo-runtime"])
    assert set(files) == {"ai-dynamo", "ai-dynamo-runtime", "nixl", "nixl-cu13"}
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", tag))
    assert labels["ai.dynamo.source.dynamo"] == git(dynamo, "rev-parse", "HEAD")


def test_a_line_of_python_compiles_nothing_and_is_in_the_image_within_seconds(dynamo: Path) -> None:
    frontend_of(dynamo)
    module = dynamo / "components/src/dynamo/frontend/word.py"
    new = fresh_number()
    module.write_text(f'WORD = "{new}"\n', encoding="utf-8")
    started = time.monotonic()
    log = frontend_of(dynamo)
    took = time.monotonic() - started
    assert docker("run", "--rm", tag_of("frontend"), "python", "-m", "dynamo.frontend") == f"{new} runtime 42"
    assert executed_steps(log) == {"python"}
    assert took < SECONDS


def test_a_line_of_the_bindings_python_half_compiles_nothing(dynamo: Path) -> None:
    name = dynamo / "lib/bindings/python/src/dynamo/runtime/__init__.py"
    new = fresh_number()
    name.write_text(f'NAME = "{new}"\n', encoding="utf-8")
    log = frontend_of(dynamo)
    assert f"{new} 42" in docker("run", "--rm", tag_of("frontend"), "python", "-m", "dynamo.frontend")
    assert executed_steps(log) == {"rust half packed"}


def test_a_line_of_rust_builds_no_python_again(dynamo: Path) -> None:
    code = dynamo / "lib/bindings/python/rust/lib.rs"
    new = fresh_number()
    code.write_text(code.read_text(encoding="utf-8").replace("(42)", f"({new})"), encoding="utf-8")
    os.utime(code, (0, 0))  # older than the last compilation, as on another branch
    log = frontend_of(dynamo)
    assert docker("run", "--rm", tag_of("frontend"), "python", "-m", "dynamo.frontend").endswith(f" {new}")
    assert executed_steps(log) == {"compiled", "rust half packed"}
