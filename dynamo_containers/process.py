"""Execution of plans: the only module that starts processes and writes documents.

A command is printed before it runs, quoted so that it can be pasted into a shell. A dry run prints the same and
stops there. Documents are written beside their place and renamed, so an interrupted run leaves no half of one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from typing import IO, TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import CommandFailedError, NoSpaceError, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.errors import FatalError

NO_SPACE_LEFT = 28
"""errno.ENOSPC"""

SHOWN_LINES = 40
"""How much of a failed program's output its message repeats."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program call. `env` is added to the environment and printed in front of the command."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    """Whether it runs this library in another process, whose exit code says which kind of failure it was."""
    quiet: bool = False
    """Keep the program's output to itself unless it fails; that it still runs is said every few seconds."""
    title: str = ""
    """What is said then; '' for the program's name."""
    hint: str = ""
    """What to run next when it fails."""

    def __str__(self) -> str:
        """Return the line a person could paste into a shell."""
        return " ".join([*(f"{key}={_quoted(key, value)}" for key, value in self.env.items()), shlex.join(self.argv)])


def _quoted(key: str, value: str) -> str:
    """Quote a variable's value; what only prefixes the present one (PATH) is shown as that, or it fills the screen."""
    present = os.environ.get(key, "")
    if present and value.endswith(f":{present}"):
        return f'{shlex.quote(value.removesuffix(present))}"${key}"'
    return shlex.quote(value)


def exports(env: Mapping[str, str]) -> str:
    """Return the lines by which a shell takes over variables."""
    return "\n".join(f"export {key}={_quoted(key, value)}" for key, value in env.items())


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file that a command reads."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The documents and commands that would do the work, in order."""

    documents: tuple[Document, ...] = ()
    commands: tuple[Command, ...] = ()
    records: tuple[Document, ...] = ()
    """What was done: written when every command has succeeded, and never by a dry run."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` and rename it over `path` when the block ends without an exception.

    Raises:
        NoSpaceError: the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                Path(file.name).chmod(0o644)  # NamedTemporaryFile makes 0600, which a container's user could not read
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno != NO_SPACE_LEFT:
            raise
        message = (
            f"The disk is full: {path} could not be written.\n"
            "Free some space. `invoke engine.down --purge` removes the images and caches of this checkout."
        )
        raise NoSpaceError(message) from None


def write(document: Document) -> None:
    """Write a document, whole or not at all; an unchanged one keeps its time, so that nothing looks new."""
    if document.path.is_file() and document.path.read_text(encoding="utf-8") == document.text:
        return
    with replacing(document.path) as file:
        file.write(document.text.encode())


def execute(plan: Plan, *, dry_run: bool = False) -> None:
    """Write the plan's documents and run its commands in order; stop at the first that fails.

    Raises:
        CommandFailedError: a command could not be found or ended with an error.
    """
    for document in plan.documents:
        # A dry run writes the documents too: what it prints can then be pasted into a shell and works.
        write(document)
    for command in plan.commands:
        print(f"+ {command}", file=sys.stderr, flush=True)
        if not dry_run:
            call(command)
    for record in () if dry_run else plan.records:
        write(record)


def call(command: Command) -> None:
    """Run one command to its end, its output going to the terminal (or, when quiet, to the message if it fails)."""
    with progress.said(lambda: command.title or Path(command.argv[0]).name) if command.quiet else nullcontext():
        finished = _finish(command, stdout=subprocess.PIPE if command.quiet else None, stderr_to_stdout=command.quiet)
    if finished.returncode:
        raise _error(command, finished.returncode)(_failure(command, finished.returncode, finished.stdout))


def _error(command: Command, returncode: int) -> type[FatalError]:
    return kind_of(returncode) if command.ours else CommandFailedError


def together(commands: Mapping[str, Command]) -> None:
    """Run commands at the same time, what each one says behind its title; the first that fails ends the others.

    Raises:
        CommandFailedError: one failed, or could not be started.
    """
    running: dict[str, subprocess.Popen[str]] = {}
    failed: list[str] = []

    def follow(title: str) -> None:
        process = running[title]
        for line in process.stdout or ():
            sys.stderr.write(f"{title} | {line.rstrip()}\n")  # at once: print would let others in before the end
        if process.wait() and not failed:
            failed.append(title)
            _end(running.values())

    with ExitStack() as ended:
        try:
            for title, command in commands.items():
                print(f"+ {command}", file=sys.stderr, flush=True)
                running[title] = ended.enter_context(_started(command, stderr=subprocess.STDOUT))
            threads = [Thread(target=follow, args=(title,)) for title in running]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            _end(running.values())
    if failed:
        why = _failure(commands[failed[0]], running[failed[0]].returncode, "")
        others = ", ".join(title for title in commands if title != failed[0])
        beside = f"\nWhat ran beside it was ended: {others}." if others else ""
        message = f"{failed[0]}: {why}{beside}"
        raise CommandFailedError(message)


def _started(command: Command, *, stderr: int) -> subprocess.Popen[str]:
    """Start a command in a group of its own, so that it can be ended with all that it started."""
    try:
        return subprocess.Popen(
            command.argv,
            env={**os.environ, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        message = f"{command.argv[0]}: cannot be started: {error.strerror}.\n{command.hint}".rstrip()
        raise CommandFailedError(message) from None


def _end(processes: Iterable[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)


def capture(command: Command) -> str:
    """Run one command without printing it and return what it wrote to standard output.

    Raises:
        CommandFailedError: with what it wrote to standard error.
    """
    return outputs(command).stdout


def outputs(command: Command) -> Finished:
    """Run one command without printing it and return what it wrote, complaints too.

    Raises:
        CommandFailedError: with what it wrote to standard error.
    """
    finished = _finish(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if finished.returncode:
        raise CommandFailedError(_failure(command, finished.returncode, finished.stdout + finished.stderr))
    return Finished(returncode=0, stdout=finished.stdout, stderr=finished.stderr)


def answers(command: Command, *, seconds: float = 10) -> bool:
    """Say whether a command ends well within `seconds`, without printing anything."""
    try:
        return _finish(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, seconds=seconds).returncode == 0
    except (CommandFailedError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a program that ended left."""

    returncode: int
    stdout: str
    stderr: str


