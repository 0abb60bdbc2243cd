"""Command line of `invoke`: its tasks, and typing mistakes refused before anything runs.

invoke itself silently drops a repeatable flag that lacks its value, takes the last of two values, and ends with 1 for
an unknown word. Here such a line ends with 2 and says what to type. It also lets a task take names without a flag
(`invoke explain vllm`), which invoke can only require, and then no longer shows the help.
"""

from __future__ import annotations

import inspect
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit, ParseError
from invoke.parser.context import to_flag
from invoke.program import Program
from invoke.tasks import Task

from dynamo_containers import broken_pipe
from dynamo_containers.errors import INTERRUPTED, FatalError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from invoke.collection import Collection
    from invoke.parser.argument import Argument

    from dynamo_containers.result import Result

SHORT_FLAGS = {"image": "i", "platform": "p", "bases": "b", "stage": "s", "json": "j"}
"""Flag -> its short form, the same in every task; no other flag has one."""
RENAMED = {"--judge": "--verify"}
"""Flag of an earlier version -> what it is called now."""
JSON_HELP = "print the answer as JSON (docs/reference/json.md)"


class Takes(Enum):
    """How many values a flag takes."""

    NO_VALUE = "no value"
    ONE_VALUE = "one value"
    VALUES = "values"
    """It is repeatable."""
    OPTIONAL_VALUE = "optional value"


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """Flags and operands of a task, or of invoke itself."""

    flags: Mapping[str, Takes]
    """`--image` and `-i` -> what it takes."""
    operands: tuple[str, ...] = ()
    """Names that are typed without a flag."""
    required: bool = False
    """Whether every operand must be given."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Flag -> its long form."""


def syntax(arguments: Iterable[Argument], operands: tuple[str, ...] = (), *, required: bool = False) -> Syntax:
    """Return the syntax of invoke's arguments."""
    rows = [([to_flag(name) for name in argument.names], _takes(argument)) for argument in arguments]
    return Syntax(
        flags={flag: takes for flags, takes in rows for flag in flags},
        names={flag: flags[0] for flags, _ in rows for flag in flags},
        operands=operands,
        required=required,
    )


def syntaxes(tasks: Collection) -> dict[str, Syntax]:
    """Return the syntax of every task."""
    commands: dict[str, Command] = {name: tasks[name] for name in tasks.task_names}
    return {
        name: syntax(command.get_arguments(), command.operands, required=command.required)
        for name, command in commands.items()
    }


def _takes(argument: Argument) -> Takes:
    if not argument.takes_value:
        return Takes.NO_VALUE
    if argument.optional:
        return Takes.OPTIONAL_VALUE
    return Takes.VALUES if argument.kind is list else Takes.ONE_VALUE


