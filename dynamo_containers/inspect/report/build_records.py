"""BuildKit's records of the machines that a build called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dynamo_containers.engine import build_refs
from dynamo_containers.engine.build_refs import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dynamo_containers.plan.bake_calls import Call, Machine


def records(machines: Sequence[Machine], state: Path, since: float, *, done: bool) -> tuple[dict[str, str], ...]:
    """Return record -> step for each machine: by bake's metadata, or what began there where it wrote none.

    Args:
        machines: those that were called.
        state: where buildx keeps its state.
        since: when they were, in seconds since 1970.
        done: whether every call ended well.
    """
    found: dict[int, dict[str, str]] = {}
    taken: set[str] = set()
    # What began on a builder with a name is told from what did on the engine in use, whose name nobody said.
    for place in sorted(range(len(machines)), key=lambda each: machines[each].place == EVERYWHERE):
        found[place] = {}
        for call in machines[place].calls:
            found[place] |= _of(machines[place], call, state, since, taken, done=done)
            taken |= set(found[place])
    return tuple(found[place] for place in range(len(machines)))


def _of(  # noqa: PLR0913 - what a record is found by
    machine: Machine, call: Call, state: Path, since: float, taken: set[str], *, done: bool
) -> dict[str, str]:
    if done and call.metadata.is_file():
        return build_refs.of_metadata(json.loads(call.metadata.read_bytes()))
    contexts = {name: row["context"] for name, row in machine.targets.items()}
    begun = build_refs.Begun(since=since, contexts=contexts, wanted=call.wanted, place=machine.place)
    return build_refs.begun(state, begun, taken)
