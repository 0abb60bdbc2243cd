"""Execution of plans: the only module that starts processes and writes documents.

- `execute` prints and runs the commands of a plan; `run` runs one command, `run_parallel` several at the same time.
- `capture` returns the output of a command, `query` also its exit code; `succeeds` tells whether a command ends well.
- `start` leaves a command running.

A command is printed before it runs, quoted so that it can be pasted into a shell. A dry run prints the same lines.
A document is written to a temporary file and renamed, so an interrupted run never leaves half of one.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from typing import IO, TYPE_CHECKING, NamedTuple

from dynamo_containers import file_reader, progress, signals
from dynamo_containers.errors import CommandFailedError, NoSpaceError, UnsupportedHostError, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager


NO_SPACE_LEFT = errno.ENOSPC
NOT_WRITABLE = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS}
)
"""Why a file cannot be written, other than for lack of space."""

END_OF_DOCUMENT = "END_OF_DOCUMENT"
"""Ends a document in the script of a dry run; no document has such a line."""
SHOWN_LINES = 40
"""Lines of a failed command's output that its message repeats."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program call. `env` is added to the environment and printed before the command."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    reports_error_kind: bool = False
    """Whether its exit codes are those of this library (errors.py), which it runs in another process."""
    quiet: bool = False
    """Show progress in place of the output, which is printed only if the command fails; there is no input."""
    title: str = ""
    """The name of the command in progress lines; '' for the program's name."""
    summary: str = ""
    """The line after a quiet command has succeeded, without its time; '' for none."""
    hint: str = ""
    """What to run next when it fails."""

    def __str__(self) -> str:
        """Return the line that can be pasted into a shell."""
        assignments = (f"{variable}={_quoted(variable, value)}" for variable, value in self.env.items())
        return " ".join([*assignments, shlex.join(self.argv)])


def _quoted(variable: str, value: str) -> str:
    """Quote a variable's value; a prefix of the current value (PATH) is shown as a prefix, to keep the line short."""
    current = os.environ.get(variable, "")
    if current and value.endswith(f":{current}"):
        return f'{shlex.quote(value.removesuffix(current))}"${variable}"'
    return shlex.quote(value)


