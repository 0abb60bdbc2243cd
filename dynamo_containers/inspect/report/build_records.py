"""BuildKit's records of the nodes of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.engine import bake_metadata, build_refs
from dynamo_containers.engine.build_refs import EVERY_NODE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dynamo_containers.plan.node_plan import BakeCall, NodePlan


def records(nodes: Sequence[NodePlan], state: Path, since: float, *, succeeded: bool) -> tuple[dict[str, str], ...]:
    """Return record -> target for each node: from bake's metadata, otherwise what started there.

    Args:
        nodes: the nodes of the build.
        state: where buildx keeps its state.
        since: the start of their calls, in seconds since 1970.
        succeeded: whether every call succeeded.
    """
    records: dict[int, dict[str, str]] = {}
    assigned: set[str] = set()
    # Builders with a name come first: the name of the engine in use is unknown, so it gets the remaining records.
    for index in sorted(range(len(nodes)), key=lambda index: nodes[index].place == EVERY_NODE):
        records[index] = {}
        for call in nodes[index].calls:
            records[index] |= (
                build_refs.from_metadata(bake_metadata.read(call.metadata))
                if succeeded and call.metadata.is_file()
                else build_refs.find_started(state, _started(nodes[index], call, since), assigned)
            )
            assigned |= set(records[index])
    return tuple(records[index] for index in range(len(nodes)))


def _started(node: NodePlan, call: BakeCall, since: float) -> build_refs.StartedBuild:
    """Return what identifies the records of a call that wrote no metadata."""
    contexts = {name: target.context for name, target in node.plan.graph.targets.items()}
    return build_refs.StartedBuild(since=since, contexts=contexts, target=call.images[0].target, node=node.place)


def digests(node: NodePlan) -> dict[str, str]:
    """Return target -> digest of the images that a node built, or that were up to date."""
    calls = (bake_metadata.digests(call.metadata) for call in node.calls)
    return {target: digest for images in calls for target, digest in images.items()} | dict(node.existing)
