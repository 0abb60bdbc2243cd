"""Duration of unchanged builds, compared with plain bake, and of help commands: `nox -s bench`.

The commands run in turn, so that a slow moment of the machine affects all of them. Medians and ratios count.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.prepare import build_secrets, inputs
from dynamo_containers.state import IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 15
MOST_BESIDE_BAKE = 1.3
MOST_OF_ALL_STEPS = 1.5
"""Limit of the ratio to plain bake for a build that checks every target: Python and invoke have to start as well."""
MOST_SECONDS = {"invoke --list": 0.3, "nox -l": 0.3, "invoke explain": 1.0, "invoke engine.up": 1.0}
MOST_AT_ALL = 60
"""Seconds after which a command is stopped."""
RESULTS = ROOT / ".build" / "bench.json"
BAKE = "bake"
ALL_STEPS = ", all steps"
FORGET = 'rm -rf "$0"; exec "$@"'
"""Deletes the record of images that are up to date, as a commit does: the engine then checks every target."""


def seconds(command: process.Command) -> float:
    """Return the duration of a command from the start to the end of its process.

    Raises:
        CommandFailedError: the command failed.
    """
    start = time.perf_counter()
    finished = process.query(command, seconds=MOST_AT_ALL)
    took = time.perf_counter() - start
    if finished.returncode:
        message = f"{command} ended with exit code {finished.returncode}:\n{finished.stdout}{finished.stderr}"
        raise CommandFailedError(message)
    return took


def in_turn(commands: dict[str, process.Command]) -> dict[str, list[float]]:
    """Time several commands in turn, after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            took = seconds(command)
            if number:
                times[name].append(took)
    return times


def no_op(stage: Stage, images: Sequence[str]) -> dict[str, list[float]]:
    """Time an unchanged build by `invoke`, by `invoke` without its record of current images, and by plain bake."""
    request = request_for(load_catalogue(), stage, ImageSelection(images=images))
    raw = bake.build_plan(BuildPart(request, inputs.build_inputs(request))).command(engine.docker(ROOT))
    chosen = () if stage is Stage.BASE else (argument for image in images for argument in ("--image", image))
    argv = ("invoke", f"build.{stage.value}", *chosen)
    process.capture(process.Command(argv=argv))
    name, images_record = " ".join(argv[:2]), str(ROOT / IMAGES)
    forgetful = process.Command(argv=("sh", "-c", FORGET, images_record, *argv))
    # In this order: the first command writes the record that the second one reads.
    with build_secrets.index_file(ROOT, os.environ):
        return in_turn({f"{name}{ALL_STEPS}": forgetful, name: process.Command(argv=argv), BAKE: raw})


def main() -> int:
    """Print a table and write it as JSON."""
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
    """Print a table of medians; return the exceeded limits."""
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    print(f"\n{title} (median of {ROUNDS}, in turn)")
    for name, durations in times.items():
        print(f"  {name:<30} {medians[name]:6.3f} s  ({min(durations):.3f} to {max(durations):.3f})")
    slow = [f"{name}: {medians[name]:.3f} s" for name, most in MOST_SECONDS.items() if medians.get(name, 0) > most]
    for name in [name for name in times if BAKE in times and name != BAKE]:
        most = MOST_OF_ALL_STEPS if name.endswith(ALL_STEPS) else MOST_BESIDE_BAKE
        ratio = statistics.median(duration / raw for duration, raw in zip(times[name], times[BAKE], strict=True))
        print(f"  {name}, compared with bake, pair by pair  {ratio:.2f}")
        slow += [f"{title}: {name} is {ratio:.2f} x plain bake"] if ratio > most else []
    return slow


if __name__ == "__main__":
    sys.exit(main())
