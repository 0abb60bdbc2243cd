"""Locks of OS packages: what they say, when they are refused, and what drift looks like."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.bases import Root
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_lock import Drift, OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

BASH = Package(
    name="bash",
    version="5.2.15-2",
    architecture="amd64",
    archive="debian",
    path="pool/main/b/bash/bash_5.2.15-2_amd64.deb",
    size=1490652,
    sha256="b" * 64,
)
LOGIN = Package(
    name="login",
    version="1:4.13+dfsg1",
    architecture="amd64",
    archive="debian-security",
    path="pool/updates/main/l/login/login_4.13+dfsg1_amd64.deb",
    size=617984,
    sha256="c" * 64,
)
INPUTS = "a1450f2e8b98b12ef4d3c8bd971f13f1435c85945aad8232ec6f8dd5c0979172"
TEXT = f"""\
# This file is made by `invoke lock` (invoke lock --only os).
# packages: 2
# inputs: sha256:{INPUTS}
bash 5.2.15-2 amd64 debian pool/main/b/bash/bash_5.2.15-2_amd64.deb 1490652 sha256:{"b" * 64}
login 1:4.13+dfsg1 amd64 debian-security pool/updates/main/l/login/login_4.13+dfsg1_amd64.deb 617984 sha256:{"c" * 64}
"""
HEAD = "a 1 amd64 debian"
SHA256 = f"sha256:{'a' * 64}"


@pytest.fixture
def lock(catalogue: Catalogue) -> OsLock:
    return OsLock(bases=catalogue.bases["debian"], role="runtime", platform=Platform.AMD64)


def with_root(lock: OsLock, root: Root) -> OsLock:
    return replace(lock, bases=replace(lock.bases, roots={lock.role: root}))


def test_a_lock_is_one_line_a_package_sorted_by_name(lock: OsLock) -> None:
    assert lock.file == "constraints/os-debian-runtime-amd64.txt"
    assert os_lock.render(lock, (LOGIN, BASH)) == TEXT


def test_a_lock_is_read_as_it_was_written(lock: OsLock) -> None:
    assert os_lock.parse(lock, TEXT) == (BASH, LOGIN)


@pytest.mark.parametrize(
    "root",
    [
        pytest.param(Root(suite="trixie", packages=("python3",)), id="another suite"),
        pytest.param(Root(suite="bookworm", packages=("python3", "bash")), id="one more package"),
    ],
)
def test_a_lock_made_from_another_row_is_stale(lock: OsLock, root: Root) -> None:
    with pytest.raises(LockError) as caught:
        os_lock.parse(with_root(lock, root), TEXT)
    assert str(caught.value) == (
        "constraints/os-debian-runtime-amd64.txt is stale: "
        "bases.debian.roots.runtime of containers/images.toml changed since it was written.\n"
        "Update it with: invoke lock --only os"
    )


def test_the_order_of_packages_in_the_row_does_not_matter(lock: OsLock) -> None:
    changed = with_root(lock, Root(suite="bookworm", packages=("a", "b")))
    other = with_root(lock, Root(suite="bookworm", packages=("b", "a")))
    assert changed.inputs == other.inputs


def test_a_lock_for_another_platform_is_stale(lock: OsLock) -> None:
    with pytest.raises(LockError, match=r"os-debian-runtime-arm64\.txt is stale"):
        os_lock.parse(replace(lock, platform=Platform.ARM64), TEXT)


FAULTS = {
    "too short": ("bash 5.2.15-2", "line 5 is not a package: 'bash 5.2.15-2'"),
    "left by a merge": ("<<<<<<< HEAD", "line 5 is not a package: '<<<<<<< HEAD'"),
    "an empty line": ("", "line 5 is not a package: ''"),
    "no sha256": (f"{HEAD} pool/a.deb 1 md5:{'b' * 32}", "line 5 is not a package: "),
    "a sha256 that is a path": (f"{HEAD} pool/a.deb 1 sha256:../../x", "line 5: sha256: found '../../x'"),
    "size is no number": (f"{HEAD} pool/a.deb many {SHA256}", "line 5: found 'many', allowed is a number of bytes"),
    "negative size": (f"{HEAD} pool/a.deb -1 {SHA256}", "line 5: found '-1'"),
    "size of no file": (f"{HEAD} pool/a.deb {10**30} {SHA256}", f"line 5: found '{10**30}'"),
    "a path above the archive": (f"{HEAD} pool/../../a 1 {SHA256}", "line 5: path: found 'pool/../../a'"),
    "an absolute path": (f"{HEAD} /etc/shadow 1 {SHA256}", "line 5: path: found '/etc/shadow'"),
    "another platform": (f"a 1 arm64 debian a.deb 1 {SHA256}", "line 5: architecture: found 'arm64', allowed is amd64"),
    "a name that is an option": (f"--x 1 amd64 debian a.deb 1 {SHA256}", "line 5: name: found '--x'"),
    "a version of a shell": (f"a $(id) amd64 debian a.deb 1 {SHA256}", "line 5: version: found '$(id)'"),
    "a tab": (f"a\t1 amd64 debian a.deb 1 {SHA256}", "line 5 is not a package: "),
    "a package twice": (f"login 2 amd64 debian b.deb 1 {SHA256}", "locks login more than once"),
    "one more package": (
        f"zsh 2 amd64 debian b.deb 1 {SHA256}",
        "it has 3 packages, and states '2'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_line_that_is_no_package_is_refused_by_its_number(name: str, lock: OsLock) -> None:
    line, reason = FAULTS[name]
    *head, last = TEXT.splitlines()
    with pytest.raises(LockError) as caught:
        os_lock.parse(lock, "\n".join((*head, line, last, "")))
    first, remedy = str(caught.value).splitlines()
    assert first.startswith(("constraints/os-debian-runtime-amd64.txt: ", "constraints/os-debian-runtime-amd64.txt "))
    assert reason in first
    assert remedy == "Update it with: invoke lock --only os"


@pytest.mark.parametrize("lines", range(6))
def test_a_lock_that_is_cut_at_the_end_of_a_line_is_refused(lines: int, lock: OsLock) -> None:
    cut = "".join(TEXT.splitlines(keepends=True)[:lines])
    if cut == TEXT:
        assert os_lock.parse(lock, cut)
        return
    with pytest.raises(LockError, match=r"(was cut|is stale).*\n.*invoke lock --only os"):
        os_lock.parse(lock, cut)


def test_a_lock_without_the_number_of_its_packages_is_refused(lock: OsLock) -> None:
    with pytest.raises(LockError, match="it has 2 packages, and has no line `# packages:`"):
        os_lock.parse(lock, TEXT.replace("# packages: 2\n", ""))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("# locked: 99990101T000000Z", os_lock.locked_at),
        ("# locked: yesterday", os_lock.locked_at),
        ("# on: sha256:1", os_lock.root_digest),
        ("# on: ../../x", os_lock.root_digest),
    ],
)
def test_a_header_of_another_type_is_refused(
    line: str, read: Callable[[OsLock, Path], str], lock: OsLock, catalogue: Catalogue
) -> None:
    text = TEXT.replace("bash", f"{line}\nbash", 1)
    process.write(process.Document(path=catalogue.folder / lock.file, text=text))
    with pytest.raises(LockError, match=r"^constraints/os-.*\.txt: # (locked|on): found '.*', allowed"):
        read(lock, catalogue.folder)


@pytest.mark.parametrize("content", [b"\xff", "a".encode("utf-16"), b"\0"])
def test_a_lock_that_is_no_text_is_refused_and_made_again(content: bytes, lock: OsLock, catalogue: Catalogue) -> None:
    (catalogue.folder / lock.file).parent.mkdir()
    (catalogue.folder / lock.file).write_bytes(content)
    with pytest.raises(LockError, match=r"is (not UTF-8|UTF-16) text.*\n.*invoke lock --only os"):
        os_lock.read(lock, catalogue.folder)
    assert os_lock.read_valid_lines(lock, catalogue.folder) == ()


def test_a_folder_in_place_of_a_lock_is_not_taken_for_a_lock_to_come(lock: OsLock, catalogue: Catalogue) -> None:
    (catalogue.folder / lock.file).mkdir(parents=True)
    assert not os_lock.never_locked(lock, catalogue.folder)
    with pytest.raises(LockError, match="is a folder, not a file"):
        os_lock.read(lock, catalogue.folder)


def test_a_missing_lock_says_how_to_make_it(lock: OsLock, catalogue: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        os_lock.read(lock, catalogue.folder)
    assert str(caught.value) == (
        "constraints/os-debian-runtime-amd64.txt is missing.\nUpdate it with: invoke lock --only os"
    )


def test_a_written_lock_is_read_back(lock: OsLock, catalogue: Catalogue) -> None:
    write_lock(lock, catalogue.folder, (BASH, LOGIN))
    assert os_lock.read(lock, catalogue.folder) == (BASH, LOGIN)


def test_a_lock_that_says_when_it_was_made_is_read_as_any_other(lock: OsLock, catalogue: Catalogue) -> None:
    write_lock(lock, catalogue.folder, (BASH, LOGIN), "20231114T221320Z")
    lines = (catalogue.folder / lock.file).read_text(encoding="utf-8").splitlines()
    assert lines[3] == "# locked: 20231114T221320Z"
    assert os_lock.read(lock, catalogue.folder) == (BASH, LOGIN)
    assert os_lock.locked_at(lock, catalogue.folder) == "20231114T221320Z"


def test_what_a_new_lock_is_compared_with_is_what_can_be_read_of_the_old_one(
    lock: OsLock, catalogue: Catalogue
) -> None:
    assert os_lock.read_valid_lines(lock, catalogue.folder) == ()
    process.write(process.Document(path=catalogue.folder / lock.file, text=f"{TEXT}<<<<<<< HEAD\n"))
    assert os_lock.read_valid_lines(lock, catalogue.folder) == (BASH, LOGIN)


def test_drift_is_what_has_another_version_came_or_went() -> None:
    newer = replace(BASH, version="5.2.15-3")
    dash = replace(BASH, name="dash", version="0.5.12-2")
    assert os_lock.drifts((BASH, LOGIN), (BASH, LOGIN)) == ()
    assert os_lock.drifts((BASH, LOGIN), (newer, dash)) == (
        Drift(name="bash", locked="5.2.15-2", used="5.2.15-3"),
        Drift(name="dash", locked="", used="0.5.12-2"),
        Drift(name="login", locked="1:4.13+dfsg1", used=""),
    )


def test_the_table_of_drift_is_aligned_and_ends_with_what_to_run() -> None:
    rows = (Drift(name="bash", locked="5.2-2", used="5.2-3"), Drift(name="libc6", locked="2.36-9", used=""))
    head, *lines, last = os_lock.drift_table("the debian bases", rows).splitlines()
    assert head.startswith("DRIFTED: the debian bases ")
    assert lines == ["  bash   5.2-2 -> 5.2-3", "  libc6  2.36-9 -> (none)"]
    assert last == "The image is labelled ai.dynamo.drift. Lock the current versions: invoke lock"
