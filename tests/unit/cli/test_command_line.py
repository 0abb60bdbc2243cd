"""Typing mistakes on the command line end with 2 and what to type, before anything runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from invoke.main import program

import tasks
from dynamo_containers import command_line, invoke_program
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT


def normalize(*line: str) -> list[str]:
    core = command_line.syntax(program.initial_context.args.values())
    return command_line.normalize(line, invoke_program.syntaxes(tasks.namespace), core)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        pytest.param("explain", "explain", id="no name"),
        pytest.param("explain vllm -p all", "explain --image=vllm -p=all", id="name"),
        pytest.param("explain -p all vllm", "explain -p=all --image=vllm", id="name after a flag"),
        pytest.param("explain -pall lint", "explain -p=all lint", id="short flag with its value, and another task"),
        pytest.param("explain vllm lint report", "explain --image=vllm lint report", id="several tasks"),
        pytest.param("diff lint report", "diff --before=lint --after=report", id="required names"),
        pytest.param("diff --help", "diff --help", id="help without the required names"),
        pytest.param("build.ci -i a --image=b", "build.ci -i=a --image=b", id="repeatable"),
        pytest.param("build.ci --cache-to", "build.ci --cache-to", id="value left out where it may be"),
        pytest.param("build.ci --cache-to -R", "build.ci --cache-to -R", id="value left out before a flag"),
        pytest.param("build.ci --cache-to=/x --strict", "build.ci --cache-to=/x --strict", id="switch"),
        pytest.param("run --command=--version", "run --command=--version", id="value that begins with a dash"),
    ],
)
def test_a_line_is_read_with_the_flag_of_each_name(line: str, read: str) -> None:
    assert normalize(*line.split()) == read.split()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(("lnit",), 'unknown task "lnit" (choose from: lock, lint, ', id="task"),
        pytest.param(("lnit",), "\nDid you mean lint?", id="task, the closest"),
        pytest.param(("explain", "vllm", "lnit"), '"lnit" is one too many\nDid you mean lint?', id="second task"),
        pytest.param(("explain", "a", "b"), '`invoke explain` takes one name without a flag, and "b"', id="two names"),
        pytest.param(("build.ci", "vllm"), "Did you mean --image vllm?", id="name instead of a flag"),
        pytest.param(("explain", "--image", "vllm"), "without --image: invoke explain IMAGE", id="flag of a name"),
        pytest.param(("build.ci", "--imgae", "x"), "\nDid you mean --image?", id="flag"),
        pytest.param(("report", "-i", "x"), 'unknown flag of `invoke report` "-i"', id="short flag"),
        pytest.param(("run", "-c", "sh"), 'unknown flag of `invoke run` "-c"', id="no automatic flag"),
        pytest.param(("lock", "--judge"), "\n--judge is called --verify now.", id="flag of an earlier version"),
        pytest.param(("build.ci", "--image"), "--image needs a value, and the command ends after it", id="no value"),
        pytest.param(
            ("build.ci", "--image", "--platform", "x"),
            "--image needs a value, and --platform follows it\n",
            id="another flag instead of a value",
        ),
        pytest.param(("build.ci", "--push", ""), "--push of `invoke build.ci` has an empty value\n", id="empty"),
        pytest.param(("build.ci", "--push= "), "--push of `invoke build.ci` has an empty value\n", id="only a space"),
        pytest.param(("build.ci", "--image", ""), "--image of `invoke build.ci` has an empty value\n", id="repeatable"),
        pytest.param(("lock", "--bases", "debian", "--bases"), "--bases needs a value", id="second without a value"),
        pytest.param(("build.ci", "-b", "a", "--bases=b"), "--bases of `invoke build.ci` is given twice", id="twice"),
        pytest.param(("lint", ""), "an empty name", id="empty name"),
        pytest.param(("build.ci", "--strict=yes"), "--strict of `invoke build.ci` takes no value", id="switch"),
        pytest.param(("diff", "a"), "AFTER is missing: invoke diff BEFORE AFTER", id="required name"),
    ],
)
def test_a_typing_mistake_is_refused_with_what_to_type(line: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalize(*line)
    assert message in str(caught.value)


def test_short_flags_are_few_and_mean_the_same_in_every_task() -> None:
    short = {
        (argument.names[0], name)
        for task in tasks.namespace.task_names
        for argument in tasks.namespace[task].get_arguments()
        for name in argument.names[1:]
    }
    assert short <= set(invoke_program.SHORT_FLAGS.items())


def invoke(*line: str) -> tuple[int, str, str]:
    """Run the plain `invoke` command, which is what people type."""
    command = subprocess.run(
        (sys.executable, "-m", "invoke", *line), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "Traceback" not in command.stderr
    return command.returncode, command.stdout, command.stderr


@pytest.mark.cli
@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("buidl.ci", "Did you mean build.ci?", id="task"),
        pytest.param("build.ci --imgae vllm", "Did you mean --image?", id="flag"),
        pytest.param("build.ci --image vlm", "Did you mean vllm?", id="image"),
        pytest.param("build.ci --platform arm64", "Did you mean linux/arm64?", id="platform"),
        pytest.param("build.ci --bases debain", "Did you mean debian?", id="bases"),
        pytest.param("explain vllm --stage runtme", "Did you mean runtime?", id="stage"),
        pytest.param("build.runtime --image", "--image needs a value", id="no value"),
        pytest.param("build.runtime --push=", "has an empty value", id="empty value"),
        pytest.param("build.runtime vllm", "Did you mean --image vllm?", id="name"),
        pytest.param("lint buidl.ci", "Did you mean build.ci?", id="second task, so the first does not run"),
        pytest.param("lint build.ci --image vlm", "Did you mean vllm?", id="name of the second task"),
        pytest.param("lint explain vllm -p arm64", "Did you mean linux/arm64?", id="platform of the second task"),
        pytest.param("--lst", "unknown flag of invoke", id="flag of invoke itself"),
        pytest.param("--help expalin", "Did you mean explain?", id="help"),
        pytest.param("--list buidl", "Did you mean build?", id="group"),
    ],
)
def test_invoke_ends_with_2_before_anything_runs(line: str, message: str) -> None:
    code, output, complaints = invoke(*line.split())
    assert (code, output) == (2, "")
    assert complaints.startswith("error: ")
    assert message in complaints


@pytest.mark.cli
@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param("--help", "Core options:", id="help"),
        pytest.param("--list build", ".runtime", id="list of a group"),
        pytest.param("--list --list-format=json", '"name": "engine"', id="list as JSON"),
        pytest.param("build.ci --help", "-i, --image=IMAGE", id="help of a task"),
        pytest.param("--help explain", "Usage: invoke explain [IMAGE] [--options]", id="help of a task, the other way"),
        pytest.param("diff -h", "Usage: invoke diff BEFORE AFTER", id="help of a task with required names"),
        pytest.param("explain base explain frontend -s ci", "frontend, ci stage, ", id="several tasks"),
        pytest.param("--complete -- build", "build.runtime", id="completion of tasks"),
        pytest.param("--complete -- build.ci --", "--platform", id="completion of flags"),
        pytest.param("--version", "Invoke", id="version"),
    ],
)
def test_invoke_s_own_ways_go_on_working(line: str, text: str) -> None:
    code, output, complaints = invoke(*line.split())
    assert (code, complaints) == (0, "")
    assert text in output
