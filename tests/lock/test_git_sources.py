"""Commits of a real repository: the commit of a name, names that move, and unreachable repositories."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.bases import GitSource
from dynamo_containers.facts.pins import CommitPin
from dynamo_containers.lock import git_sources
from dynamo_containers.process import Command

if TYPE_CHECKING:
    from dynamo_containers.upstream.unreachable import RefreshResult


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository in a folder, with a file: address."""

    folder: Path

    @property
    def address(self) -> str:
        return self.folder.as_uri()

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid", "-c", "tag.gpgSign=false")
        argv = ("git", "-C", str(self.folder), *identity, *arguments)
        return process.capture(Command(argv=argv, env={"GIT_CONFIG_GLOBAL": "/dev/null"})).strip()

    def commit(self, content: str) -> str:
        """Add a commit and return its hash."""
        self.git("commit", "--quiet", "--allow-empty", "--message", content)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    repository = Repository(folder=folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    return repository


def ask(
    address: str, ref: str, pin: CommitPin | None = None, *, upgrade_all: bool = False, seconds: float = 8
) -> RefreshResult[str, CommitPin]:
    old = {"dynamo": pin} if pin else {}
    sources = {"dynamo": GitSource(git=address, ref=ref)}
    return git_sources.pin_sources(sources, old, upgrade_all=upgrade_all, seconds=seconds)


def test_a_tag_is_pinned_to_the_commit_that_it_points_at(repository: Repository) -> None:
    commit = repository.commit("one")
    repository.git("tag", "--annotate", "--message", "a release", "v1")
    assert repository.git("rev-parse", "v1") != commit
    outcome = ask(repository.address, "v1")
    assert outcome.pins == {"dynamo": CommitPin(ref="v1", commit=commit)}
    assert outcome.messages == (f"sources.dynamo: v1 of {repository.address} is pinned to {commit}",)


def test_a_tag_without_words_and_a_branch_are_their_commits(repository: Repository) -> None:
    commit = repository.commit("one")
    repository.git("tag", "v1")
    assert [ask(repository.address, ref).pins["dynamo"].commit for ref in ("v1", "main")] == [commit, commit]


def test_a_tag_is_taken_before_a_branch_of_its_name_and_no_longer_name_is(repository: Repository) -> None:
    commit = repository.commit("one")
    repository.git("tag", "v1")
    repository.git("branch", "fix/v1")
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit("two")
    repository.git("update-ref", "refs/heads/v1", "HEAD")
    repository.git("update-ref", "refs/heads/fix/v1", "HEAD")
    assert ask(repository.address, "v1").pins["dynamo"].commit == commit


def test_a_name_that_moved_on_is_said_and_taken_only_with_an_upgrade(repository: Repository) -> None:
    pin = CommitPin(ref="main", commit=repository.commit("one"))
    newer = repository.commit("two")
    outcome = ask(repository.address, "main", pin)
    assert outcome.pins == {"dynamo": pin}
    assert outcome.messages == (
        f"{repository.address}: main is now {newer}; upgrade with: invoke lock --only archives --upgrade-all",
    )
    assert ask(repository.address, "main", pin, upgrade_all=True).pins["dynamo"].commit == newer
    other = CommitPin(ref="v1", commit=pin.commit)
    assert ask(repository.address, "main", other).pins["dynamo"].commit == newer


def test_a_name_that_did_not_move_says_nothing(repository: Repository) -> None:
    pin = CommitPin(ref="main", commit=repository.commit("one"))
    assert ask(repository.address, "main", pin, upgrade_all=True).messages == ()


def test_no_such_name_and_no_such_repository_are_errors(repository: Repository, tmp_path: Path) -> None:
    repository.commit("one")
    with pytest.raises(LockError, match=r"^sources\.dynamo: file://.*/repository does not have a tag or branch v9\."):
        ask(repository.address, "v9")
    with pytest.raises(LockError, match=r"^sources\.dynamo: the repository file://.*/nothing does not exist\."):
        ask((tmp_path / "nothing").as_uri(), "v1")


def test_a_server_that_refuses_leaves_the_old_pin() -> None:
    pin = CommitPin(ref="v1", commit="c" * 40)
    for old, old_text in ((pin, "the old pin cccccccccccc of v1"), (None, "not locked")):
        outcome = ask("http://127.0.0.1:1/dynamo", "v2", old)
        assert outcome.pins == ({"dynamo": old} if old else {})
        (row,) = outcome.unreachable
        assert (row.name, row.address, row.pinned) == ("sources.dynamo", "http://127.0.0.1:1/dynamo", old_text)
        assert row.reason.startswith("unable to access 'http://127.0.0.1:1/dynamo/': ")


def test_a_server_that_says_nothing_is_left_with_all_that_git_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/dynamo"
        start = time.monotonic()
        (row,) = ask(address, "v1", seconds=1).unreachable
        assert time.monotonic() - start < 4
        assert row.reason == "no answer within 1 s"
        deadline = time.monotonic() + 2
        while asking(address) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asking(address) == []


def asking(address: str) -> list[str]:
    """Return the processes with an address in their command line."""
    processes = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it ended meanwhile
                continue
            processes += [folder.name] if address in arguments else []
    return processes
