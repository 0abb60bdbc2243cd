"""Signals: a command ends with one message, its code, and without a child process, whoever sends the signal when."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import errors, signals
from dynamo_containers.facts.catalogue import ROOT
from tests.unit import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 30
PRELUDE = """
import sys
from dynamo_containers import signals
signals.install()
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from dynamo_containers.invoke_program import messages
from dynamo_containers.process import Command, query, run, run_parallel
from invoke.exceptions import Exit
folder = Path(sys.argv[1])
def sleep(name, trap=""):
    script = f"{trap}\\ncd {folder}; echo $$ >{name}.new; mv {name}.new {name}; exec sleep 60"
    return Command(argv=("sh", "-c", script))
def mark(name):
    (folder / "new").write_text("0")
    (folder / "new").rename(folder / name)
def task(work):
    try:
        with messages():
            work()
    except Exit as end:
        print(end.message, file=sys.stderr)
        sys.exit(end.code)
"""
WORK = {
    "a command": 'task(lambda: run(sleep("1")))',
    "a query": 'task(lambda: query(sleep("1")))',
    "parallel commands": 'task(lambda: run_parallel({"a": sleep("1"), "b": sleep("2")}))',
    "queries of threads": """
def work():
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(query, [sleep("1"), sleep("2"), sleep("3")]))
task(work)
""",
}


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    """Start Python code with this library in a process group of its own."""
    argv = ("env", "--default-signal=INT,TERM,HUP", sys.executable, "-c", PRELUDE + code, str(folder))
    return subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, process_group=0)


def eventually(happens: Callable[[], object]) -> bool:
    """Return whether something happens within the time of a test."""
    deadline = time.monotonic() + SECONDS
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(happens())


def is_running(process: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(folder: Path, count: int) -> list[int]:
    """Return the process ids that the commands wrote."""
    assert eventually(lambda: len([file for file in folder.iterdir() if file.name.isdigit()]) == count)
    return [int(file.read_text(encoding="utf-8")) for file in folder.iterdir() if file.name.isdigit()]


@pytest.mark.parametrize("number", signals.ENDINGS, ids=lambda number: number.name)
@pytest.mark.parametrize("work", WORK)
def test_a_signal_ends_a_command_and_its_children_with_one_message_and_its_code(
    tmp_path: Path, work: str, number: signal.Signals
) -> None:
    with start(tmp_path, WORK[work]) as program:
        processes = children(tmp_path, 1 if work.startswith("a ") else 2)
        program.send_signal(number)
        _, complaints = program.communicate(timeout=SECONDS)
    assert program.returncode == 128 + number
    assert complaints.splitlines()[-1] == signals.ENDINGS[number].message
    assert complaints.count("nothing half-made") == 1
    assert "Traceback" not in complaints
    assert [process for process in processes if is_running(process)] == []
    assert not (tmp_path / "3").exists(), "a thread started another command after the signal"


@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="util-linux is what asks the kernel for it")
@pytest.mark.parametrize("work", WORK)
def test_children_end_with_a_command_that_is_killed(tmp_path: Path, work: str) -> None:
    with start(tmp_path, WORK[work]) as program:
        processes = children(tmp_path, 1 if work.startswith("a ") else 2)
        program.kill()
        program.wait(SECONDS)
    assert eventually(lambda: not any(map(is_running, processes)))


@pytest.mark.parametrize("work", ["run", "query"])
def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path, work: str) -> None:
    ignoring = "signals.SECONDS_TO_STOP = 0.3\n" + f"task(lambda: {work}(sleep('1', \"trap '' TERM INT\")))"
    with start(tmp_path, ignoring) as program:
        processes = children(tmp_path, 1)
        program.terminate()
        program.communicate(timeout=SECONDS)
    assert program.returncode == errors.TERMINATED
    assert not any(map(is_running, processes))


def test_a_second_signal_ends_a_cleanup_that_takes_too_long(tmp_path: Path) -> None:
    slow = """
import time
def work():
    try:
        mark('1')
        time.sleep(60)
    finally:
        mark('2')
        time.sleep(60)
