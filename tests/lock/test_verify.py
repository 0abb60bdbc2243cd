"""uv, asked by `invoke lock --check --verify`: what it accepts, what it refuses, and what it says was taken back."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import CheckFailedError, CommandFailedError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.lock.python import verify as python_verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.facts.locks.python_lock import LockFile
    from tests.lock.conftest import Backends, IndexContent, ToolsProject

FOREIGN = "sha256:" + "f" * 64


@pytest.fixture(autouse=True)
def uv(index: IndexContent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put uv next to the interpreter, with the index on loopback and without a cache."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def lock(index: IndexContent, project: ToolsProject) -> LockFile:
    """Return a lock with two packages."""
    index.add("alpha", "1.0", requires=("beta",))
    index.add("beta", "1.0")
    project.require("alpha")
    project.make()
    return project.lock


def others(lock: LockFile, project: ToolsProject, count: int) -> list[LockFile]:
    """Return copies of this lock."""
    text = project.path.read_text(encoding="utf-8")
    copies = [replace(lock, path=f"constraints/other-{number}.txt") for number in range(count)]
    for copy in copies:
        (project.catalogue.folder / copy.path).write_text(text, encoding="utf-8")
    return copies


def test_locks_are_verified_together_and_reported_in_their_order(
    lock: LockFile, project: ToolsProject, capfd: pytest.CaptureFixture[str]
) -> None:
    more = others(lock, project, 6)
    capfd.readouterr()
    python_verify.verify_locks([*more, lock], project.catalogue.folder)
    assert capfd.readouterr().err.splitlines() == [
        *(f"Verified constraints/other-{number}.txt" for number in range(6)),
        "Verified constraints/tools.txt",
    ]


def test_a_release_that_was_taken_back_after_it_was_locked_is_named_with_the_reason(
    lock: LockFile, index: IndexContent, project: ToolsProject, capfd: pytest.CaptureFixture[str]
) -> None:
    index.pages["alpha"][0]["yanked"] = "loses data"
    index.pages["beta"][0]["yanked"] = True
    capfd.readouterr()
    python_verify.verify_locks([lock], project.catalogue.folder)
    assert capfd.readouterr().err.splitlines() == [
        "Verified constraints/tools.txt",
        "constraints/tools.txt: yanked: alpha==1.0: loses data",
        "constraints/tools.txt: yanked: beta==1.0: no reason given",
    ]


def test_a_hash_that_the_index_does_not_have_ends_the_verification_with_the_locks_own_message(
    lock: LockFile, project: ToolsProject, capfd: pytest.CaptureFixture[str]
) -> None:
    more = others(lock, project, 12)
    bad = project.catalogue.folder / more[1].path
    packages = requirements.read(bad.read_text(encoding="utf-8"))
    (right,) = (package.hashes[0] for package in packages if package.name == "beta")
    bad.write_text(bad.read_text(encoding="utf-8").replace(right, FOREIGN), encoding="utf-8")
    capfd.readouterr()
    with pytest.raises(CheckFailedError, match=f"{more[1].path}: the index does not state the hashes of beta==1.0"):
        python_verify.verify_locks(more, project.catalogue.folder)
    assert capfd.readouterr().err.splitlines() == [f"Verified {more[0].path}"]


def test_a_lock_without_a_package_that_is_needed_is_refused(lock: LockFile, project: ToolsProject) -> None:
    text = project.path.read_text(encoding="utf-8")
    project.path.write_text(text.partition("beta==")[0], encoding="utf-8")
    with pytest.raises(CommandFailedError, match=f"(?s)beta.*uv refuses {lock.path} for any linux/amd64"):
        python_verify.verify_locks([lock], project.catalogue.folder)


@pytest.fixture
def mirrored(other: IndexContent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Configure a mirror of an unreachable index; return the address of that index."""
    table = tmp_path / "mirrors.toml"
    table.write_text(f'[addresses]\n"https://index.example.invalid/" = "{other.address}"\n', encoding="utf-8")
    monkeypatch.setenv(mirrors.VARIABLE, str(table))
    mirrors.configured.cache_clear()
    yield "https://index.example.invalid"
    mirrors.configured.cache_clear()


@pytest.fixture
def own(index: IndexContent, other: IndexContent, backends: Backends, mirrored: str) -> LockFile:
    """Return a lock with a package from a mirrored index of its own, and a package from the default index."""
    index.add("torch", "2.11.0")
    index.add("tensorrt-llm", "99.0")
    other.add("tensorrt-llm", "1.3.0", requires=("torch",))
    other.add("torch", "99.0")  # such an index has other packages as well
    backends.own_index("nvidia", mirrored, "tensorrt-llm")
    backends.image("trtllm", more='indexes = ["nvidia"]')
    backends.require("trtllm", "tensorrt_llm")
    assert backends.make(also=("trtllm",)).unreachable == ()
    locks = python_lock.locks(load_catalogue(backends.folder))
    return next(lock for lock in locks if lock.path == "constraints/trtllm-debian-amd64.txt")


def test_a_package_with_an_index_of_its_own_is_verified_there_and_at_its_mirror(
    own: LockFile, other: IndexContent, backends: Backends, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    other.requests.clear()
    python_verify.verify_locks([own], backends.folder)
    assert capfd.readouterr().err.splitlines() == ["Verified constraints/trtllm-debian-amd64.txt"]
    assert any("tensorrt-llm" in path for path in other.requests)


def test_a_hash_that_only_another_index_than_its_own_has_is_foreign(
    own: LockFile, index: IndexContent, backends: Backends
) -> None:
    foreign = index.add("tensorrt-llm", "1.3.0", tag="py2-none-any")  # another file of that name and version
    file = backends.folder / own.path
    text = file.read_text(encoding="utf-8")
    (right,) = (package.hashes[0] for package in requirements.read(text) if package.name == "tensorrt-llm")
    file.write_text(text.replace(right, f"sha256:{foreign}"), encoding="utf-8")
    with pytest.raises(CheckFailedError, match=r"the index does not state the hashes of tensorrt-llm==1\.3\.0"):
        python_verify.verify_locks([own], backends.folder)
