"""Carrying out a plan: what is printed, what a failure says, and that nothing is left half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from dynamo_containers import process as process_module
from dynamo_containers.errors import CommandFailedError, DownloadError, NoSpaceError
from dynamo_containers.process import Command, Document, Plan

FULL = OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyboardInterrupt(), FULL], ids=["a bug", "Ctrl-C", "full"])
def test_a_write_that_is_cut_short_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def cut_short() -> None:
        with process_module.replace_file(path) as file:
            file.write(b"half of the n")
            raise failure

    with pytest.raises((type(failure), NoSpaceError)):
        cut_short()
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["file"]


def test_a_whole_write_replaces_the_file_and_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with process_module.replace_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["file"]


def test_a_disk_that_fills_up_is_a_message_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def fill() -> None:
        with process_module.replace_file(path):
            raise FULL

    with pytest.raises(NoSpaceError) as caught:
        fill()
    assert str(caught.value).startswith(f"The disk is full: {path} could not be written.\n")
    assert names(tmp_path) == []


def test_a_disk_that_is_full_already_is_the_same_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(**_: object) -> None:
        raise FULL

    monkeypatch.setattr(process_module, "NamedTemporaryFile", no_room)
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
    plan = Plan(commands=tuple(Command(argv=("sh", "-c", f"cd '{tmp_path}' && {words}")) for words in commands))
    with pytest.raises(CommandFailedError):
        process_module.execute(plan)
    assert names(tmp_path) == ["first"]


def test_a_failure_says_the_command_its_exit_code_its_output_and_what_to_run_next() -> None:
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


def test_only_a_process_of_this_library_says_by_its_exit_code_which_kind_of_failure_it_was() -> None:
    argv = ("sh", "-c", "exit 5")
    with pytest.raises(DownloadError, match="exit code 5"):
        process_module.run(Command(argv=argv, reports_error_kind=True))
    with pytest.raises(CommandFailedError, match="exit code 5"):
        process_module.run(Command(argv=argv))


def test_a_long_output_is_cut_to_its_end() -> None:
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(Command(argv=("sh", "-c", "seq 1 45; exit 1"), quiet=True))
    lines = str(caught.value).splitlines()
    assert lines[2:4] == ["    ... 5 lines omitted", "    6"]
    assert lines[-1] == "    45"


def test_what_a_command_says_can_be_captured_without_its_complaints() -> None:
    assert process_module.capture(Command(argv=("sh", "-c", "echo out; echo err >&2"))) == "out\n"


def test_a_captured_command_that_fails_repeats_its_complaints() -> None:
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
def test_a_program_that_cannot_be_started_is_a_message_too(tmp_path: Path, mode: int, content: str) -> None:
    program = tmp_path / "program"
    program.write_text(content, encoding="utf-8")
    program.chmod(mode)
    with pytest.raises(CommandFailedError) as caught:
        process_module.run(Command(argv=(str(program),), hint="Install it again."))
    assert str(caught.value).startswith(f"{program}: ")
    assert str(caught.value).endswith("\nInstall it again.")


def test_a_command_that_hangs_does_not_answer() -> None:
    assert process_module.succeeds(Command(argv=("true",)))
    assert not process_module.succeeds(Command(argv=("false",)))
    assert not process_module.succeeds(Command(argv=("no-such-program",)))
    assert not process_module.succeeds(Command(argv=("sleep", "9")), seconds=0.05)


def test_a_question_gets_what_a_program_says_whatever_its_exit_code() -> None:
    found = process_module.query(Command(argv=("sh", "-c", "echo out; echo err >&2; exit 3")), seconds=5)
    assert found == process_module.CompletedCommand(returncode=3, stdout="out\n", stderr="err\n")
    with pytest.raises(CommandFailedError, match=r"^no-such-program: not found on PATH"):
        process_module.query(Command(argv=("no-such-program",)), seconds=5)


def test_a_question_that_takes_too_long_ends_with_what_was_started_for_it(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >'{tmp_path}/child'; wait"
    with pytest.raises(process_module.TooSlowError, match="did not end within 1 s"):
        process_module.query(Command(argv=("sh", "-c", script)), seconds=1)
    child = (tmp_path / "child").read_text(encoding="utf-8").strip()
    deadline = time.monotonic() + 5
    while (state := state_of(child)) not in {"", "Z"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state in {"", "Z"}  # gone, or dead and not yet collected


def state_of(process: str) -> str:
    """Return the state of a process as Linux has it, '' when there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_dry_run_prints_the_commands_and_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = Document(path=tmp_path / "bake.json", text="{}")
    command = Command(argv=("touch", str(tmp_path / "made by it")), env={"KEY": "a value"})
    process_module.execute(Plan(documents=(document,), commands=(command,)), dry_run=True)
    assert capsys.readouterr().err == f"+ KEY='a value' touch '{tmp_path}/made by it'\n"
    assert names(tmp_path) == ["bake.json"]


def test_what_is_printed_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_commands_at_the_same_time_say_who_speaks(capfd: pytest.CaptureFixture[str]) -> None:
    both = {
        "one": process_module.Command(argv=("sh", "-c", "echo first; echo second >&2")),
        "other": process_module.Command(argv=("sh", "-c", "echo third")),
    }
    process_module.run_parallel(both)
    said = capfd.readouterr().err.splitlines()
    assert sorted(line for line in said if " | " in line) == ["one | first", "one | second", "other | third"]


def test_the_first_that_fails_ends_the_others_and_all_that_they_started(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    both = {
        "slow": process_module.Command(argv=("sh", "-c", "sleep 60; echo never")),
        "broken": process_module.Command(argv=("sh", "-c", "echo no; exit 17"), hint="Mend it."),
    }
    with pytest.raises(CommandFailedError) as caught:
        process_module.run_parallel(both)
    assert time.monotonic() - began < 30
    assert str(caught.value) == (
        "broken: The command ended with exit code 17:\n  sh -c 'echo no; exit 17'\nMend it.\n"
        "The others were stopped: slow."
    )
    assert "slow | never" not in capfd.readouterr().err


def test_a_command_that_cannot_be_started_ends_those_that_were() -> None:
    began = time.monotonic()
    both = {
        "slow": process_module.Command(argv=("sleep", "60")),
        "none": process_module.Command(argv=("/no/such/program",)),
    }
    with pytest.raises(CommandFailedError, match="cannot be started"):
        process_module.run_parallel(both)
    assert time.monotonic() - began < 30