class _Reader:
    """Reader of a command line, word by word."""

    def __init__(self, tasks: Mapping[str, Syntax], core: Syntax) -> None:
        self.tasks, self.core = tasks, core
        self.task = ""
        self.syntax = core
        self.operands: deque[str] = deque()
        self.flags: set[str] = set()
        self.output: list[str] = []
        self.is_help = False

    def read(self, line: Sequence[str]) -> list[str]:
        rest = deque(line)
        while rest:
            argument = rest.popleft()
            if argument.startswith("-"):
                self._flag(argument, rest)
            else:
                self._name(argument)
        self._end_of_task()
        return self.output

    def _name(self, name: str) -> None:
        """Read an operand of the task, or the name of the next task."""
        is_task = name in self.tasks
        if not name:
            message = f"an empty name after `invoke {self.task}`".rstrip(" `") + "`"
            raise UsageError(message)
        if self.operands and (self.syntax.required or not is_task):
            self.output.append(f"{to_flag(self.operands.popleft())}={name}")
        elif is_task:
            self._end_of_task()
            self.task, self.syntax, self.flags = name, self.tasks[name], set()
            self.operands = deque(self.syntax.operands)
            self.output.append(name)
        elif self.task:
            raise self._surplus(name)
        else:
            kind = "task"
            raise unknown_name(kind, name, self.tasks, "Flags and help of a task: invoke NAME --help")

    def _flag(self, argument: str, rest: deque[str]) -> None:
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") and len(flag) > len("-i"):
            flag, equals, value = self._split(argument, rest)
        takes = self._takes(flag)
        self._check_repeated(flag, takes)
        if takes is Takes.NO_VALUE:
            if equals:
                message = f"{flag} of `invoke {self.task}` takes no value; remove ={value}"
                raise UsageError(message)
            self.output.append(flag)
        elif equals or (rest and not rest[0].startswith("-") and flag in self.syntax.flags):
            self._check_value(flag, value := value if equals else rest.popleft())
            self.output.append(f"{flag}={value}")
        elif takes is Takes.OPTIONAL_VALUE:
            self.output.append(flag)
        else:
            raise _lacks_value(flag, rest)

    def _split(self, argument: str, rest: deque[str]) -> tuple[str, str, str]:
        """Split `-ivllm` (a flag with its value) or `-jR` (two flags)."""
        flag, remainder = argument[:2], argument[2:]
        if self._takes(flag) is not Takes.NO_VALUE:
            return flag, "=", remainder
        rest.appendleft(f"-{remainder}")
        return flag, "", ""

    def _takes(self, flag: str) -> Takes:
        """Return what a flag takes.

        Raises:
            UsageError: there is no such flag, or the task takes this without a flag.
        """
        if self.syntax.names.get(flag, "--").removeprefix("--") in self.syntax.operands:
            name = self.syntax.names[flag].removeprefix("--").upper()
            message = f"`invoke {self.task}` takes the {name.lower()} without {flag}: invoke {self.task} {name}"
            raise UsageError(message)
        if flag in self.syntax.flags:
            return self.syntax.flags[flag]
        is_help = self.core.names.get(flag) == "--help"
        if is_help or self.core.flags.get(flag) is Takes.NO_VALUE:  # invoke ignores its other flags after a task
            self.is_help = self.is_help or is_help
            return self.core.flags[flag]
        operands = [to_flag(operand) for operand in self.syntax.operands]
        flags = [name for name in self.syntax.flags if name.startswith("--") and name not in operands]
        kind = f"flag of `invoke {self.task}`" if self.task else "flag of invoke"
        hint = f"{flag} is called {RENAMED[flag]} now." if flag in RENAMED else ""
        raise unknown_name(kind, flag, flags, hint)

    def _check_repeated(self, flag: str, takes: Takes) -> None:
        name = self.syntax.names.get(flag, flag)
        if name in self.flags and takes in (Takes.ONE_VALUE, Takes.OPTIONAL_VALUE):
            message = f"{name} of `invoke {self.task}` is given twice, and it takes one value"
            raise UsageError(message)
        self.flags.add(name)

    def _check_value(self, flag: str, value: str) -> None:
        if not value.strip():
            message = f"{flag} of `invoke {self.task}` has an empty value\nLeave the flag out for its default."
            raise UsageError(message)

    def _surplus(self, name: str) -> UsageError:
        number = {0: "no name", 1: "one name"}.get(len(self.syntax.operands), f"{len(self.syntax.operands)} names")
        message = f'`invoke {self.task}` takes {number} without a flag, and "{name}" is one too many'
        if "--image" in self.syntax.flags and not self.syntax.operands:
            return UsageError(f"{message}\nDid you mean --image {name}?")
        similar = str(unknown_name("task", name, self.tasks)).partition("\n")[2]
        return UsageError(f"{message}\n{similar}".rstrip())

    def _end_of_task(self) -> None:
        if self.operands and self.syntax.required and not self.is_help:
            operands = " ".join(operand.upper() for operand in self.syntax.operands)
            message = f"{self.operands[0].upper()} is missing: invoke {self.task} {operands}"
            raise UsageError(message)


def _lacks_value(flag: str, rest: Sequence[str]) -> UsageError:
    if not rest:
        return UsageError(f"{flag} needs a value, and the command ends after it")
    return UsageError(
        f"{flag} needs a value, and {rest[0]} follows it\nA value that begins with a dash is written {flag}=VALUE."
    )


def normalize(line: Sequence[str], tasks: Mapping[str, Syntax], core: Syntax) -> list[str]:
    """Return a command line as invoke's own parser reads it, each operand with its flag.

    Args:
        line: what follows invoke's own flags.
        tasks: task -> its syntax.
        core: flags of invoke itself, which may follow a task too.

    Raises:
        UsageError: an unknown task or flag, a flag without its value, an empty value, a name too many.
    """
    return _Reader(tasks, core).read(line)


@contextmanager
def messages() -> Iterator[None]:
    """Turn a foreseen failure into its message and exit code; a bug keeps its traceback."""
    try:
        with broken_pipe.needed():
            yield
    except FatalError as error:
        message = f"error: {error}"
        raise Exit(message, error.exit_code) from None
    except ParseError as error:
        message = f"error: {error}"
        raise Exit(message, UsageError.exit_code) from None
    except KeyboardInterrupt:
        message = "interrupted; nothing half-made is used later"
        raise Exit(message, INTERRUPTED) from None


