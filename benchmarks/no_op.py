"""What do our commands cost beside raw bake, and how long does a person wait for help? Run by `nox -s bench`.

The two are called in turn, so that a slow moment of the machine meets both; medians and ratios are what counts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from dynamo_containers import build, engine, model, prepare, run

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 15
MOST_BESIDE_BAKE = 1.3
MOST_SECONDS = {"invoke --list": 0.3, "nox -l": 0.3, "invoke explain": 1.0, "invoke engine.up": 1.0}
RESULTS = model.ROOT / ".build" / "bench.json"


def seconds(command: run.Command) -> float:
    """Return how long a command takes, whole process, from outside."""
    start = time.perf_counter()
    run.capture(command)
    return time.perf_counter() - start


def in_turn(commands: dict[str, run.Command]) -> dict[str, list[float]]:
    """Time several commands in turn, after one uncounted round."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            took = seconds(command)
            if number:
                times[name].append(took)
    return times


def no_op(stage: model.Stage, images: Sequence[str]) -> dict[str, list[float]]:
    """Time an unchanged build by `invoke` and by raw bake of the very same document."""
    request = build.request(model.load(), stage, images=images)
    raw = build.plan(request, prepare.facts(request), engine.environment(model.ROOT)).commands[0]
    chosen = () if stage is model.Stage.BASE else (word for image in images for word in ("--image", image))
    words = ("invoke", f"build.{stage.value}", *chosen)
    run.capture(run.Command(argv=words))
    return in_turn({" ".join(words[:2]): run.Command(argv=words), "bake": raw})


def main() -> int:
    """Print a table and write the same as JSON."""
    rows = {
        "no-op, base image": no_op(model.Stage.BASE, ["base"]),
        "no-op, frontend runtime": no_op(model.Stage.RUNTIME, ["frontend"]),
        "help": in_turn(
            {
                "invoke --list": run.Command(argv=("invoke", "--list")),
                "nox -l": run.Command(argv=("nox", "-l")),
                "invoke lock --check": run.Command(argv=("invoke", "lock", "--check")),
                "invoke explain": run.Command(argv=("invoke", "explain", "--image", "vllm")),
                "invoke engine.up": run.Command(argv=("invoke", "engine.up")),
            }
        ),
    }
    failures = [failure for title, times in rows.items() for failure in report(title, times)]
    run.write(run.Document(path=RESULTS, text=json.dumps(rows, indent=2) + "\n"))
    print(f"\nWritten to {RESULTS.relative_to(model.ROOT)}")
    for failure in failures:
        print(f"too slow: {failure}", file=sys.stderr)
    return 1 if failures else 0


def report(title: str, times: dict[str, list[float]]) -> list[str]:
    """Print a table of medians and return what is over its limit."""
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"\n{title} (median of {ROUNDS}, in turn)")
    for name, taken in times.items():
        print(f"  {name:<24} {medians[name]:6.3f} s  ({min(taken):.3f} to {max(taken):.3f})")
    slow = [f"{name}: {medians[name]:.3f} s" for name, most in MOST_SECONDS.items() if medians.get(name, 0) > most]
    if "bake" in times:
        ratio = statistics.median(ours / raw for ours, raw in zip(*times.values(), strict=True))
        print(f"  ratio, pair by pair      {ratio:6.2f}")
        slow += [f"{title}: {ratio:.2f} x raw bake"] if ratio > MOST_BESIDE_BAKE else []
    return slow


if __name__ == "__main__":
    sys.exit(main())
