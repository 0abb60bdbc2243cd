"""Execution of plans: printed lines, messages of failures, complete files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamo_containers import process as process_module
from dynamo_containers.errors import CommandFailedError, DownloadError, NoSpaceError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.process import Command, Document, Plan

FULL = OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyboardInterrupt(), FULL], ids=["a bug", "Ctrl-C", "full"])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def write_and_fail() -> None:
        with process_module.replace_file(path) as file:
            file.write(b"half of the n")
            raise failure

    with pytest.raises((type(failure), NoSpaceError)):
        write_and_fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["file"]


def test_a_complete_write_replaces_the_file_and_other_users_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with process_module.replace_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["file"]


def test_a_private_file_is_private_from_its_creation_on(tmp_path: Path) -> None:
    path, before = tmp_path / "file", os.umask(0)
    try:
        with process_module.replace_file(path, mode=0o600) as file:
            assert [part.stat().st_mode & 0o777 for part in tmp_path.iterdir()] == [0o600]
            file.write(b"a password")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durable: bool,  # noqa: FBT001 - a row
) -> None:
    path, synced = tmp_path / "file", []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_size, path.exists())))
    with process_module.replace_file(path, durable=durable) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert synced == ([(3, False)] if durable else [])


def test_a_document_that_is_no_text_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe")
    process_module.write(Document(path=path, text="new"))
    assert path.read_text(encoding="utf-8") == "new"


def test_a_disk_that_becomes_full_is_a_message_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def fill() -> None:
        with process_module.replace_file(path):
            raise FULL

    with pytest.raises(NoSpaceError) as caught:
        fill()
    assert str(caught.value).startswith(f"The disk is full: {path} could not be written.\n")
    assert names(tmp_path) == []


def test_a_disk_that_is_full_already_is_the_same_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise FULL

    monkeypatch.setattr(process_module, "NamedTemporaryFile", fail)
    with pytest.raises(NoSpaceError, match="The disk is full"):
        process_module.write(Document(path=tmp_path / "file", text="text"))


def test_an_unchanged_document_is_not_written_again(tmp_path: Path) -> None:
    document = Document(path=tmp_path / "file", text="same")
    process_module.write(document)
    os.utime(document.path, (1, 1))
    process_module.write(document)
    assert document.path.stat().st_mtime == 1


def test_commands_run_in_order_and_the_first_failure_ends_the_plan(tmp_path: Path) -> None:
    commands = ("touch first", "exit 3", "touch third")
    plan = Plan(commands=tuple(Command(argv=("sh", "-c", f"cd '{tmp_path}' && {script}")) for script in commands))
    with pytest.raises(CommandFailedError):
        process_module.execute(plan)
    assert names(tmp_path) == ["first"]


def test_a_failure_message_has_the_command_its_exit_code_its_output_and_what_to_run_next() -> None:
    command = Command(argv=("sh", "-c", "echo out; echo err >&2; exit 3"), quiet=True, hint="Try: something else")
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(command)
    assert str(caught.value) == (
        "The command ended with exit code 3:\n"
        "  sh -c 'echo out; echo err >&2; exit 3'\n"
        "    out\n"
        "    err\n"
        "Try: something else"
    )


def test_the_exit_code_of_a_process_of_this_library_decides_the_kind_of_error() -> None:
    argv = ("sh", "-c", "exit 5")
    with pytest.raises(DownloadError, match="exit code 5"):
        process_module.run(Command(argv=argv, reports_error_kind=True))
    with pytest.raises(CommandFailedError, match="exit code 5"):
        process_module.run(Command(argv=argv))


def test_only_the_last_lines_of_a_long_output_are_in_the_message() -> None:
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(Command(argv=("sh", "-c", "seq 1 45; exit 1"), quiet=True))
    lines = str(caught.value).splitlines()
    assert lines[2:4] == ["    ... 5 lines omitted", "    6"]
    assert lines[-1] == "    45"


def test_standard_output_is_captured_without_standard_error() -> None:
    assert process_module.capture(Command(argv=("sh", "-c", "echo out; echo err >&2"))) == "out\n"


def test_the_message_of_a_failed_captured_command_has_both_outputs() -> None:
    with pytest.raises(CommandFailedError, match=r"exit code 4:\n.*\n    out\n    err$"):
        process_module.capture(Command(argv=("sh", "-c", "echo out; echo err >&2; exit 4")))


def test_an_unknown_program_is_named() -> None:
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(Command(argv=("no-such-program", "--version"), hint="Install it."))
    assert str(caught.value) == "no-such-program: not found on PATH.\nInstall it."


@pytest.mark.parametrize(
    ("mode", "content"),
    [pytest.param(0o644, "#!/bin/sh\n", id="not executable"), pytest.param(0o755, "\x7fELF", id="for another machine")],
)
def test_a_program_that_cannot_be_started_is_named_with_the_reason(tmp_path: Path, mode: int, content: str) -> None:
    program = tmp_path / "program"
    program.write_text(content, encoding="utf-8")
    program.chmod(mode)
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(Command(argv=(str(program),), hint="Install it again."))
    assert str(caught.value).startswith(f"{program}: ")
    assert str(caught.value).endswith("\nInstall it again.")


def test_a_command_that_fails_is_missing_or_hangs_does_not_succeed() -> None:
    assert process_module.succeeds(Command(argv=("true",)))
    assert not process_module.succeeds(Command(argv=("false",)))
    assert not process_module.succeeds(Command(argv=("no-such-program",)))
    assert not process_module.succeeds(Command(argv=("sleep", "9")), seconds=0.05)


def test_a_query_returns_both_outputs_whatever_the_exit_code() -> None:
    completed = process_module.query(Command(argv=("sh", "-c", "echo out; echo err >&2; exit 3")), seconds=5)
    assert completed == process_module.CompletedCommand(returncode=3, stdout="out\n", stderr="err\n")
    with pytest.raises(CommandFailedError, match=r"^no-such-program: not found on PATH"):
        process_module.query(Command(argv=("no-such-program",)), seconds=5)


def test_a_query_that_takes_too_long_is_stopped_with_its_child_processes(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >'{tmp_path}/child'; wait"
    with pytest.raises(process_module.TooSlowError, match="did not end within 1 s"):
        process_module.query(Command(argv=("sh", "-c", script)), seconds=1)
    child = (tmp_path / "child").read_text(encoding="utf-8").strip()
    deadline = time.monotonic() + 5
    while (state := state_of(child)) not in {"", "Z"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state in {"", "Z"}  # it does not exist, or is a zombie


def state_of(process: str) -> str:
    """Return the state of a process in /proc, '' if it does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_dry_run_prints_a_script_that_does_the_same_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = Document(path=tmp_path / "a folder/bake.json", text='{"it\'s": "$HOME"}')
    command = Command(argv=("cp", str(document.path), str(tmp_path / "a copy")), env={"KEY": "a value"})
    process_module.execute(Plan(documents=(document,), commands=(command,), records=(document,)), dry_run=True)
    printed = capsys.readouterr()
    assert (names(tmp_path), printed.err) == ([], "")
    assert printed.out.endswith(f"\nKEY='a value' cp '{document.path}' '{tmp_path}/a copy'\n")
    subprocess.run(["/bin/sh", "-eu", "-c", printed.out], check=True)
    assert (tmp_path / "a copy").read_text(encoding="utf-8") == document.text + "\n"


