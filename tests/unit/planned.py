"""What is planned of a request, as tests look at it."""

from __future__ import annotations

from typing import Any

from dynamo_containers.docker_cli import Docker
from dynamo_containers.plan import bake
from dynamo_containers.plan.request import BuildInputs, BuildPart, Request
from dynamo_containers.process import Plan

DOCKER = Docker(environment={}, buildx=("docker", "buildx"))


def document(request: Request, inputs: BuildInputs) -> dict[str, Any]:
    """Return the bake document of a request."""
    return bake.bake_graph(BuildPart(request, inputs)).document()


def execution(request: Request, inputs: BuildInputs, docker: Docker = DOCKER) -> Plan:
    """Return the documents and the command of an ordinary build."""
    plan = bake.build_plan(BuildPart(request, inputs))
    return Plan(documents=plan.documents, commands=(plan.command(docker),))
