"""Reader of command lines of `invoke`, which refuses typing mistakes before anything runs.

invoke itself ignores a repeatable flag that lacks its value, accepts an empty value, and ends with 1 for an unknown
word. Here such a line ends with 2 and says what to type. A task may also take names without a flag (`invoke
explain vllm`): invoke can only require them, and then no longer shows the help
(docs/adr/0033-invoke-reads-its-line-by-our-rules.md).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from invoke.parser.context import to_flag

from dynamo_containers.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from invoke.parser.argument import Argument

RENAMED = {"--judge": "--verify"}
"""Flag of an earlier version -> what it is called now."""


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
    rows = [([to_flag(name) for name in argument.names], takes(argument)) for argument in arguments]
    return Syntax(
        flags={flag: takes for flags, takes in rows for flag in flags},
        names={flag: flags[0] for flags, _ in rows for flag in flags},
        operands=operands,
        required=required,
    )


def takes(argument: Argument) -> Takes:
    """Return what an argument of invoke takes."""
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
