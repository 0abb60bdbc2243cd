"""Plans of builds with caches, on several builders, or pushed to a registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, caches, distributed
from dynamo_containers.plan.builders import Builder, BuilderNode, Node
from dynamo_containers.plan.distributed import PushedImages
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.node_plan import NodePlan
    from dynamo_containers.plan.request import BuildInputs, Request

AMD64, ARM64 = Platform.AMD64, Platform.ARM64
HERE = Node(builder=None, platforms=(AMD64,), native=AMD64)
NODE = Builder(name="node", driver="docker", nodes=(BuilderNode(name="node", platforms=("linux/arm64",)),))
REMOTE = Builder(name="far", driver="remote", nodes=(BuilderNode(name="far0", platforms=("linux/arm64",)),))
DOCKERFILE = "FROM scratch\nCOPY file /file\n"
REGISTRY = "registry.example/team"
DOCKER = Docker(environment={"DOCKER_HOST": "unix:///run/engine.sock"}, buildx=("buildx",))


def both(catalogue: Catalogue) -> Request:
    return request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["all"]))


def planned(request: Request, facts: BuildInputs, node: Node, cache: str = "", registry: str = REGISTRY) -> NodePlan:
    own = replace(request, platforms=node.platforms)
    selected = caches.caches_for(own, caches.CacheRows(), [cache] if cache else [], cache)
    plan = bake.build_plan(BuildPart(own, replace(facts, native=node.native)))
    texts = dict.fromkeys(plan.graph.targets, DOCKERFILE)
    node = replace(node, caches=selected, registry=registry)
    return distributed.node_plan(plan, node, texts, DOCKER)


def target(node_plan: NodePlan) -> dict[str, Any]:
    """Return the target of the single image of a node."""
    content: dict[str, Any] = json.loads(node_plan.documents[-1].text)
    (name,) = content["group"]["default"]["targets"]
    image_target: dict[str, Any] = content["target"][name]
    return image_target


def test_each_machine_builds_its_own_platform_with_its_own_tools(catalogue: Catalogue, facts: BuildInputs) -> None:
    far_node = Node(builder=REMOTE, platforms=(ARM64,), native=ARM64)
    steps = json.loads(planned(both(catalogue), facts, far_node).documents[-1].text)["target"]
    assert {tuple(step["platforms"]) for name, step in steps.items() if name != "tools"} == {("linux/arm64",)}
    assert [key for key in steps["tools"]["contexts"] if key.startswith("root-")] == ["root-arm64"]


def test_a_part_is_pushed_by_digest_without_a_tag(catalogue: Catalogue, facts: BuildInputs) -> None:
    pushed_target = target(planned(both(catalogue), facts, Node(builder=REMOTE, platforms=(ARM64,), native=ARM64)))
    assert "tags" not in pushed_target
    assert pushed_target["output"] == [
        (
            "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true,"
            "name=registry.example/team/dynamo-frontend,push-by-digest=true,name-canonical=true"
        )
    ]


def test_an_engine_pushes_its_part_with_a_tag_that_nobody_pulls(catalogue: Catalogue, facts: BuildInputs) -> None:
    for node in (HERE, Node(builder=NODE, platforms=(ARM64,), native=ARM64)):
        pushed_target = target(planned(both(catalogue), facts, node))
        assert pushed_target["tags"] == [
            f"registry.example/team/dynamo-frontend:part-debian-{node.platforms[0].arch}-bbbbbbbbbbbb"
        ]
        assert pushed_target["output"] == [
            "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true"
        ]


def test_a_builder_is_selected_by_variables_that_override_the_engine_in_use(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    ways = {
        builder: planned(both(catalogue), facts, Node(builder=builder, platforms=(ARM64,), native=ARM64))
        for builder in (NODE, REMOTE)
    }
    variables = {builder: node_plan.calls[0].command.env for builder, node_plan in ways.items()}
    assert variables[NODE]["DOCKER_HOST"] == ""
    assert variables[NODE]["DOCKER_CONTEXT"] == "node"
    assert variables[REMOTE]["DOCKER_HOST"] == "unix:///run/engine.sock"
    assert variables[REMOTE]["BUILDX_BUILDER"] == "far"


def test_the_index_over_all_platforms_is_made_of_digests_and_tagged_by_one_command(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    digests = (f"sha256:{'1' * 64}", f"sha256:{'2' * 64}")
    pushed = PushedImages(
        request=both(catalogue), version=facts.version, registry=REGISTRY, digests={"frontend": digests}
    )
    (command,) = distributed.index_commands(pushed, DOCKER)
    assert command.argv == (
        *("buildx", "imagetools", "create", "--tag", "registry.example/team/dynamo-frontend:1.4.2-debian"),
        *(f"registry.example/team/dynamo-frontend@{digest}" for digest in digests),
    )


def test_several_machines_without_a_registry_are_refused_by_name() -> None:
    nodes = (HERE, Node(builder=REMOTE, platforms=(ARM64,), native=ARM64))
    with pytest.raises(UsageError, match=r"linux/amd64: the engine of this machine\n  linux/arm64: the builder far\n"):
        distributed.check_registry(nodes, "")
    distributed.check_registry(nodes, REGISTRY)
    distributed.check_registry(nodes[:1], "")


def test_with_caches_an_image_is_one_dockerfile_that_reads_and_writes_them(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    node_plan = planned(both(catalogue), facts, HERE, cache="registry.example/cache", registry="")
    dockerfile, document = node_plan.documents
    pushed_target = target(node_plan)
    assert list(json.loads(document.text)["target"]) == ["frontend-runtime"]
    assert pushed_target["dockerfile"] == str(dockerfile.path)
    assert "AS frontend-runtime\n" in dockerfile.text
    assert pushed_target["cache-from"][0] == "type=registry,ref=registry.example/cache:frontend-runtime-debian-amd64"
    assert pushed_target["cache-to"][0].startswith(
        "type=registry,ref=registry.example/cache:frontend-runtime-debian-amd64,mode=max"
    )
    assert pushed_target["tags"] == ["dynamo-frontend:1.4.2-debian-amd64"]
    assert pushed_target["output"] == [bake.OUTPUT]
    own = replace(both(catalogue), platforms=(AMD64,))
    assert node_plan.plan.document == bake.build_plan(BuildPart(own, facts)).document


def test_with_caches_checkouts_are_exported_first(catalogue: Catalogue, facts: BuildInputs) -> None:
    dynamo = {"dynamo": Source(context="/home/me/dynamo", local=True)}
    request = replace(both(catalogue), sources=dynamo)
    with_source = replace(facts, sources=dynamo, os_packages={"rust": Path("/debs")})
    node_plan = planned(request, with_source, HERE, cache="registry.example/cache", registry="")
    assert node_plan.export is not None
    (folder,) = node_plan.export.folders.values()
    assert folder == request.catalogue.folder / ".build/sources/bake-runtime-frontend-debian-amd64/dynamo-source"
    (document,) = [file for file in node_plan.documents if file.path.name.endswith("-wide-sources.json")]
    (step,) = json.loads(document.text)["target"].values()
    assert (step["context"], step["output"]) == ("/home/me/dynamo", [f"type=local,dest={folder}"])
    assert "platforms" not in step, "else each platform would have a folder of its own"
    assert f"--allow=fs.write={folder}" in node_plan.export.command.argv
    assert "--allow=fs.read=/home/me/dynamo" in node_plan.export.command.argv
    (dockerfile,) = [file for file in node_plan.documents if file.path.suffix == ".Dockerfile"]
    assert "AS dynamo-rust\n" in dockerfile.text
    assert "AS dynamo-source\n" not in dockerfile.text
    assert planned(request, with_source, HERE).export is None, "the graph of bake needs no copy"


def test_without_caches_the_graph_is_that_of_an_ordinary_build(catalogue: Catalogue, facts: BuildInputs) -> None:
    node_plan = planned(both(catalogue), facts, HERE)
    ordinary = json.loads(node_plan.plan.document.text)["target"]
    pushed = json.loads(node_plan.documents[-1].text)["target"]
    assert {name for name in ordinary if ordinary[name] != pushed[name]} == {"frontend-runtime"}


def test_a_node_plan_names_its_builder_and_its_images(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = both(catalogue)
    far_node = Node(builder=REMOTE, platforms=(ARM64,), native=ARM64)
    here, far = (planned(request, facts, node) for node in (HERE, far_node))
    assert (here.name, here.place, here.variables) == ("the engine of this machine", "*/*", {})
    assert (far.name, far.place, far.variables) == ("the builder far", "far/far0", {"BUILDX_BUILDER": "far"})
    assert [image.target for call in far.calls for image in call.images] == ["frontend-runtime"]
    assert [image.tag for image in here.images] == [
        "registry.example/team/dynamo-frontend:part-debian-amd64-bbbbbbbbbbbb"
    ]
    assert [image.tag for image in far.images] == ["registry.example/team, without a tag"]
    assert {image.repository for image in (*here.images, *far.images)} == {"registry.example/team/dynamo-frontend"}
    assert not here.merged


def test_each_machine_of_a_pair_writes_the_cache_of_its_own_platform(catalogue: Catalogue) -> None:
    request = both(catalogue)
    build_caches = caches.caches_for(request, caches.CacheRows(), write="registry.example/cache")
    own = distributed.node_caches(build_caches, request, replace(request, platforms=(ARM64,)))
    assert build_caches.write["frontend"].name == "frontend-runtime-debian-amd64-arm64"
    assert own.write["frontend"].name == "frontend-runtime-debian-arm64"
