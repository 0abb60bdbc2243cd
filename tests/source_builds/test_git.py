"""A commit of a repository on loopback is built, also with strict bases; a missing commit is named. Takes minutes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine
from dynamo_containers.errors import DownloadError, LockError
from dynamo_containers.facts.catalogue import ROOT, Stage
from dynamo_containers.prepare import inputs
from tests.lock.test_registry import free_port
from tests.source_builds.conftest import SourceBuild, build_log, docker, git, tag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def dynamo(repositories: Callable[[str], Path]) -> Path:
    return repositories("dynamo")


@pytest.fixture(scope="module")
def url(dynamo: Path) -> Iterator[str]:
    """Serve the repository on loopback of this machine and of its engine, which may have another network."""
    port = free_port()
    serve = ("git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={dynamo.parent}")
    inside = engine.network(ROOT)
    with ExitStack() as stack:
        for prefix in [(), inside] if inside else [()]:
            process = stack.enter_context(subprocess.Popen((*prefix, *serve, str(dynamo.parent)), env=os.environ))
            stack.callback(process.terminate)
        address = f"git://127.0.0.1:{port}/dynamo"
        for _ in range(50):
            if subprocess.run(("git", "ls-remote", address), check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        yield address


def source_build(source: str, *, strict: bool = False) -> SourceBuild:
    return SourceBuild(stage=Stage.BASE, image="base", sources={"dynamo": source}, strict=strict)


def label() -> str:
    return str(
        json.loads(docker("inspect", "--format={{json .Config.Labels}}", tag_of("base")))["ai.dynamo.source.dynamo"]
    )


def test_a_commit_of_a_repository_is_built_and_an_uncommitted_change_beside_it_is_not(dynamo: Path, url: str) -> None:
    commit = git(dynamo, "rev-parse", "HEAD")
    log = build_log(source_build(f"{url}#{commit}"))
    assert f"{url}#{commit}" in log
    assert label() == commit


def test_strict_bases_build_that_commit_and_a_clean_checkout_and_no_dirty_one(dynamo: Path, url: str) -> None:
    commit = git(dynamo, "rev-parse", "HEAD")
    build_log(source_build(f"{url}#{commit}", strict=True))
    assert label() == commit
    build_log(source_build(str(dynamo), strict=True))
    assert label() == commit
    (dynamo / "new.py").touch()
    try:
        with pytest.raises(LockError, match=f"{commit}-dirty"):
            inputs.build_inputs(source_build(str(dynamo), strict=True).request())
        build_log(source_build(str(dynamo)))
    finally:
        (dynamo / "new.py").unlink()
    assert label() == f"{commit}-dirty"


def test_a_commit_that_the_repository_lacks_is_named_with_what_to_do(url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        build_log(source_build(f"{url}#{'0123456789' * 4}"))
    assert f"dynamo is built from commit {'0123456789' * 4}, which {url} does not have" in str(caught.value)
    assert f"See which commits it has: git ls-remote {url}" in str(caught.value)


def test_a_repository_that_is_not_there_is_named_with_what_to_do(url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        build_log(source_build(f"{url}-of-nobody#{'0123456789' * 4}"))
    assert f"dynamo is built from {url}-of-nobody, which cannot be read: " in str(caught.value)
    assert "--dynamo-source FOLDER" in str(caught.value)
