"""Plan of one node: its calls of bake, and the documents that they read.

An ordinary build is one call on the engine in use. With caches there is a call for each image, and each of several
builders has calls of its own (plan/distributed.py).
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
class BakeCall:
    """One call of bake."""

    images: tuple[PlannedImage, ...]
    """The images that it builds."""
    document: Document
    """The bake document that it reads."""
    command: Command

    @property
    def metadata(self) -> Path:
        """Return the path where bake writes the digests of the images."""
        return state.metadata(self.document.path)


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """Plan of one node of a build."""

    plan: BuildPlan
    """The plan of the build, for the platforms of the node."""
    calls: tuple[BakeCall, ...] = ()
    """Empty if every image is up to date."""
    documents: tuple[Document, ...] = ()
    """The documents that the calls read."""
    node: Node | None = None
    """None for an ordinary build on the engine in use."""
    export: SourceExport | None = None
    """The export of sources that runs first."""
    existing: Mapping[str, str] = field(default_factory=dict)
    """Target -> digest of the images that are up to date, if there is no call."""

    @property
    def images(self) -> tuple[PlannedImage, ...]:
        """Return the images that it builds, with their tags."""
        return tuple(image for call in self.calls for image in call.images) or self.plan.graph.images

    @property
    def name(self) -> str:
        """Return the name of the node; '' for an ordinary build on the engine in use."""
        return self.node.name if self.node else ""

    @property
    def place(self) -> str:
        """Return BUILDER/NODE, its name in the state of buildx."""
        return self.node.place if self.node else EVERY_NODE

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the environment variables that select it, besides those of the engine in use."""
        return self.node.variables if self.node else {}

    @property
    def merged(self) -> bool:
        """Return whether the targets of an image are stages of one Dockerfile (plan/merged_dockerfile.py)."""
        return bool(self.node and self.node.merged)


def ordinary_plan(plan: BuildPlan, docker: Docker) -> NodePlan:
    """Return the plan of an ordinary build: one call on the engine in use.

    Args:
        plan: the plan of the build.
        docker: the docker CLI of the engine in use.
    """
    call = BakeCall(images=plan.graph.images, document=plan.document, command=plan.command(docker))
    return NodePlan(plan=plan, calls=(call,), documents=plan.documents)