class Command(Task["Callable[..., Result | None]"]):
    """A task whose failures are messages; what it returns is printed, as JSON where that is asked for."""

    def __init__(
        self,
        body: Callable[..., Result | None],
        *,
        operands: tuple[str, ...] = (),
        required: bool = False,
        omitted: tuple[str, ...] = (),
        as_json: bool = False,
        **options: Any,  # noqa: ANN401 - invoke's own
    ) -> None:
        """Make a task of a function.

        Args:
            body: the function.
            operands: parameters that are typed without a flag, in this order.
            required: whether each of them must be given.
            omitted: parameters that are no flag of this task and keep their default.
            as_json: whether it has --json.
            options: invoke's own options of a task.
        """
        self.operands, self.required = operands, required
        self.omitted, self.as_json = omitted, as_json
        self.arguments: list[Argument] = []
        super().__init__(body, positional=(), auto_shortflags=False, **options)

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        """Return the parameters that are flags."""
        signature = super().argspec(body)
        parameters = [row for name, row in signature.parameters.items() if name not in self.omitted]
        if self.as_json:
            parameters.append(inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False))
        return signature.replace(parameters=parameters)

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:  # noqa: ANN401 - invoke's own
        """Return how invoke parses a parameter; () as its default makes it repeatable."""
        options: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if default == ():
            options |= {"kind": list, "default": []}
        if name in SHORT_FLAGS and name not in self.operands:
            options["names"] = [*options["names"], SHORT_FLAGS[name]]
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:  # noqa: FBT001 - invoke's own
        """Return the flags, once: invoke forgets their help texts when it has read them."""
        self.arguments = self.arguments or super().get_arguments(ignore_unknown_help)
        return self.arguments

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ANN401 - flags
        """Run the task and print what it returns.

        Raises:
            Exit: with the exit code of a foreseen failure or of the result.
        """
        as_json = self.as_json and kwargs.pop("json")
        with messages():
            result: Result | None = super().__call__(*args, **kwargs)  # type: ignore[assignment]
            if result:
                text = result.json() if as_json else result.text
                sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
        if result and result.exit_code:
            raise Exit(code=result.exit_code)


class CommandLine(Program):
    """invoke with our reading of command lines and our help of a task."""

    choices: Callable[[], Mapping[str, str]]
    """Returns what `{images}` and the like in help texts stand for."""

    def parse_tasks(self) -> None:
        """Refuse typing mistakes, then let invoke read the line."""
        with messages():
            core, tasks = syntax(self.initial_context.args.values()), syntaxes(self.collection)
            if isinstance(self.args.help.value, str) and self.args.help.value not in tasks:
                kind = "task"
                raise unknown_name(kind, self.args.help.value, tasks)
            if isinstance(self.args.list.value, str) and self.args.list.value not in self.collection.collections:
                kind = "group of tasks"
                raise unknown_name(kind, self.args.list.value, self.collection.collections)
            self.core.unparsed[:] = normalize(self.core.unparsed, tasks, core)
            super().parse_tasks()

    def print_task_help(self, name: str) -> None:
        """Print how a task is called, what it does, and its flags with what they take."""
        command: Command = self.collection[name]
        choices = self.choices()
        operands = {row.attr_name or row.name: row for row in command.get_arguments() if row.name in command.operands}
        form = "{}" if command.required else "[{}]"
        usage = " ".join(form.format(operand.upper()) for operand in command.operands)
        flags = [row for row in command.get_arguments() if row.name not in command.operands]
        print(f"Usage: invoke {name} {usage}".rstrip() + (" [--options]" if flags else ""))
        print(f"\n{inspect.getdoc(command)}\n")
        if operands:
            rows = [(name.upper(), str(operands[name].help).format_map(choices)) for name in command.operands]
            self.print_columns(rows)
        if flags:
            print("Options:")
            self.print_columns([(_form(row), str(row.help).format_map(choices)) for row in flags])


def _form(argument: Argument) -> str:
    """Return how a flag is written: `-i, --image=IMAGE`."""
    value = str(argument.names[0]).upper()
    suffix = {
        Takes.NO_VALUE: "",
        Takes.ONE_VALUE: f"={value}",
        Takes.VALUES: f"={value}",
        Takes.OPTIONAL_VALUE: f"[={value}]",
    }[_takes(argument)]
    return ", ".join(sorted(map(to_flag, argument.names), key=len)) + suffix


def command(
    helps: Mapping[str, str],
    **options: Any,  # noqa: ANN401 - of `Command`
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a task of a function.

    Args:
        helps: flag -> its help text; `task.flag` for a flag that means something else in that task.
        options: of `Command`.
    """

    def make(body: Callable[..., Any]) -> Command:
        task = Command(body, **options)
        flags = [name.replace("_", "-") for name in task.argspec(body).parameters if name != "json"]
        task.help = {flag: helps.get(f"{task.name}.{flag}") or helps[flag] for flag in flags}
        if task.as_json:
            task.help["json"] = JSON_HELP
        return task

    return make


def install(choices: Callable[[], Mapping[str, str]]) -> None:
    """Let the running `invoke` read its line as above.

    Args:
        choices: returns what `{images}` and the like in help texts stand for.
    """
    from invoke.main import program

    program.__class__ = CommandLine
    CommandLine.choices = staticmethod(choices)
