"""Dynamo from a checkout, through the real Dockerfiles: wheels, image, and what a change builds again. Minutes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from functools import cache
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import build, build_record, engine, model, prepare, run
from dynamo_containers.model import Stage

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = model.ROOT / "tests/sources"
SECONDS = 20
"""What a developer of Dynamo waits for an image after a change of Python code."""
STEP = re.compile(r"^#(\d+) \[\S+ (?:(?P<stage>\S+) )?\d+/\d+\] (?P<what>.*)$", re.MULTILINE)


@cache
def environment() -> dict[str, str]:
    return dict(engine.environment(model.ROOT))


@pytest.fixture(scope="module")
def dynamo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of the small sources, beside what a checkout has that no build may see."""
    folder = tmp_path_factory.mktemp("sources") / "dynamo"
    shutil.copytree(SOURCES / "dynamo", folder)
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message=first")):
        subprocess.run(("git", "-C", str(folder), *words), check=True)
    (folder / "lib/bindings/python/target").mkdir()
    (folder / "lib/bindings/python/target/large").write_bytes(b"0" * 50_000_000)
    return folder


def built(stage: Stage, image: str, dynamo: Path) -> str:
    """Build an image and return what BuildKit said."""
    request = build.request(model.load(), stage, images=[image], sources={"dynamo": str(dynamo)})
    facts = prepare.facts(request)
    plan = build.plan(request, facts, environment(), engine.buildx(environment()))
    for document in plan.documents:
        run.write(document)
    (command,) = plan.commands
    with engine.watched(model.ROOT):
        said = run.outputs(command).stderr
    build_record.remember(request, facts)
    return said


def ran(said: str) -> set[str]:
    """Return the steps that BuildKit ran, by a word of each that no other has."""
    words = {
        "compiled": "target=/src/target",
        "rust half packed": "target=/run/bindings",
        "python": "source=python",
        "nixl unpacked": "install-nixl",
        "wheels judged": "fetch-wheels",
    }
    cached = set(re.findall(r"^#(\d+) CACHED$", said, re.MULTILINE))
    done = [found["what"] for found in STEP.finditer(said) if found[1] not in cached]
    return {name for name, word in words.items() if any(word in what for what in done)}


def never_seen() -> int:
    """Return what was in no earlier run either: BuildKit would have that cached."""
    return time.time_ns() % 10**9


def docker(*words: str) -> str:
    return run.capture(run.Command(argv=("docker", *words), env=environment())).strip()


def frontend() -> str:
    version = build.request(model.load(), Stage.RUNTIME, images=["frontend"])
    architecture = version.platforms[0].arch
    (tag,) = (
        each
        for each in docker("images", "--format={{.Repository}}:{{.Tag}}").splitlines()
        if each.startswith("dynamo-frontend:") and each.endswith(f"-debian-{architecture}")
    )
    return tag


def test_the_frontend_says_what_the_checkout_s_python_and_rust_code_say(dynamo: Path) -> None:
    said = built(Stage.RUNTIME, "frontend", dynamo)
    sent = re.findall(r"transferring context: [\d.]+([kMG]?B)", said)
    assert sent
    assert set(sent) <= {"B", "kB"}  # and so not the 50 MB in target/
    assert docker("run", "--rm", frontend(), "python", "-m", "dynamo.frontend") == "first runtime 42"


def test_the_wheels_are_of_one_abi_for_all_pythons_and_the_rest_is_as_locked(dynamo: Path) -> None:
    built(Stage.BASE, "base", dynamo)
    tag = frontend().replace("frontend", "base")
    manifest = json.loads(docker("run", "--rm", tag, "cat", "/opt/dynamo/wheelhouse/manifest.json"))
    files = {wheel["name"]: wheel["file"] for wheel in manifest["wheels"]}
    assert files["ai-dynamo"] == "ai_dynamo-1.4.2-py3-none-any.whl"
    assert re.fullmatch(r"ai_dynamo_runtime-1[.]4[.]2-cp310-abi3-(manylinux\w+[.]?)+[.]whl", files["ai-dynamo-runtime"])
    assert set(files) == {"ai-dynamo", "ai-dynamo-runtime", "nixl", "nixl-cu13"}
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", tag))
    commit = subprocess.run(
        ("git", "-C", str(dynamo), "rev-parse", "HEAD"), check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    assert labels["ai.dynamo.source.dynamo"] == commit


def test_a_line_of_python_compiles_nothing_and_is_in_the_image_within_seconds(dynamo: Path) -> None:
    built(Stage.RUNTIME, "frontend", dynamo)
    word = dynamo / "components/src/dynamo/frontend/word.py"
    new = never_seen()
    word.write_text(f'WORD = "{new}"\n', encoding="utf-8")
    started = time.monotonic()
    said = built(Stage.RUNTIME, "frontend", dynamo)
    took = time.monotonic() - started
    assert docker("run", "--rm", frontend(), "python", "-m", "dynamo.frontend") == f"{new} runtime 42"
    assert ran(said) == {"python"}
    assert took < SECONDS


def test_a_line_of_the_bindings_python_half_compiles_nothing(dynamo: Path) -> None:
    name = dynamo / "lib/bindings/python/src/dynamo/runtime/__init__.py"
    new = never_seen()
    name.write_text(f'NAME = "{new}"\n', encoding="utf-8")
    said = built(Stage.RUNTIME, "frontend", dynamo)
    assert f"{new} 42" in docker("run", "--rm", frontend(), "python", "-m", "dynamo.frontend")
    assert ran(said) == {"rust half packed"}


def test_a_line_of_rust_builds_no_python_again(dynamo: Path) -> None:
    code = dynamo / "lib/bindings/python/rust/lib.rs"
    new = never_seen()
    code.write_text(code.read_text(encoding="utf-8").replace("(42)", f"({new})"), encoding="utf-8")
    os.utime(code, (0, 0))  # older than what was compiled last, as on another branch
    said = built(Stage.RUNTIME, "frontend", dynamo)
    assert docker("run", "--rm", frontend(), "python", "-m", "dynamo.frontend").endswith(f" {new}")
    assert ran(said) == {"compiled", "rust half packed"}