def export_lines(env: Mapping[str, str]) -> str:
    """Return the shell commands that export variables."""
    return "\n".join(f"export {variable}={_quoted(variable, value)}" for variable, value in env.items())


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file that a command reads."""

    path: Path
    text: str
    mode: int = 0o644
    durable: bool = True
    """Whether it must survive a power failure, as locks must: see `replace_file`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The documents and commands that do the work, in order."""

    documents: tuple[Document, ...] = ()
    commands: tuple[Command, ...] = ()
    records: tuple[Document, ...] = ()
    """Records of the work: written after every command has succeeded, never by a dry run."""


@contextmanager
def replace_file(path: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that is renamed to `path` when the block ends without an exception.

    Args:
        path: the file to replace.
        mode: its permissions. The temporary file is readable by its owner alone, whatever they are.
        durable: write the content to the disk before the rename, so that a power failure leaves the old file or the
            complete new one (fsync(2)). It takes milliseconds.

    Raises:
        NoSpaceError: the disk is full; the temporary file was removed.
        UnsupportedHostError: the file cannot be written, for example because a folder is in its place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                Path(file.name).chmod(mode)  # NamedTemporaryFile makes 0600, which a container's user could not read
                if durable:
                    os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            message = (
                f"{error.filename or path} cannot be written: {error.strerror}.\n"
                "Remove what is in its place, or make its folder writable, and run again."
            )
            raise UnsupportedHostError(message) from None
        if error.errno != NO_SPACE_LEFT:
            raise
        message = (
            f"The disk is full: {path} could not be written.\n"
            "Free some space. `invoke engine.down --purge` removes the images and caches of this checkout."
        )
        raise NoSpaceError(message) from None


def write(document: Document) -> None:
    """Write a document completely or not at all; an unchanged document keeps its modification time."""
    content = document.text.encode()
    if file_reader.cached_bytes(document.path) == content:
        if not document.mode & 0o077:  # an earlier version of this library wrote it for everyone
            document.path.chmod(document.mode)
        return
    with replace_file(document.path, mode=document.mode, durable=document.durable) as file:
        file.write(content)


def execute(plan: Plan, *, dry_run: bool = False) -> None:
    """Write the plan's documents and run its commands in order; stop at the first that fails.

    A dry run writes and runs nothing: it prints the shell script that would do the same, on standard output.

    Raises:
        CommandFailedError: a command could not be found or ended with an error.
    """
    if dry_run:
        sys.stdout.write(script(plan))
        sys.stdout.flush()
        return
    for document in plan.documents:
        write(document)
    for command in plan.commands:
        progress.say(f"+ {command}")
        run(command)
    for record in plan.records:
        write(record)


def script(plan: Plan) -> str:
    """Return the shell script that writes the documents of a plan and runs its commands."""
    folders = dict.fromkeys(document.path.parent for document in plan.documents)
    lines = [f"mkdir -p {shlex.quote(str(folder))}" for folder in folders]
    for document in plan.documents:
        text = document.text if document.text.endswith("\n") else f"{document.text}\n"
        lines.append(f"cat > {shlex.quote(str(document.path))} <<'{END_OF_DOCUMENT}'\n{text}{END_OF_DOCUMENT}")
    return "".join(f"{line}\n" for line in (*lines, *plan.commands))


def run(command: Command) -> None:
    """Run one command to its end; its output goes to the terminal, or if quiet and failed, into the message.

    Raises:
        CommandFailedError: the command could not be started or ended with an error.
    """
    display = progress.task(command.title or Path(command.argv[0]).name, summary=command.summary)
    # apt sets the terminal to raw mode where it is its input; two at once leave it so.
    streams = _Streams(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with display if command.quiet else progress.paused():
        completed = _complete(command, streams if command.quiet else _Streams())
        _check(command, completed.returncode, completed.stdout)


def run_parallel(commands: Mapping[str, Command]) -> None:
    """Run commands at the same time, each output line after its command's title; the first failure ends the others.

    Raises:
        CommandFailedError: a command failed or could not be started.
    """
    running: dict[str, subprocess.Popen[str]] = {}
    failed: list[str] = []

    def follow(title: str) -> None:
        process = running[title]
        for line in process.stdout or ():
            progress.say(f"{title} | {line.rstrip()}")
        if process.wait() and not failed:
            failed.append(title)
            _send_all(running.values(), signal.SIGTERM)

    with ExitStack() as processes:
        try:
            for title, command in commands.items():
                progress.say(f"+ {command}")
                running[title] = processes.enter_context(_in_own_group(command, stderr=subprocess.STDOUT))
            threads = [Thread(target=follow, args=(title,)) for title in running]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            _send_all(running.values(), signal.SIGTERM)
    if failed:
        reason = _failure(commands[failed[0]], running[failed[0]].returncode, "")
        others = ", ".join(title for title in commands if title != failed[0])
        stopped = f"\nThe others were stopped: {others}." if others else ""
        message = f"{failed[0]}: {reason}{stopped}"
        raise CommandFailedError(message)


def capture(command: Command) -> str:
    """Run one command without printing it and return its standard output.

    Raises:
        CommandFailedError: the command could not be started or ended with an error; with its output.
    """
    completed = _complete(command, _Streams(stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    _check(command, completed.returncode, completed.stdout + completed.stderr)
    return completed.stdout


@dataclass(frozen=True, kw_only=True)
class CompletedCommand:
    """Exit code and output of a command that ended."""

    returncode: int
    stdout: str
    stderr: str


class TooSlowError(CommandFailedError):
    """A command did not end in time."""


def query(command: Command, *, seconds: float | None = None, check: bool = False) -> CompletedCommand:
    """Run one command without printing it, without input, and return its exit code and output.

    Args:
        command: the command; its child processes are stopped with it.
        seconds: the time limit; None for no limit.
        check: whether an exit code other than 0 is an error.

    Raises:
        TooSlowError: the command did not end within `seconds` and was stopped.
        CommandFailedError: the command could not be started, or (with `check`) ended with an error.
    """
    with _in_own_group(command, stderr=subprocess.PIPE) as process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _send(process, signal.SIGKILL, group=True)
            message = f"The command did not end within {seconds:.0f} s:\n  {command}\n{command.hint}".rstrip()
            raise TooSlowError(message) from None
    if check:
        _check(command, process.returncode, stdout + stderr)
    return CompletedCommand(returncode=process.returncode, stdout=stdout, stderr=stderr)


def succeeds(command: Command, *, seconds: float = 10) -> bool:
    """Return whether a command ends with exit code 0 within `seconds`, without printing anything."""
    try:
        return query(command, seconds=seconds).returncode == 0
    except CommandFailedError:
        return False


def start(command: Command, *, log: Path) -> int:
    """Start a command in its own session that continues after this process; return its process id.

    Args:
        command: the command.
        log: the file for its output.
    """
    progress.say(f"+ {command}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.argv,
            env={**os.environ, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process.returncode = 0  # nobody waits for it, and Popen would warn of that
    return process.pid


class _Streams(NamedTuple):
    """Input and output of a command; None for those of this process."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


def _complete(command: Command, streams: _Streams) -> subprocess.CompletedProcess[str]:
    """Run a command in this process group: it may ask the terminal for a password, and Ctrl-C reaches it."""
    with _child(command, group=False, streams=streams) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command.argv, process.returncode, stdout, stderr)


