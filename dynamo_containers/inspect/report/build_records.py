"""BuildKit's records of the machines of a build."""

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
    """Return record -> target for each machine: from bake's metadata, otherwise what started there.

    Args:
        machines: the machines of the build.
        state: where buildx keeps its state.
        since: the start of their calls, in seconds since 1970.
        done: whether every call succeeded.
    """
    records: dict[int, dict[str, str]] = {}
    assigned: set[str] = set()
    # Builders with a name come first: the name of the engine in use is unknown, so it gets the remaining records.
    for index in sorted(range(len(machines)), key=lambda index: machines[index].place == EVERYWHERE):
        records[index] = {}
        for call in machines[index].calls:
            records[index] |= _call_records(machines[index], call, state, since, assigned, done=done)
            assigned |= set(records[index])
    return tuple(records[index] for index in range(len(machines)))


def _call_records(  # noqa: PLR0913 - a record is identified by all of them
    machine: Machine, call: Call, state: Path, since: float, assigned: set[str], *, done: bool
) -> dict[str, str]:
    if done and call.metadata.is_file():
        return build_refs.of_metadata(json.loads(call.metadata.read_bytes()))
    contexts = {name: row["context"] for name, row in machine.targets.items()}
    begun = build_refs.Begun(since=since, contexts=contexts, wanted=call.wanted, place=machine.place)
    return build_refs.begun(state, begun, assigned)