class TooSlowError(CommandFailedError):
    """A command did not end in time."""


def finish(command: Command, *, seconds: float) -> Finished:
    """Run one command without printing it, whatever its exit code will be.

    Raises:
        TooSlowError: it did not end within `seconds`; it and what it started were stopped.
        CommandFailedError: it could not be found.
    """
    try:
        finished = _finish(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, seconds=seconds)
    except subprocess.TimeoutExpired:
        message = f"The command did not end within {seconds:.0f} s:\n  {command}\n{command.hint}".rstrip()
        raise TooSlowError(message) from None
    return Finished(returncode=finished.returncode, stdout=finished.stdout, stderr=finished.stderr)


def ask(command: Command, *, seconds: float) -> Finished:
    """Run one command as `finish` does, but stop also what it started: git leaves the network to helpers.

    Raises:
        TooSlowError: it did not end within `seconds`.
        CommandFailedError: it could not be found.
    """
    process = _started(command, stderr=subprocess.PIPE)
    with process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            message = f"The command did not end within {seconds:.0f} s:\n  {command}\n{command.hint}".rstrip()
            raise TooSlowError(message) from None
    return Finished(returncode=process.returncode, stdout=stdout, stderr=stderr)


def start(command: Command, *, log: Path) -> int:
    """Start a command that outlives this one, in its own session, its output in `log`; return its process id."""
    print(f"+ {command}", file=sys.stderr, flush=True)
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
    process.returncode = 0  # it is meant to outlive us: nobody waits for it, and Popen shall not complain
    return process.pid


def _finish(
    command: Command,
    *,
    stdout: int | None,
    stderr: int | None = None,
    stderr_to_stdout: bool = False,
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command.argv,
            env={**os.environ, **command.env},
            stdout=stdout,
            stderr=subprocess.STDOUT if stderr_to_stdout else stderr,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except FileNotFoundError:
        message = f"{command.argv[0]}: no such program on PATH.\n{command.hint}".rstrip()
        raise CommandFailedError(message) from None
    except OSError as error:  # not executable, or made for another machine
        message = f"{command.argv[0]}: cannot be started: {error.strerror}.\n{command.hint}".rstrip()
        raise CommandFailedError(message) from None


def _failure(command: Command, returncode: int, output: str | None) -> str:
    lines = (output or "").splitlines()
    left_out = f"    ... {len(lines) - SHOWN_LINES} lines before these\n" if len(lines) > SHOWN_LINES else ""
    shown = left_out + "".join(f"    {line}\n" for line in lines[-SHOWN_LINES:])
    return f"The command ended with exit code {returncode}:\n  {command}\n{shown}{command.hint}".rstrip()
