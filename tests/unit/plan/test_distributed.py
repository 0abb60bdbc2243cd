"""The plans of builds with caches, of pairs on several builders, and of what goes to a registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.builds import distributed as distributed_run
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, caches, distributed
from dynamo_containers.plan.builders import Builder, Node, Share
from dynamo_containers.plan.distributed import Pushed, Wide
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.distributed import Work

AMD64, ARM64 = Platform.AMD64, Platform.ARM64
HERE = Share(builder=None, platforms=(AMD64,), native=AMD64)
NODE = Builder(name="node", driver="docker", nodes=(Node(name="node", platforms=("linux/arm64",)),))
REMOTE = Builder(name="far", driver="remote", nodes=(Node(name="far0", platforms=("linux/arm64",)),))
RECIPE = "FROM scratch\nCOPY file /file\n"
REGISTRY = "registry.example/team"


def both(catalogue: Catalogue) -> Request:
    return bake.request(catalogue, Stage.RUNTIME, images=["frontend"], platforms=["all"])


def planned(request: Request, facts: Facts, share: Share, cache: str = "", registry: str = REGISTRY) -> Work:
    own = replace(request, platforms=share.platforms)
    wanted = caches.wanted(own, caches.Rows(), [cache] if cache else [], cache)
    wide = Wide(request=own, facts=replace(facts, native=share.native), share=share, caches=wanted, registry=registry)
    content = bake.bake(wide.request, wide.facts)
    texts = dict.fromkeys(content["target"], RECIPE)
    return distributed.work(wide, content, texts, {"DOCKER_HOST": "unix:///run/engine.sock"}, ("buildx",))


def target(work: Work) -> dict[str, Any]:
    """Return the target of the one image of a machine's work."""
    content: dict[str, Any] = json.loads(work.documents[-1].text)
    (name,) = content["group"]["default"]["targets"]
    found: dict[str, Any] = content["target"][name]
    return found


def test_each_machine_builds_its_own_platform_with_the_tools_of_its_own(catalogue: Catalogue, facts: Facts) -> None:
    there = Share(builder=REMOTE, platforms=(ARM64,), native=ARM64)
    steps = json.loads(planned(both(catalogue), facts, there).documents[-1].text)["target"]
    assert {tuple(step["platforms"]) for name, step in steps.items() if name != "tools"} == {("linux/arm64",)}
    assert [key for key in steps["tools"]["contexts"] if key.startswith("root-")] == ["root-arm64"]


def test_a_part_is_pushed_by_digest_without_a_tag(catalogue: Catalogue, facts: Facts) -> None:
    made = target(planned(both(catalogue), facts, Share(builder=REMOTE, platforms=(ARM64,), native=ARM64)))
    assert made["tags"] == []
    assert made["output"] == [
        (
            "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true,"
            "name=registry.example/team/dynamo-frontend,push-by-digest=true,name-canonical=true"
        )
    ]


def test_an_engine_which_cannot_push_by_digest_gives_its_part_a_tag_that_nobody_pulls(
    catalogue: Catalogue, facts: Facts
) -> None:
    for share in (HERE, Share(builder=NODE, platforms=(ARM64,), native=ARM64)):
        made = target(planned(both(catalogue), facts, share))
        assert made["tags"] == [
            f"registry.example/team/dynamo-frontend:part-debian-{share.platforms[0].arch}-bbbbbbbbbbbb"
        ]
        assert made["output"] == [
            "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true"
        ]


def test_a_builder_is_named_by_variables_that_win_over_the_engine_in_use(catalogue: Catalogue, facts: Facts) -> None:
    ways = {
        builder: planned(both(catalogue), facts, Share(builder=builder, platforms=(ARM64,), native=ARM64))
        for builder in (NODE, REMOTE)
    }
    variables = {builder: work.parts[0].command.env for builder, work in ways.items()}
    assert variables[NODE]["DOCKER_HOST"] == ""
    assert variables[NODE]["DOCKER_CONTEXT"] == "node"
    assert variables[REMOTE]["DOCKER_HOST"] == "unix:///run/engine.sock"
    assert variables[REMOTE]["BUILDX_BUILDER"] == "far"


def test_the_index_over_all_platforms_is_made_of_digests_and_tagged_by_one_command(
    catalogue: Catalogue, facts: Facts
) -> None:
    digests = (f"sha256:{'1' * 64}", f"sha256:{'2' * 64}")
    pushed = Pushed(request=both(catalogue), version=facts.version, registry=REGISTRY, digests={"frontend": digests})
    (command,) = distributed.merges(pushed, ("buildx",), {})
    assert command.argv == (
        *("buildx", "imagetools", "create", "--tag", "registry.example/team/dynamo-frontend:1.4.2-debian"),
        *(f"registry.example/team/dynamo-frontend@{digest}" for digest in digests),
    )


