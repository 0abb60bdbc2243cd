"""Progress of long tasks at terminals of several kinds and in a log."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process, progress
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.upstream import download as upstream_download
from tests.unit import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Server

PRELUDE = """
import sys, threading, time
import rich.live, rich.text  # the first frame is not late where the machine is busy
from dynamo_containers import progress
progress.DELAY_SECONDS = progress.REFRESH_SECONDS = progress.LOG_SECONDS = 0.05
"""
DOWNLOAD = """
with progress.task("fetching nats.tar.gz", total=75_000_000, summary="Fetched nats.tar.gz") as task:
    for _ in range(5):
        task.advance(15_000_000)
        time.sleep(0.07)
"""
BOTH = f"""
def bootstrap():
    with progress.task("bootstrapping debian builder (linux/amd64)"):
        time.sleep(0.3)
        progress.say("+ docker version")
        time.sleep(0.3)
thread = threading.Thread(target=bootstrap)
thread.start()
{DOWNLOAD}
thread.join()
print("the end")
"""
FETCHED = re.compile(r"Fetched nats\.tar\.gz, 75 MB in \d+ s")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.02)


def test_a_log_has_a_line_every_few_seconds_until_the_task_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.task("locking"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {"  locking, 0 s"}
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_line_in_a_log_names_all_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.task("one"), progress.task("two", total=2_500_000) as task:
        task.advance(1_200_000)
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"  one, 0 s; two, 1\.2 MB of 2\.5 MB, [\d.]+ MB/s, 0 s left", lines[-1])


def test_a_short_task_prints_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 5)
    with progress.task("locking"):
        pass
    assert capsys.readouterr().err == ""


def test_a_task_that_fails_ends_its_lines_and_has_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress.task("locking", summary="Locked"):
        raise ZeroDivisionError
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_quiet_command_shows_its_title_or_its_program(capsys: pytest.CaptureFixture[str]) -> None:
    process.run(process.Command(argv=("sleep", "0.2"), quiet=True, title="constraints/x.txt", summary="Locked x.txt"))
    process.run(process.Command(argv=("/bin/sleep", "0.2"), quiet=True))
    lines = capsys.readouterr().err.splitlines()
    assert {"  constraints/x.txt, 0 s", "Locked x.txt in 0 s", "  sleep, 0 s"} <= set(lines)


def test_a_download_ends_as_one_line_with_size_and_time(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"x" * 3_000_000
    server.files["/a.deb"] = content
    download = upstream_download.Download(
        url=f"{server.address}/a.deb", sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )
    upstream_download.fetch_all(tmp_path / "several", [download])
    upstream_download.fetch(tmp_path / "single", download)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  fetching a.deb, ")]
    assert lines == ["Fetched a.deb, 3.0 MB in 0 s"] * 2


def test_files_that_are_gone_are_not_called_fetched(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = upstream_download.Download(url=f"{server.address}/gone.deb", sha256="0" * 64, size=5)
    assert upstream_download.fetch_all(tmp_path, [gone]) == (gone,)
    assert "Fetched" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_720, "1 h 2 min"), (59.7, "1 min 0 s")]
)
def test_a_time_is_told_in_seconds_minutes_or_hours(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0 kB"), (999, "1 kB"), (2_500_000, "2.5 MB"), (75_200_000, "75 MB")])
def test_a_size_is_told_in_kilobytes_or_megabytes(size: int, text: str) -> None:
    assert progress.byte_count(size) == text


def test_a_terminal_shows_all_tasks_in_place_and_keeps_only_what_was_said() -> None:
    session = terminal.run_python(PRELUDE + BOTH)
    assert session.returncode == 0
    frame = next(frame for frame in session.frames if len(frame) == 2)
    title, bar, size, rate, remaining = re.split("  +", frame[1])
    assert frame[0].startswith("bootstrapping debian builder (linux/amd64)  0 s")
    assert (title, bar) == ("fetching nats.tar.gz", "━" * 16)
    assert re.fullmatch(r"\d+ MB of 75 MB", size)
    assert re.fullmatch(r"\d+ MB/s", rate)
    assert re.fullmatch(r"\d+ s left", remaining)
    assert session.screen.lines[-1] == "the end"
    summary, command = sorted(session.screen.lines[:-1], reverse=True)
    assert FETCHED.fullmatch(summary)
    assert command == "+ docker version"
    assert session.screen.cursor_visible
    assert "\x1b[?25l" not in session.output  # a process that is killed could not show it again


def test_a_narrow_terminal_has_one_row_for_each_task() -> None:
    session = terminal.run_python(PRELUDE + BOTH, columns=40)
    assert max(len(frame) for frame in session.frames) <= 3
    frame = next(frame for frame in session.frames if len(frame) == 2)
    assert frame[0] == "bootstrapping debian builder (lin…  0 s"
    assert re.fullmatch(r"fetching nats\.tar\.gz  \d+ s left", frame[1])
    assert session.screen.lines[-1] == "the end"


def test_a_terminal_that_becomes_wider_or_narrower_is_followed() -> None:
    wider = terminal.run_python(PRELUDE + BOTH, columns=40, resized_to=100)
    assert any("MB/s" in line for frame in wider.frames for line in frame)
    narrower = terminal.run_python(PRELUDE + BOTH, columns=100, resized_to=60)
    assert all(len(line) < 60 for line in narrower.screen.lines)
    assert narrower.screen.lines[-1] == wider.screen.lines[-1] == "the end"


def test_without_color_the_bar_is_made_of_signs() -> None:
    session = terminal.run_python(PRELUDE + DOWNLOAD, environment={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[\d;]*m", session.output)
    assert any(re.search(r"  #+-*  ", line) for frame in session.frames for line in frame)


def test_a_terminal_without_unicode_is_given_none() -> None:
    session = terminal.run_python(PRELUDE + BOTH, columns=40, environment={"PYTHONIOENCODING": "ascii"})
    assert session.returncode == 0
    assert session.output.isascii()


def test_a_dumb_terminal_gets_the_lines_of_a_log() -> None:
    session = terminal.run_python(PRELUDE + DOWNLOAD, environment={"TERM": "dumb"})
    assert "\x1b" not in session.output
    assert re.search(r"^  fetching nats\.tar\.gz, (15|30|45|60) MB of 75 MB, ", session.output, re.MULTILINE)
    assert FETCHED.fullmatch(session.screen.lines[-1])


def test_ctrl_c_erases_the_lines_and_leaves_the_terminal_as_it_was() -> None:
    code = """
