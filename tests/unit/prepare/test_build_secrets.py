"""Tests of the secrets of a build: where they come from, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import run as build_run
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import build_secrets, inputs

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "https://me:secret@index.example.invalid/simple"
ENVIRONMENT = {"PIP_INDEX_URL": ADDRESS}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Return the path of the file of the index address; a folder that everyone may read exists already."""
    folder = tmp_path / ".build/secrets"
    folder.mkdir(parents=True, mode=0o755)
    return folder / "index"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home and a Python prefix that are empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    (tmp_path / "prefix").mkdir()
    return folder


def pip_file(path: Path, address: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[global]\ntimeout = 60\nindex-url = {address}\n", encoding="utf-8")
    return path


def test_the_index_is_the_one_that_pip_uses(home: Path, tmp_path: Path) -> None:
    pip_file(home / ".pip/pip.conf", "https://legacy.example.invalid/simple")
    assert build_secrets.index_address({}) == "https://legacy.example.invalid/simple"
    pip_file(home / ".config/pip/pip.conf", "https://user.example.invalid/simple")
    assert build_secrets.index_address({}) == "https://user.example.invalid/simple"
    pip_file(tmp_path / "prefix/pip.conf", "https://site.example.invalid/simple")
    assert build_secrets.index_address({}) == "https://site.example.invalid/simple"
    named = pip_file(tmp_path / "named.conf", "https://named.example.invalid/100%25/simple")
    environment = {"PIP_CONFIG_FILE": str(named)}
    assert build_secrets.index_address(environment) == "https://named.example.invalid/100%25/simple"
    environment["PIP_INDEX_URL"] = "https://variable.example.invalid/simple"
    assert build_secrets.index_address(environment) == "https://variable.example.invalid/simple"


def test_the_secrets_are_the_files_of_the_machine(home: Path, tmp_path: Path) -> None:
    certificates = tmp_path / "certificates.crt"
    certificates.touch()
    (home / ".netrc").touch()
    environment = {
        "SSL_CERT_FILE": str(certificates),
        "PIP_INDEX_URL": "https://me:secret@index.example.invalid/simple",
    }
    index = tmp_path / ".build/secrets/index"
    assert build_secrets.secrets(tmp_path, environment) == (
        f"id=ca,src={certificates}",
        f"id=netrc,src={home}/.netrc",
        f"id=index,src={index}",
    )
    assert not index.exists()


@pytest.mark.usefixtures("home")
def test_a_file_that_does_not_exist_is_not_a_secret(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nothing")
    pip_file(tmp_path / "prefix/pip.conf", "")
    assert build_secrets.secrets(tmp_path, {"SSL_CERT_FILE": nowhere, "NETRC": nowhere}) == ()


def permissions(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_file_of_the_index_exists_only_while_bake_runs_and_only_for_its_owner(tmp_path: Path, index: Path) -> None:
    with build_secrets.index_file(tmp_path, ENVIRONMENT):
        assert index.read_text(encoding="utf-8") == ADDRESS
        assert (permissions(index), permissions(index.parent)) == (0o600, 0o700)
    assert [path.name for path in index.parent.iterdir()] == ["lock"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_build_that_fails_removes_the_file_of_the_index(
    own_checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: type[BaseException],
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", ADDRESS)
    request = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    file = own_checkout / ".build/secrets/index"

    def fail() -> None:
        assert file.read_text(encoding="utf-8") == ADDRESS
        raise failure

    with pytest.raises(failure), build_run._exclusive((request,), dry_run=False):
        fail()
    assert not file.exists()
    with build_run._exclusive((request,), dry_run=True):
        assert not file.exists()
    inputs.build_inputs(request, dry_run=True)
    assert f"# first: the address of this machine's Python index in {file}\n" in capsys.readouterr().err


WAITING = """
import os, sys, time
from pathlib import Path
from dynamo_containers import signals
from dynamo_containers.prepare import build_secrets
signals.install()
with signals.interruptible(), build_secrets.index_file(Path(sys.argv[1]), os.environ):
    print("ready", flush=True)
    time.sleep(60)
"""


def waiting(folder: Path) -> subprocess.Popen[str]:
    """Start a build that uses the index for a minute."""
    argv = ("env", "--default-signal=INT,TERM,HUP", sys.executable, "-c", WAITING, str(folder))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_removes_the_file_of_the_index(tmp_path: Path, index: Path, number: signal.Signals) -> None:
    with waiting(tmp_path) as build:
        assert index.exists()
        build.send_signal(number)
        build.wait(10)
    assert not index.exists()


def test_of_two_builds_the_last_one_removes_the_file_of_the_index(tmp_path: Path, index: Path) -> None:
    with waiting(tmp_path) as other:
        with build_secrets.index_file(tmp_path, ENVIRONMENT):
            pass
        assert index.read_text(encoding="utf-8") == ADDRESS
        assert not build_secrets.remove_left(tmp_path)
        other.send_signal(signal.SIGINT)
    assert not index.exists()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("by", ["a build without an index", "invoke clean"])
def test_what_a_killed_build_left_is_removed(tmp_path: Path, index: Path, by: str) -> None:
    with waiting(tmp_path) as build:
        build.kill()
    half = index.with_name(".index.abc")
    half.write_text(ADDRESS, encoding="utf-8")
    assert index.exists()
    if by == "invoke clean":
        assert build_secrets.remove_left(tmp_path)
        assert not build_secrets.remove_left(tmp_path)
    else:
        with build_secrets.index_file(tmp_path, {}):
            assert index.exists()  # it is removed at the end of the build, as its own would be
    assert not index.exists()
    assert not half.exists()


@pytest.mark.usefixtures("home")
def test_a_machine_without_an_index_gets_no_folder_of_secrets(tmp_path: Path) -> None:
    with build_secrets.index_file(tmp_path, {}):
        pass
    assert not (tmp_path / ".build").exists()
