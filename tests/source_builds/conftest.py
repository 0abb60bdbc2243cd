"""Common fixtures and helpers of builds from source: repositories of the stand-ins, builds and their executed steps."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine, process
from dynamo_containers.builds import diagnosis
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import build_secrets, disk_space, inputs
from tests.unit import planned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.plan.request import Request
    from dynamo_containers.process import Document

STEP = re.compile(r"^#(\d+) \[\S+ (?:(?P<stage>\S+) )?\d+/\d+\] (?P<what>.*)$", re.MULTILINE)
STEP_MARKERS = {
    "compiled": "target=/src/target",
    "rust half packed": "target=/run/bindings",
    "python": "source=python",
    "ucx compiled": "target=/src/ucx",
    "nixl compiled": "target=/src/nixl",
    "nixl packed": "source=add-modules",
    "nixl unpacked": "install-nixl",
    "wheels fetched": "fetch-wheels",
}
"""Step -> a part of its instruction that no other step has."""


@cache
def environment() -> dict[str, str]:
    return dict(engine.environment(ROOT))


def repository(name: str, folder: Path) -> Path:
    """Return a repository with the small sources of a project in one commit."""
    shutil.copytree(ROOT / "tests/sources" / name, folder / name)
    return commit_all(folder / name)


def commit_all(folder: Path) -> Path:
    """Make a folder a repository with one commit of all its files."""
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init", "--quiet"), ("add", "--force", "."), (*author, "commit", "--quiet", "--message=first")):
        git(folder, *arguments)
    return folder


def git(folder: Path, *arguments: str) -> str:
    argv = ("git", "-C", str(folder), *arguments)
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a repository of a project, in a folder for each test file."""
    return lambda name: repository(name, tmp_path_factory.mktemp("sources"))


@dataclass(frozen=True, kw_only=True)
class SourceBuild:
    """Stage, image and sources of a build."""

    stage: Stage
    image: str
    sources: Mapping[str, str]
    strict: bool = False

    def request(self) -> Request:
        """Return the request, as the command line does."""
        return request_for(
            load_catalogue(), self.stage, ImageSelection(images=[self.image], sources=self.sources, strict=self.strict)
        )


def build_log(
    build: SourceBuild, change: Callable[[Request], Request] = lambda request: request, again: Sequence[str] = ()
) -> str:
    """Build an image and return the log of BuildKit.

    Args:
        build: the image and its sources.
        change: change of the request that the command line and the locks do not allow.
        again: targets that are rebuilt without a change, as on a new machine.
    """
    request = build.request()
    facts = inputs.build_inputs(request)
    request = change(request)
    plan = planned.execution(request, facts, engine.docker(ROOT))
    for document in plan.documents:
        process.write(_done_again(document, again))
    (command,) = plan.commands
    index = build_secrets.index_file(ROOT, os.environ)
    with index, engine.watched(ROOT), diagnosis.explained(request, lambda: engine.client_buildx(ROOT)):
        log = process.query(command, check=True).stderr
    print(log)  # pytest shows it for a failed test
    disk_space.record_request(request, facts)
    return log


def _done_again(document: Document, steps: Sequence[str]) -> Document:
    if not steps or not document.path.name.startswith("bake-"):
        return document
    content = json.loads(document.text)
    for step in steps:
        content["target"][step]["no-cache"] = True
    return replace(document, text=json.dumps(content))


def executed_steps(log: str) -> set[str]:
    """Return the steps that BuildKit executed. It cancels a step if its result turns out to be cached."""
    cached = set(re.findall(r"^#(\d+) (?:CACHED|CANCELED)$", log, re.MULTILINE))
    steps = [match["what"] for match in STEP.finditer(log) if match[1] not in cached]
    return {name for name, marker in STEP_MARKERS.items() if any(marker in step for step in steps)}


def fresh_number() -> int:
    """Return a number that no earlier run had, because BuildKit would have cached it."""
    return time.time_ns() % 10**9


def docker(*arguments: str) -> str:
    return process.capture(process.Command(argv=("docker", *arguments), env=environment())).strip()


def tag_of(image: str) -> str:
    """Return the tag of an image with the debian bases for this machine."""
    request = request_for(load_catalogue(), Stage.RUNTIME, ImageSelection(images=["frontend"]))
    (tag,) = (
        reference
        for reference in docker("images", "--format={{.Repository}}:{{.Tag}}").splitlines()
        if reference.startswith(f"dynamo-{image}:") and reference.endswith(f"-debian-{request.platforms[0].arch}")
    )
    return tag