task(work)
"""
    with start(tmp_path, "signals.SECONDS_UNTIL_AGAIN = 0\n" + slow) as program:
        children(tmp_path, 1)
        program.send_signal(signal.SIGINT)
        children(tmp_path, 2)
        program.terminate()
        _, complaints = program.communicate(timeout=SECONDS)
    assert (program.returncode, complaints) == (errors.TERMINATED, f"{signals.ENDINGS[signal.SIGTERM].message}\n")


def test_a_signal_while_a_command_loads_is_its_message_and_code(tmp_path: Path) -> None:
    loading = "mark('1')\nimport time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass"
    with start(tmp_path, loading) as program:
        children(tmp_path, 1)
        program.send_signal(signal.SIGINT)
        _, complaints = program.communicate(timeout=SECONDS)
    assert (program.returncode, complaints) == (errors.INTERRUPTED, f"{signals.ENDINGS[signal.SIGINT].message}\n")


def test_a_signal_in_a_callback_that_cannot_raise_is_not_lost(tmp_path: Path) -> None:
    """Python prints what a `__del__` or the callback of a weak reference raises, and goes on; imports have many."""
    swallowing = """
import time
class Finalized:
    def __del__(self):
        mark('1')
        time.sleep(60)
def work():
    Finalized()
    time.sleep(60)
task(work)
"""
    with start(tmp_path, swallowing) as program:
        children(tmp_path, 1)
        program.terminate()
        _, complaints = program.communicate(timeout=SECONDS)
    assert (program.returncode, complaints) == (errors.TERMINATED, f"{signals.ENDINGS[signal.SIGTERM].message}\n")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """Like under nohup, whose command a closed terminal must not end."""
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\ntask(lambda: os.kill(os.getpid(), signal.SIGHUP))"
    argv = ("env", "--ignore-signal=HUP", sys.executable, "-c", PRELUDE + code, str(tmp_path))
    assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 0


def test_a_closed_terminal_ends_a_command_and_its_children_with_its_code(tmp_path: Path) -> None:
    code = f"{PRELUDE}\n{WORK['a command']}"
    with terminal.closable((sys.executable, "-c", code, str(tmp_path)), ROOT) as (program, close):
        processes = children(tmp_path, 1)
        close()
        assert program.wait(SECONDS) == errors.HUNG_UP
    assert not any(map(is_running, processes))


NOXFILE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from dynamo_containers import signals
signals.install()
signals.interruptible_to_the_end()
import nox

@nox.session(venv_backend="none")
def wait(session: nox.Session) -> None:
    session.run("sh", "-c", "echo $$ >1.new; mv 1.new 1; exec sleep 60", external=True)
"""


@pytest.mark.cli
@pytest.mark.parametrize("number", signals.ENDINGS, ids=lambda number: number.name)
def test_a_session_of_nox_ends_with_its_child_and_our_exit_code(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "noxfile.py").write_text(NOXFILE, encoding="utf-8")
    argv = ("env", "--default-signal=INT,TERM,HUP", sys.executable, "-m", "nox")
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0) as program:
        assert eventually((tmp_path / "1").exists)
        program.send_signal(number)
        _, complaints = program.communicate(timeout=SECONDS)
    assert program.returncode == 128 + number
    assert complaints.splitlines()[-1] == signals.ENDINGS[number].message
    assert "Traceback" not in complaints
    assert not is_running(int((tmp_path / "1").read_text(encoding="utf-8")))


def test_every_process_of_the_library_takes_the_signals_over_before_its_other_imports() -> None:
    for file in ("tasks.py", "noxfile.py"):
        text = (ROOT / file).read_text(encoding="utf-8")
        first = text.index("signals.install()")
        assert first < text.index("from dynamo_containers.facts"), file


def test_exit_codes_are_those_of_shells() -> None:
    assert {number: end.exit_code for number, end in signals.ENDINGS.items()} == {
        signal.SIGHUP: 129,
        signal.SIGINT: 130,
        signal.SIGTERM: 143,
    }
