"""Wrapper `with-tools`: when it installs the tools, what it prints, and how it fails; a stand-in takes pip's place."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamo_containers.facts.catalogue import ROOT
from tests.unit import terminal

pytestmark = pytest.mark.cli

PYTHON = """#!/bin/sh
case "$*" in
*ensurepip*) exit 0 ;;
"-m venv --clear"*)
    rm -rf "$4"
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python.real"
    ln -s python.real "$4/bin/python"
    printf '#!%s\\nimport sys\\n%s\\n' "$REAL_PYTHON" "$SLOW_IMPORT" >"$4/bin/invoke"
    chmod +x "$4/bin/invoke"
    ;;
"-m pip install"*)
    echo "Collecting invoke==1"
    echo $$ >"$(dirname "$0")/pip.pid"
    sleep "${COLLECTING:-0}"
    echo "Collecting nox==2"
    echo "Installing collected packages: invoke, nox"
    sleep "${INSTALLING:-0}"
    [ -z "${BROKEN:-}" ] || { echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" >&2; exit 2; }
    ;;
esac
"""
LOCK = "invoke==1 \\\n    --hash=sha256:1\nnox==2 \\\n    --hash=sha256:2\n    # via a\n"
FIRST = "Installing 2 tools from constraints/tools.txt into .venv (once, about a minute) ..."
LAST = re.compile(r"Installed 2 tools in \d+ s")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "with-tools", tmp_path)
    (tmp_path / "constraints").mkdir()
    (tmp_path / "constraints/tools.txt").write_text(LOCK, encoding="utf-8")
    python = tmp_path / "python-stand-in"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def environment(checkout: Path, **variables: str) -> dict[str, str]:
    slow = "open('importing', 'w'); import time; time.sleep(60)"
    own = {"PYTHON": str(checkout / "python-stand-in"), "REAL_PYTHON": sys.executable, "SLOW_IMPORT": slow}
    return {"PATH": "/usr/bin:/bin", **own, **variables}


def run(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "with-tools", "echo", "result"],
        env=environment(checkout, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def at_terminal(checkout: Path, interrupt_at: str = "", **variables: str) -> terminal.Session:
    return terminal.run(
        (str(checkout / "with-tools"), "echo", "result"),
        columns=40,
        interrupt_at=interrupt_at,
        environment=environment(checkout, **variables),
    )


def test_tools_are_installed_once_and_standard_output_is_that_of_the_command(checkout: Path) -> None:
    installed = run(checkout)
    first, last = installed.stderr.splitlines()
    assert (installed.returncode, installed.stdout, first) == (0, "result\n", FIRST)
    assert LAST.fullmatch(last)
    again = run(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "result\n", "")


def test_tools_are_installed_again_when_the_lock_changed(checkout: Path) -> None:
    run(checkout)
    (checkout / "constraints/tools.txt").write_text(LOCK.replace("==2", "==3"), encoding="utf-8")
    assert run(checkout).stderr.startswith(FIRST)


def test_tools_are_installed_again_when_the_python_of_the_environment_is_gone(checkout: Path) -> None:
    run(checkout)
    (checkout / ".venv/bin/python.real").unlink()
    assert (checkout / ".venv/bin/python").is_symlink()
    assert run(checkout).stderr.startswith(FIRST)
    assert (checkout / ".venv/bin/python").exists()


def test_a_terminal_shows_in_one_line_what_is_fetched_and_then_installed(checkout: Path) -> None:
    session = at_terminal(checkout, COLLECTING="1.6", INSTALLING="1.6")
    lines = {frame[-1] for frame in session.frames if frame}
    assert any(re.fullmatch(r"  fetching 1 of 2 tools, \d+ s", line) for line in lines)
    assert any(re.fullmatch(r"  installing 2 tools, \d+ s", line) for line in lines)
    *_, last, result = session.screen.lines
    assert LAST.fullmatch(last)
    assert (result, session.returncode) == ("result", 0)


def test_a_dumb_terminal_gets_no_line_in_place(checkout: Path) -> None:
    session = at_terminal(checkout, TERM="dumb", COLLECTING="1.2")
    assert "fetching" not in session.output
    assert LAST.search(session.output)


def test_ctrl_c_ends_it_and_the_next_run_installs_again(checkout: Path) -> None:
    session = at_terminal(checkout, interrupt_at="fetching 1 of 2 tools", COLLECTING="20")
    assert session.returncode == 130
    assert not any("fetching" in line for line in session.screen.lines)
    assert run(checkout).stderr.startswith(FIRST)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_pip_too(checkout: Path, number: signal.Signals, code: int) -> None:
    argv = ("env", "--default-signal=INT,TERM,HUP", checkout / "with-tools", "echo", "result")
    with subprocess.Popen(argv, env=environment(checkout, COLLECTING="60"), cwd=checkout, text=True) as program:
        pip = wait_for(checkout / ".venv/bin/pip.pid").read_text(encoding="ascii").strip()
        program.send_signal(number)
        assert program.wait(20) == code
    assert not Path("/proc", pip).exists()
    assert run(checkout).stderr.startswith(FIRST)


def test_ctrl_c_while_invoke_is_imported_is_no_traceback(checkout: Path) -> None:
    run(checkout)
    argv = ("env", "--default-signal=INT", checkout / ".venv/bin/invoke")
    with subprocess.Popen(argv, cwd=checkout, stderr=subprocess.PIPE, text=True) as program:
        wait_for(checkout / "importing")
        program.send_signal(signal.SIGINT)
        _, complaints = program.communicate(timeout=20)
    assert (program.returncode, complaints) == (-signal.SIGINT, "")


def test_invoke_of_tools_that_were_installed_before_starts_quietly_as_well(checkout: Path) -> None:
    run(checkout)
    script = (checkout / ".venv/bin/invoke").read_text(encoding="utf-8")
    (checkout / ".venv/starts-quietly").unlink()
    assert run(checkout).stderr == ""
    assert (checkout / ".venv/bin/invoke").read_text(encoding="utf-8") == script
    assert script.count("_signal.SIG_DFL") == 1


def wait_for(file: Path) -> Path:
    deadline = time.monotonic() + 20
    while not (file.exists() and (file.stat().st_size or file.suffix != ".pid")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return file


def test_a_failure_of_pip_is_its_message_and_exit_code(checkout: Path) -> None:
    failed = run(checkout, BROKEN="yes")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[1:] == ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"]
    assert failed.stdout == ""
    assert run(checkout).stderr.startswith(FIRST)


def test_a_python_that_is_too_old_or_missing_is_named(checkout: Path) -> None:
    failed = run(checkout, PYTHON="no-such-python")
    assert failed.returncode == 9
    assert failed.stderr.startswith("error: no-such-python is not Python 3.11 or newer with venv.\n")