def test_a_printed_command_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    command = Command(
        argv=("sh", "-c", 'echo "$PATH|$WORDS|$0"', "it's"),
        env={"PATH": "/my tools:/usr/bin:/bin", "WORDS": "$HOME `ls`"},
    )
    assert str(command).startswith("PATH='/my tools:'\"$PATH\" WORDS='$HOME `ls`' sh -c ")
    pasted = subprocess.run(["/bin/sh", "-c", str(command)], capture_output=True, text=True, check=True)
    assert pasted.stdout == "/my tools:/usr/bin:/bin|$HOME `ls`|it's\n" == process_module.capture(command)


def test_a_started_command_writes_into_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    process = process_module.start(Command(argv=("sh", "-c", "echo out; echo err >&2")), log=log)
    os.waitpid(process, 0)
    assert log.read_text(encoding="utf-8") == "out\nerr\n"


def test_lines_of_parallel_commands_begin_with_their_titles(capfd: pytest.CaptureFixture[str]) -> None:
    commands = {
        "first": process_module.Command(argv=("sh", "-c", "echo 1; echo 2 >&2")),
        "second": process_module.Command(argv=("sh", "-c", "echo 3")),
    }
    process_module.run_parallel(commands)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line for line in lines if " | " in line) == ["first | 1", "first | 2", "second | 3"]


def test_the_first_parallel_command_that_fails_stops_the_others_and_their_child_processes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    commands = {
        "slow": process_module.Command(argv=("sh", "-c", "sleep 60; echo never")),
        "broken": process_module.Command(argv=("sh", "-c", "echo no; exit 17"), hint="Mend it."),
    }
    with pytest.raises(CommandFailedError) as caught:
        process_module.run_parallel(commands)
    assert time.monotonic() - began < 30
    assert str(caught.value) == (
        "broken: The command ended with exit code 17:\n  sh -c 'echo no; exit 17'\nMend it.\n"
        "The others were stopped: slow."
    )
    assert "slow | never" not in capfd.readouterr().err


def test_a_parallel_command_that_cannot_be_started_stops_the_others() -> None:
    began = time.monotonic()
    commands = {
        "slow": process_module.Command(argv=("sleep", "60")),
        "none": process_module.Command(argv=("/no/such/program",)),
    }
    with pytest.raises(CommandFailedError, match="cannot be started"):
        process_module.run_parallel(commands)
    assert time.monotonic() - began < 30


def test_ctrl_c_during_a_query_is_passed_on_so_that_the_command_can_clean_up(tmp_path: Path) -> None:
    script = (
        f"trap 'touch {tmp_path}/cleaned; exit 1' INT; sleep 0.3; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    code = (
        "from dynamo_containers import process\n"
        f"process.query(process.Command(argv=('sh', '-c', {script!r})), seconds=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as program:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        assert program.wait(30) != 0
    assert (tmp_path / "cleaned").exists()
