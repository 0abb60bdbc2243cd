"""Tests of builds with caches and on several builders, with a buildx that is a script."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import distributed as distributed_run
from dynamo_containers.builds.distributed import Distribution
from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.inspect.report.recorder import Recorder
from dynamo_containers.plan import bake, caches
from dynamo_containers.plan.builders import Builder, BuilderNode, Node
from dynamo_containers.plan.caches import Caches
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from pathlib import Path

BUILDX = """\
#!/bin/sh
echo "${BUILDX_BUILDER:-here} $1 $2" >> "$(dirname "$0")/asked"
case "$1 $2" in
"history ls") echo '{"ref": "x/x/1", "created_at": "2999-01-01T00:00:00Z"}' ;;
"history inspect") cat "$(dirname "$0")/message" ;;
"bake "*)
    for file in "$@"; do :; done
    ! grep -q cache-from "$file"
    ;;
esac
"""
"""A build that reads a cache fails."""
LIE = f"unexpected commit digest sha256:{'1' * 64}, expected sha256:{'2' * 64}"
REMOTE = Builder(name="far", driver="remote", nodes=(BuilderNode(name="far0", platforms=("linux/arm64",)),))
NODES = (
    Node(builder=None, platforms=(Platform.AMD64,), native=Platform.AMD64),
    Node(builder=REMOTE, platforms=(Platform.ARM64,), native=Platform.ARM64),
)


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "docker/cli-plugins"
    folder.mkdir(parents=True)
    (folder / "docker-buildx").write_text(BUILDX, encoding="utf-8")
    (folder / "docker-buildx").chmod(0o755)
    return folder


def build_pair(checkout: Path, plugins: Path) -> list[str]:
    """Build a pair that reads a cache; return the builder of each bake command."""
    request = request_for(load_catalogue(checkout), Stage.BASE, ImageSelection(platforms=["all"]))
    distribution = Distribution(request=request, caches=Caches(), builders={}, registry="registry.example/team")
    running = distributed_run._DistributedBuild(
        distribution,
        bake.build_plan(BuildPart(request, inputs.offline_build_inputs(request))),
        Docker(environment={"DOCKER_CONFIG": str(plugins.parent)}, buildx=(str(plugins / "docker-buildx"),)),
        Recorder((request,)),
        dry_run=False,
    )
    nodes = [
        replace(
            node,
            caches=caches.caches_for(
                replace(request, platforms=node.platforms), caches.CacheRows(), ["registry.example/cache"]
            ),
            registry=distribution.registry,
        )
        for node in NODES
    ]
    try:
        running.build(nodes, running.plan(nodes))
    finally:
        commands = (plugins / "asked").read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[0] for line in commands if " bake " in line]


def test_a_pair_with_a_faulty_cache_is_built_without_it(
    own_checkout: Path, plugins: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (plugins / "message").write_text(f'{{"Error": {{"Message": "{LIE}"}}}}', encoding="utf-8")
    bakes = build_pair(own_checkout, plugins)
    assert sorted(bakes[-2:]) == ["far", "here"]
    assert len(bakes) in {3, 4}, "one may be ended before it began"
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("The build cache")]
    assert len(lines) == 1
    assert "registry.example/cache has other bytes than it lists" in lines[0]
    assert lines[0].endswith("The build continues without it.")


def test_a_pair_that_fails_for_another_reason_is_not_rebuilt(own_checkout: Path, plugins: Path) -> None:
    (plugins / "message").write_text('{"Error": {"Message": "exit code: 1"}}', encoding="utf-8")
    with pytest.raises(CommandFailedError, match="ended with exit code 1"):
        build_pair(own_checkout, plugins)
    assert len([line for line in (plugins / "asked").read_text(encoding="utf-8").splitlines() if " bake" in line]) <= 2