def test_several_machines_without_a_registry_are_refused_with_who_builds_what() -> None:
    shares = (HERE, Share(builder=REMOTE, platforms=(ARM64,), native=ARM64))
    with pytest.raises(UsageError, match=r"linux/amd64: the engine of this machine\n  linux/arm64: the builder far\n"):
        distributed.check(shares, "")
    distributed.check(shares, REGISTRY)
    distributed.check(shares[:1], "")


def test_with_caches_an_image_is_one_dockerfile_that_reads_and_writes_them(catalogue: Catalogue, facts: Facts) -> None:
    work = planned(both(catalogue), facts, HERE, cache="registry.example/cache", registry="")
    recipe, document = work.documents
    made = target(work)
    assert list(json.loads(document.text)["target"]) == ["frontend-runtime"]
    assert made["dockerfile"] == str(recipe.path)
    assert "AS frontend-runtime\n" in recipe.text
    assert made["cache-from"][0] == "type=registry,ref=registry.example/cache:frontend-runtime-debian-amd64"
    assert made["cache-to"][0].startswith(
        "type=registry,ref=registry.example/cache:frontend-runtime-debian-amd64,mode=max"
    )
    assert made["tags"] == ["dynamo-frontend:1.4.2-debian-amd64"]
    assert made["output"] == [bake.OUTPUT]
    assert work.document.text == bake.plan(replace(both(catalogue), platforms=(AMD64,)), facts, {}).documents[0].text


def test_with_caches_the_trees_of_checkouts_are_copied_out_before(catalogue: Catalogue, facts: Facts) -> None:
    dynamo = {"dynamo": Source(context="/home/me/dynamo", local=True)}
    request = replace(both(catalogue), sources=dynamo)
    known = replace(facts, sources=dynamo, os_packages={"rust": Path("/debs")})
    work = planned(request, known, HERE, cache="registry.example/cache", registry="")
    assert work.copying is not None
    (folder,) = work.copying.folders.values()
    assert folder == request.catalogue.folder / ".build/sources/bake-runtime-frontend-debian-amd64/dynamo-source"
    (document,) = [each for each in work.documents if each.path.name.endswith("-wide-sources.json")]
    (step,) = json.loads(document.text)["target"].values()
    assert (step["context"], step["output"]) == ("/home/me/dynamo", [f"type=local,dest={folder}"])
    assert "platforms" not in step, "the same tree for all of them, in that folder and not in one for each below"
    assert f"--allow=fs.write={folder}" in work.copying.command.argv
    assert "--allow=fs.read=/home/me/dynamo" in work.copying.command.argv
    (recipe,) = [each for each in work.documents if each.path.suffix == ".Dockerfile"]
    assert "AS dynamo-rust\n" in recipe.text
    assert "AS dynamo-source\n" not in recipe.text
    assert planned(request, known, HERE).copying is None, "the graph of bake needs no copy"


def test_without_caches_the_graph_is_built_as_ever(catalogue: Catalogue, facts: Facts) -> None:
    work = planned(both(catalogue), facts, HERE)
    ordinary = json.loads(work.document.text)["target"]
    pushed = json.loads(work.documents[-1].text)["target"]
    assert {name for name in ordinary if ordinary[name] != pushed[name]} == {"frontend-runtime"}


def test_a_report_is_told_who_builds_what_and_where_its_records_are(catalogue: Catalogue, facts: Facts) -> None:
    request = both(catalogue)
    there = Share(builder=REMOTE, platforms=(ARM64,), native=ARM64)
    machines = []
    for share in (HERE, there):
        own = replace(request, platforms=share.platforms)
        wide = Wide(request=own, facts=facts, share=share, registry=REGISTRY)
        machines.append(distributed.called(wide, planned(request, facts, share)))
    here, far = machines
    assert (here.name, here.place, here.variables) == ("the engine of this machine", "*/*", {})
    assert (far.name, far.place, far.variables) == ("the builder far", "far/far0", {"BUILDX_BUILDER": "far"})
    assert [call.wanted for call in far.calls] == ["frontend-runtime"]
    assert here.tags == {"frontend": "registry.example/team/dynamo-frontend:part-debian-amd64-bbbbbbbbbbbb"}
    assert far.tags == {"frontend": "registry.example/team, without a tag"}
    assert here.pushed == far.pushed == {"frontend": "registry.example/team/dynamo-frontend"}
    assert not here.joined


def test_each_machine_of_a_pair_writes_the_cache_of_its_own_platform(catalogue: Catalogue) -> None:
    request = both(catalogue)
    wished = caches.wanted(request, caches.Rows(), write="registry.example/cache")
    own = distributed_run.caches_of(wished, request, replace(request, platforms=(ARM64,)))
    assert wished.write["frontend"].name == "frontend-runtime-debian-amd64-arm64"
    assert own.write["frontend"].name == "frontend-runtime-debian-arm64"
