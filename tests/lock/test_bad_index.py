"""Messages about bad indexes and requirements; existing locks are kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import INTERRUPTED, TERMINATED, DownloadError, LockError
from dynamo_containers.facts.catalogue import ROOT
from tests.lock.conftest import JSON, IndexContent, answer, interrupted, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    from tests.lock.conftest import ToolsProject

OLD_LOCK = b"alpha==0.9 --hash=sha256:" + b"a" * 64 + b"\n"
HALF = b'{"meta": {"api-version": "1.1"}, "files": [{"filename": "alpha-1.0-py3-no'


def test_a_requirement_that_cannot_be_met_is_named_with_what_forbids_it_and_the_target(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", requires=("gamma<2",))
    index.add("beta", "1.0", requires=("gamma>=2",))
    index.add("gamma", "1.0")
    index.add("gamma", "2.0")
    project.require("alpha", "beta")
    with pytest.raises(LockError) as caught:
        project.make()
    message = str(caught.value)
    assert "alpha 1.0 depends on gamma<2" in message
    assert "beta 1.0 depends on gamma>=2" in message
    assert "for any linux/amd64, Python 3.11, glibc 2.28" in message


def test_a_package_that_the_index_does_not_have_is_named(index: IndexContent, project: ToolsProject) -> None:
    project.require("no-such-package>=3")
    with pytest.raises(LockError, match="No matching distribution found for no-such-package>=3"):
        project.make()
    assert index.requests == ["/simple/no-such-package/"]


def test_a_file_that_is_not_what_its_index_says_is_refused(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0", hashes={"sha256": "a" * 64})
    project.require("alpha")
    with pytest.raises(LockError, match=f"(?i)alpha(.|\\n)*expected sha256 {'a' * 64}"):
        project.make()
    assert not project.path.exists()


@pytest.mark.parametrize(
    ("page", "complaint", "times"),
    [
        pytest.param(lambda to: answer(to, HALF), "not valid JSON", 3, id="half a page"),
        pytest.param(lambda to: answer(to, HALF, more=99), "IncompleteRead", 3, id="a broken connection"),
        pytest.param(lambda to: answer(to, b"", JSON, 500), "too many 500 error responses", 2, id="a broken server"),
        pytest.param(lambda _: time.sleep(1.5), "[Tt]ime", 2, id="no answer in time"),
    ],
)
def test_an_index_that_gives_no_whole_page_is_asked_again_and_then_named(
    index: IndexContent,
    project: ToolsProject,
    page: Callable[[BaseHTTPRequestHandler], None],
    complaint: str,
    times: int,
) -> None:
    index.instead["alpha"] = page
    project.require("alpha")
    with pytest.raises(DownloadError) as caught:
        project.make()
    assert caught.match(f"unusable page for alpha: {index.address}alpha/\\n(.|\\n)*{complaint}")
    assert "No matching distribution" not in str(caught.value)
    assert index.requests.count("/simple/alpha/") == times


def test_a_page_that_comes_whole_the_second_time_is_taken(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")

    def once(to: BaseHTTPRequestHandler) -> None:
        del index.instead["alpha"]
        answer(to, HALF)

    index.instead["alpha"] = once
    project.require("alpha")
    project.make()
    assert project.pins() == ["alpha==1.0"]


def test_a_yanked_release_is_not_chosen_and_a_pin_to_one_is_reported(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0")
    index.add("alpha", "1.1", yanked="loses data")
    project.require("alpha")
    assert project.update().warnings == ()
    assert project.pins() == ["alpha==1.0"]
    index.pages["alpha"][0]["yanked"] = "also loses data"
    index.add("beta", "1.0")
    project.require("alpha", "beta")
    assert project.update().warnings == (
        "constraints/tools.txt: alpha==1.0 was yanked: also loses data. Move it with: invoke lock --upgrade alpha",
    )
    assert project.pins() == ["alpha==1.0", "beta==1.0"]


# What pip only warns of


def test_an_extra_that_does_not_exist_is_an_error_with_those_that_there_are(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", extras=("standard", "fast"))
    project.require("# why", "Alpha[standart,fast]")
    with pytest.raises(LockError) as caught:
        project.make()
    assert (
        'alpha==1.0 has no extra "standart" (-r requirements/tools.in (line 2)). It has: fast, standard. '
        "Did you mean standard?"
    ) in str(caught.value)
    assert not project.path.exists()
    index.add("beta", "1.0")
    project.require("beta[any]")
    with pytest.raises(LockError, match=r'beta==1\.0 has no extra "any" \(\S+ \S+ \(line 1\)\)\. It has no extras\.'):
        project.make()


def test_an_extra_that_exists_in_another_spelling_is_taken(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0", extras=("Very_Fast",), requires=('beta; extra == "Very_Fast"',))
    index.add("beta", "1.0")
    project.require("alpha[very.fast]")
    assert project.update().warnings == ()
    assert project.pins() == ["alpha==1.0", "beta==1.0"]


def test_an_extra_that_another_package_requires_in_vain_is_in_the_report(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", requires=("beta[gone]",))
    index.add("beta", "1.0")
    project.require("alpha")
    assert project.update().warnings == (
        'constraints/tools.txt: beta==1.0 has no extra "gone" (alpha==1.0 requires beta[gone]). It has no extras.',
    )


def test_only_packages_that_are_locked_are_reported_for_their_extras(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", extras=("fast",))
    index.add("alpha", "2.0", requires=("beta>=2",))  # it is tried first, and has no such extra
    index.add("beta", "1.0")
    project.require("alpha[fast]", "beta")
    assert project.update().warnings == ()
    assert project.pins() == ["alpha==1.0", "beta==1.0"]


def test_a_release_with_invalid_metadata_is_passed_over_and_in_the_report(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0")
    index.add("alpha", "2.0", requires=("beta >> 1",))
    project.require("alpha")
    (warning,) = project.update().warnings
    assert warning.startswith("constraints/tools.txt: Ignoring version 2.0 of alpha since it has invalid metadata")
    assert project.pins() == ["alpha==1.0"]


def test_a_second_index_in_pips_settings_is_never_asked(
    index: IndexContent, project: ToolsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = IndexContent()
    server = serve(other)
    other.add("alpha", "9.0")
    index.add("alpha", "1.0")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", other.address)
    project.require("alpha")
    project.make()
    server.shutdown()
    server.server_close()
    assert project.pins() == ["alpha==1.0"]
    assert other.requests == []


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_an_interrupted_run_leaves_the_old_lock_byte_for_byte(
    index: IndexContent, project: ToolsProject, number: signal.Signals, exit_code: int
) -> None:
    project.require("alpha")
    project.path.parent.mkdir()
    project.path.write_bytes(OLD_LOCK)
    arguments = ("dynamo_containers.lock.python.compile", "--folder", str(project.catalogue.folder), project.lock.path)
    code, complaints = interrupted(index, "alpha", *arguments, number=number)
    assert code == exit_code
    assert "Traceback" not in complaints
    assert [path.name for path in project.path.parent.iterdir()] == ["tools.txt"]
    assert project.path.read_bytes() == OLD_LOCK


@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="util-linux is what asks the kernel for it")
def test_a_process_whose_command_was_killed_makes_no_lock(index: IndexContent, project: ToolsProject) -> None:
    project.require("alpha")
    requested, over = threading.Event(), threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> None:
        requested.set()
        over.wait(10)

    index.instead["alpha"] = wait
    compile_lock = (sys.executable, "-m", "dynamo_containers.lock.python.compile", project.lock.path)
    argv = (*compile_lock, "--folder", str(project.catalogue.folder))
    code = f"from dynamo_containers.process import Command, run\nrun(Command(argv={argv!r}))"
    with subprocess.Popen((sys.executable, "-c", code), cwd=ROOT, stderr=subprocess.PIPE) as command:
        assert requested.wait(20)
        command.kill()
        command.communicate(timeout=20)  # until the child process has closed its standard error too
    over.set()
    assert not project.path.exists()