try:
    with progress.task("locking"):
        time.sleep(20)
except KeyboardInterrupt:
    sys.exit(130)
"""
    session = terminal.run_python(PRELUDE + code, interrupt_at="locking  0 s")
    assert session.returncode == 130
    assert session.screen.lines == []
    assert session.screen.cursor_visible


def test_a_command_that_writes_to_the_terminal_by_itself_has_it_alone() -> None:
    code = """
from dynamo_containers import process
with progress.task("locking"):
    time.sleep(0.3)
    process.run(process.Command(argv=("sh", "-c", "echo begins; sleep 0.3; echo ends")))
    time.sleep(0.3)
"""
    session = terminal.run_python(PRELUDE + code)
    assert session.screen.lines == ["begins", "ends"]
    assert not any(frame[-1:] == ("locking  0 s",) and frame[-2:-1] == ("begins",) for frame in session.frames)


def test_a_quiet_command_does_not_reach_the_terminal_by_its_input() -> None:
    code = """
from dynamo_containers import process
process.run(process.Command(argv=("sh", "-c", "test ! -t 0"), quiet=True))
"""
    assert terminal.run_python(PRELUDE + code).returncode == 0


def test_a_line_that_is_printed_past_this_module_stays_above_the_tasks() -> None:
    code = """
with progress.task("locking"):
    time.sleep(0.3)
    print("Locking x", file=sys.stderr)
    time.sleep(0.3)
"""
    session = terminal.run_python(PRELUDE + code)
    assert ("Locking x", "locking  0 s") in session.frames
    assert session.screen.lines == ["Locking x"]


def test_standard_output_is_left_alone(tmp_path: Path) -> None:
    result = tmp_path / "result"
    code = (
        f"sys.stdout = open({str(result)!r}, 'w')\nwith progress.task('x'):\n    time.sleep(0.3)\n    print('a result')"
    )
    session = terminal.run_python(PRELUDE + code)
    assert session.screen.lines == []
    assert result.read_text(encoding="utf-8") == "a result\n"


def test_lines_of_threads_never_run_together(capfd: pytest.CaptureFixture[str]) -> None:
    line = "+ docker buildx bake --file bake.json"

    def say_often() -> None:
        for _ in range(200):
            progress.say(line)

    threads = [Thread(target=say_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr().err.splitlines() == [line] * 1600


def test_a_short_task_does_not_import_rich() -> None:
    code = """
import sys
from dynamo_containers import progress
with progress.task("locking"):
    pass
sys.exit("rich" in sys.modules)
"""
    assert terminal.run_python(code).returncode == 0


def test_a_log_does_not_import_rich() -> None:
    code = f"{PRELUDE}{DOWNLOAD}sys.exit('rich' in sys.modules)".replace("import rich.live, rich.text", "")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