def _in_own_group(command: Command, *, stderr: int) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a command without input in its own process group, so that its child processes can be stopped too."""
    streams = _Streams(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
    return _child(command, group=True, streams=streams)


@contextmanager
def _child(command: Command, *, group: bool, streams: _Streams) -> Iterator[subprocess.Popen[str]]:
    """Start a command that ends with this process, however that ends, and at the latest with the block.

    Args:
        command: the command.
        group: whether it has its own process group.
        streams: its input and output.

    Raises:
        CommandFailedError: the command could not be started.
        Stopped: this thread must start nothing any more.
    """
    signals.check()
    environment = {**os.environ, **command.env}
    try:
        process = subprocess.Popen(
            (*_ending_with_parent(command.argv[0], environment.get("PATH")), *command.argv),
            env=environment,
            text=True,
            errors="replace",
            process_group=0 if group else None,
            **streams._asdict(),
        )
    except OSError as error:
        raise _not_started(command, error) from None
    with process, signals.child(process.pid, partial(_pass_on, process, group=group)):
        try:
            yield process
        except BaseException as error:
            _stop(process, error, group=group)
            raise


def _stop(process: subprocess.Popen[str], error: BaseException, *, group: bool) -> None:
    """End a command whose block was left by an error: tell it to end, and kill it if it does not."""
    if group and isinstance(error, KeyboardInterrupt):
        if not isinstance(error, signals.Stopped):  # that one was passed on already
            _send(process, signal.SIGINT, group=group)
    else:  # a terminal sent Ctrl-C to the command as well, but `kill` did not
        _send(process, signal.SIGTERM, group=group)
    try:
        process.wait(signals.SECONDS_TO_STOP)
    except BaseException as second:
        _send(process, signal.SIGKILL, group=group)
        if not isinstance(second, subprocess.TimeoutExpired):
            raise


def _pass_on(process: subprocess.Popen[str], number: int, *, group: bool) -> None:
    """Send a signal to a command; a terminal sends Ctrl-C to our process group by itself."""
    if group or number != signal.SIGINT:
        _send(process, number, group=group)


def _send(process: subprocess.Popen[str], number: int, *, group: bool) -> None:
    """Send a signal to a command, or to its process group, unless it has ended."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, number)


def _send_all(processes: Iterable[subprocess.Popen[str]], number: int) -> None:
    for process in processes:
        _send(process, number, group=True)


def _ending_with_parent(program: str, path: str | None) -> tuple[str, ...]:
    """Return what is put before a command so that the kernel ends it when the process that waits for it is killed.

    () where that does not exist (macOS), and for what Popen itself had better refuse: setpriv has messages of its own.
    """
    import shutil

    setpriv, file = _setpriv(), shutil.which(program, path=path)
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv and file and _runs_here(Path(file)) else ()


@cache
def _setpriv() -> str:
    """Return the path of a setpriv that knows --pdeathsig (util-linux 2.33, Linux's PR_SET_PDEATHSIG), or ''."""
    import shutil

    path = shutil.which("setpriv")
    return path if path and b"pdeathsig" in (file_reader.cached_bytes(Path(path)) or b"") else ""


def _runs_here(program: Path) -> bool:
    """Return whether a file is a script with an interpreter, or a program for the processor that runs this one."""
    try:
        header, own = (_elf_header(file) for file in (program, Path(sys.executable)))
    except OSError:
        return False
    return header[:2] == b"#!" or (header[:6], header[18:]) == (own[:6], own[18:])


def _elf_header(file: Path) -> bytes:
    """Return a file's first bytes; in ELF, 0-3 are its mark, 4-5 the word's size and order, 18-19 the machine."""
    with file.open("rb") as content:
        return content.read(20)


def _not_started(command: Command, error: OSError) -> CommandFailedError:
    """Return the error of a program that is missing, not executable, or for another machine."""
    program = command.argv[0]
    missing = isinstance(error, FileNotFoundError) and "/" not in program
    reason = "not found on PATH." if missing else f"cannot be started: {error.strerror}."
    return CommandFailedError(f"{program}: {reason}\n{command.hint}".rstrip())


def _check(command: Command, returncode: int, output: str | None) -> None:
    if returncode:
        error = kind_of(returncode) if command.reports_error_kind else CommandFailedError
        raise error(_failure(command, returncode, output))


def _failure(command: Command, returncode: int, output: str | None) -> str:
    lines = (output or "").splitlines()
    omitted = f"    ... {len(lines) - SHOWN_LINES} lines omitted\n" if len(lines) > SHOWN_LINES else ""
    shown = omitted + "".join(f"    {line}\n" for line in lines[-SHOWN_LINES:])
    return f"The command ended with exit code {returncode}:\n  {command}\n{shown}{command.hint}".rstrip()
