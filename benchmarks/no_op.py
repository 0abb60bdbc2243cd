"""What do our commands cost beside raw bake, and how long does a person wait for help? Run by `nox -s bench`.

The two are called in turn, so that a slow moment of the machine meets both; medians and ratios are what counts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.errors import CommandFailedError, UnreachableError
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import Part, request_for
from dynamo_containers.prepare import inputs
from dynamo_containers.state import IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 15
MOST_BESIDE_BAKE = 1.3
MOST_OF_ALL_STEPS = 1.5
"""What a build may take beside raw bake where it leaves every step to it: Python and invoke start, too."""
MOST_SECONDS = {"invoke --list": 0.3, "nox -l": 0.3, "invoke explain": 1.0, "invoke engine.up": 1.0}
MOST_AT_ALL = 60
"""Seconds after which a command is stopped."""
RESULTS = ROOT / ".build" / "bench.json"
BAKE = "bake"
ALL_STEPS = ", all steps"
FORGET = 'rm -rf "$0"; exec "$@"'
"""Makes a build forget which images are up to date, as a commit does: the engine is asked for every step."""


def seconds(command: process.Command) -> float:
    """Return how long a command takes, whole process, from outside.

    Raises:
        CommandFailedError: it failed. Where locks are missing whose registries are out of reach, `lock --check` says so
            by its exit code, which is an answer.
    """
    start = time.perf_counter()
    finished = process.query(command, seconds=MOST_AT_ALL)
    took = time.perf_counter() - start
    if finished.returncode not in (0, UnreachableError.exit_code):
        message = f"{command} ended with exit code {finished.returncode}:\n{finished.stdout}{finished.stderr}"
        raise CommandFailedError(message)
    return took


def in_turn(commands: dict[str, process.Command]) -> dict[str, list[float]]:
    """Time several commands in turn, after one uncounted round."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            took = seconds(command)
            if number:
                times[name].append(took)
    return times


def no_op(stage: Stage, images: Sequence[str]) -> dict[str, list[float]]:
    """Time an unchanged build by `invoke`, by one that leaves all steps to the engine, and by raw bake of the same."""
    request = request_for(load_catalogue(), stage, ImageSelection(images=images))
    raw = bake.build_plan(Part(request, inputs.build_inputs(request))).command(engine.docker(ROOT))
    chosen = () if stage is Stage.BASE else (word for image in images for word in ("--image", image))
    words = ("invoke", f"build.{stage.value}", *chosen)
    process.capture(process.Command(argv=words))
    name, known = " ".join(words[:2]), str(ROOT / IMAGES)
    forgetful = process.Command(argv=("sh", "-c", FORGET, known, *words))
    # In this order: the first one leaves behind what the second looks for.
    return in_turn({f"{name}{ALL_STEPS}": forgetful, name: process.Command(argv=words), BAKE: raw})


def main() -> int:
    """Print a table and write the same as JSON."""
    rows = {
        "no-op, base image": no_op(Stage.BASE, ["base"]),
        "no-op, frontend runtime": no_op(Stage.RUNTIME, ["frontend"]),
        "help": in_turn(
            {
                "invoke --list": process.Command(argv=("invoke", "--list")),
                "nox -l": process.Command(argv=("nox", "-l")),
                "invoke lock --check": process.Command(argv=("invoke", "lock", "--check")),
                "invoke explain": process.Command(argv=("invoke", "explain", "vllm")),
                "invoke engine.up": process.Command(argv=("invoke", "engine.up")),
            }
        ),
    }
    failures = [failure for title, times in rows.items() for failure in report(title, times)]
    process.write(process.Document(path=RESULTS, text=json.dumps(rows, indent=2) + "\n"))
    print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    for failure in failures:
        print(f"too slow: {failure}", file=sys.stderr)
    return 1 if failures else 0


def report(title: str, times: dict[str, list[float]]) -> list[str]:
    """Print a table of medians and return what is over its limit."""
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"\n{title} (median of {ROUNDS}, in turn)")
    for name, taken in times.items():
        print(f"  {name:<30} {medians[name]:6.3f} s  ({min(taken):.3f} to {max(taken):.3f})")
    slow = [f"{name}: {medians[name]:.3f} s" for name, most in MOST_SECONDS.items() if medians.get(name, 0) > most]
    for name in (each for each in times if BAKE in times and each != BAKE):
        most = MOST_OF_ALL_STEPS if name.endswith(ALL_STEPS) else MOST_BESIDE_BAKE
        ratio = statistics.median(ours / raw for ours, raw in zip(times[name], times[BAKE], strict=True))
        print(f"  {name}, beside bake, pair by pair  {ratio:.2f}")
        slow += [f"{title}: {name} is {ratio:.2f} x raw bake"] if ratio > most else []
    return slow


if __name__ == "__main__":
    sys.exit(main())
