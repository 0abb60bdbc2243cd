"""Plan of one node: the calls of bake that build its part, and the documents that they read.

An ordinary build is one call on the engine in use. With caches there is a call for each image, and of several builders
each gets calls of its own (plan/distributed.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.engine.build_refs import EVERY_NODE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.plan.bake import BuildPlan, PlannedImage
    from dynamo_containers.plan.builders import Node
    from dynamo_containers.plan.source_export import SourceExport
    from dynamo_containers.process import Command, Document


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of bake."""

    images: tuple[PlannedImage, ...]
    """What it makes."""
    document: Document
    """The bake document that it reads."""
    command: Command

    @property
    def metadata(self) -> Path:
        """Return where bake writes what it made."""
        return state.metadata(self.document.path)


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """What one node does in a build."""

    plan: BuildPlan
    """What is built, for the platforms of the node."""
    calls: tuple[Call, ...] = ()
    """None where every image is up to date."""
    documents: tuple[Document, ...] = ()
    """What the calls read."""
    node: Node | None = None
    """None: the engine in use, in an ordinary build."""
    export: SourceExport | None = None
    """What copies sources out first."""
    existing: Mapping[str, str] = field(default_factory=dict)
    """Target -> digest of the images that are up to date, where there is no call."""

    @property
    def images(self) -> tuple[PlannedImage, ...]:
        """Return what it makes, with the names that it gives them."""
        return tuple(image for call in self.calls for image in call.images) or self.plan.graph.images

    @property
    def name(self) -> str:
        """Return the name of the node; nothing for the engine in use, in an ordinary build."""
        return self.node.name if self.node else ""

    @property
    def place(self) -> str:
        """Return BUILDER/NODE, as buildx's state has it."""
        return self.node.place if self.node else EVERY_NODE

    @property
    def variables(self) -> Mapping[str, str]:
        """Return what the environment of a docker call needs to reach it, besides that of the engine in use."""
        return self.node.variables if self.node else {}

    @property
    def merged(self) -> bool:
        """Return whether the targets of an image are stages of one Dockerfile (plan/merged_dockerfile.py)."""
        return bool(self.node and self.node.merged)


def ordinary_plan(plan: BuildPlan, docker: Docker) -> NodePlan:
    """Return the plan of an ordinary build: one call on the engine in use.

    Args:
        plan: what is built.
        docker: the docker CLI of the engine in use.
    """
    call = Call(images=plan.graph.images, document=plan.document, command=plan.command(docker))
    return NodePlan(plan=plan, calls=(call,), documents=plan.documents)
