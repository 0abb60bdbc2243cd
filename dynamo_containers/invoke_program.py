"""Program and tasks of `invoke`: our reading of its line, our help of a task, results as text or JSON, exit codes."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit, ParseError
from invoke.parser.context import to_flag
from invoke.program import Program
from invoke.tasks import Task

from dynamo_containers import broken_pipe, signals
from dynamo_containers.command_line import Syntax, Takes, normalize, syntax, takes
from dynamo_containers.errors import FatalError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from invoke.collection import Collection
    from invoke.parser.argument import Argument

    from dynamo_containers.result import Result

SHORT_FLAGS = {"image": "i", "platform": "p", "bases": "b", "stage": "s", "json": "j"}
"""Flag -> its short form, the same in every task; no other flag has one."""
JSON_HELP = "print the answer as JSON (docs/reference/json.md)"


def syntaxes(tasks: Collection) -> dict[str, Syntax]:
    """Return the syntax of every task."""
    commands: dict[str, CommandTask] = {name: tasks[name] for name in tasks.task_names}
    return {
        name: syntax(command.get_arguments(), command.operands, required=command.required)
        for name, command in commands.items()
    }


@contextmanager
def messages() -> Iterator[None]:
    """Turn a foreseen failure into its message and exit code; a bug keeps its traceback."""
    try:
        with signals.interruptible(), broken_pipe.exit_quietly():
            yield
    except FatalError as error:
        message = f"error: {error}"
        raise Exit(message, error.exit_code) from None
    except ParseError as error:
        message = f"error: {error}"
        raise Exit(message, UsageError.exit_code) from None
    except KeyboardInterrupt as error:
        end = signals.ending(error)
        raise Exit(end.message, end.exit_code) from None


class CommandTask(Task["Callable[..., Result | None]"]):
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
            options: invoke's own options of a task; and `dry_run`: False refuses -R.
        """
        self.operands, self.required = operands, required
        self.omitted, self.as_json = omitted, as_json
        self.dry_run: bool = options.pop("dry_run", True)
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
            if not self.dry_run and args[0].config.run.dry:
                message = "This task has no dry run.\nLeave out -R to run it."
                raise UsageError(message)
            result: Result | None = super().__call__(*args, **kwargs)  # type: ignore[assignment]
            if result:
                text = result.json() if as_json else result.text
                sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
        if result and result.exit_code:
            raise Exit(code=result.exit_code)


class CommandLine(Program):
    """invoke with our reading of command lines and our help of a task."""

    choices: Callable[[], Mapping[str, Sequence[str]]]
    """Returns flag -> the names to choose from; `{image}` in help texts stands for those of `--image`."""

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
            if len(self.tasks) > 1:  # a single task checks its names itself, before it starts anything
                self._check_names()

    def _check_names(self) -> None:
        """Refuse a name that does not exist before the first of several tasks runs.

        Raises:
            UsageError: there is no such image, platform, bases or stage.
        """
        choices = self.choices()
        for argument in (argument for task in self.tasks for argument in task.args.values()):
            if argument.got_value and (names := choices.get(argument.names[0])):
                values = argument.value if argument.kind is list else [argument.value]
                for value in values:
                    if value not in names:
                        raise unknown_name(argument.names[0], value, names)

    def print_task_help(self, name: str) -> None:
        """Print how a task is called, what it does, and its flags with what they take."""
        command: CommandTask = self.collection[name]
        choices = {flag: ", ".join(names) for flag, names in self.choices().items()}
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
    }[takes(argument)]
    return ", ".join(sorted(map(to_flag, argument.names), key=len)) + suffix


def command(
    helps: Mapping[str, str],
    **options: Any,  # noqa: ANN401 - of `CommandTask`
) -> Callable[[Callable[..., Any]], CommandTask]:
    """Return a decorator that makes a task of a function.

    Args:
        helps: flag -> its help text; `task.flag` for a flag that means something else in that task.
        options: of `CommandTask`.
    """

    def make(body: Callable[..., Any]) -> CommandTask:
        task = CommandTask(body, **options)
        flags = [name.replace("_", "-") for name in task.argspec(body).parameters if name != "json"]
        task.help = {flag: helps.get(f"{task.name}.{flag}") or helps[flag] for flag in flags}
        if task.as_json:
            task.help["json"] = JSON_HELP
        return task

    return make


def install(choices: Callable[[], Mapping[str, Sequence[str]]]) -> None:
    """Let the running `invoke` read its line as above.

    Args:
        choices: returns flag -> the names to choose from; `{image}` in help texts stands for those of `--image`.
    """
    from invoke.main import program

    program.__class__ = CommandLine
    CommandLine.choices = staticmethod(choices)
