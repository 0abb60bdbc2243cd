"""One Dockerfile for a graph of targets: its steps have other names, and are otherwise the same."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.plan import bake, distributed, dockerfile
from dynamo_containers.plan.merged_dockerfile import merge
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.plan.target import Target
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs

ROOT = """\
# The root of all.
ARG TARGETARCH
FROM root-${TARGETARCH}
ARG SOURCE_DATE_EPOCH
ARG TARGETARCH
ARG WORD
RUN --mount=type=bind,from=bin,target=/run/bin \\
    --mount=type=bind,source=install,target=/run/install <<EOF
set -eu
# a comment of the script, and FROM bin
FROM=1 /run/install --from=bin "${WORD}"
EOF
"""
TOP = """\
FROM scratch AS late
FROM --platform=${BUILDPLATFORM} tools AS made
ARG WORD="default"
COPY file /file
RUN --mount=type=bind,target=/here /here/run

FROM below
COPY --link --from=made /tree /
COPY --from=late / /late
"""


def step(folder: str, contexts: dict[str, str], *, platforms: bool = True, **args: str) -> Target:
    return Target(
        args={"SOURCE_DATE_EPOCH": "7", **args},
        context=f"/c/{folder}",
        contexts={"bin": "/c/bin", **contexts},
        platforms=("linux/amd64",) if platforms else (),
    )


ROOTS = {"root-amd64": "oci-layout:///r@sha256:1", "root-arm64": "oci-layout:///r@sha256:2"}
GRAPH = {
    "os": step("os", ROOTS, WORD='a "word" for $5'),
    "tools": step("os", {"root-amd64": ROOTS["root-amd64"]}, platforms=False, WORD="tools"),
    "late": step("os", ROOTS, WORD="late"),
    "top": replace(
        step("top", {"below": "target:os", "tools": "target:tools", "late": "target:late"}), tags=("image:1",)
    ),
    "other": step("os", ROOTS),
}
TEXTS = {"os": ROOT, "tools": ROOT, "late": ROOT, "top": TOP, "other": ROOT}


def stages(text: str) -> dict[str, dockerfile.DockerfileStage]:
    return {stage.name: stage for stage in dockerfile.parse(text).stages}


def test_every_needed_target_becomes_stages_that_have_its_name() -> None:
    target, text = merge(GRAPH, "top", TEXTS, Platform.AMD64, {})
    assert set(stages(text)) == {"os", "tools", "late", "top--late", "top--made", "top"}
    assert target.stage == "top"
    assert target.tags == ("image:1",)
    assert target.args == {"SOURCE_DATE_EPOCH": "7"}, "BuildKit itself reads that one"


def test_contexts_have_the_name_of_their_target_and_its_own_folder_is_one() -> None:
    target, text = merge(GRAPH, "top", TEXTS, Platform.AMD64, {})
    assert target.contexts == {
        **{f"{name}--{key}": value for name in ("os", "late") for key, value in ROOTS.items()},
        "tools--root-amd64": ROOTS["root-amd64"],
        **{f"{name}--bin": "/c/bin" for name in ("os", "tools", "late")},
        **{f"{name}--here": "/c/os" for name in ("os", "tools", "late")},
        "top--here": "/c/top",
    }
    (run,) = [instruction for instruction in stages(text)["os"].steps if instruction.keyword == "RUN"]
    assert run.flags == (
        "--mount=type=bind,from=os--bin,target=/run/bin",
        "--mount=type=bind,from=os--here,source=install,target=/run/install",
    )
    copied = stages(text)["top--made"]
    assert [step.text for step in copied.steps if step.keyword in ("COPY", "RUN")] == [
        "--from=top--here\nfile /file",
        "--mount=type=bind,from=top--here,target=/here\n/here/run",
    ]


def test_a_script_stays_as_it_is() -> None:
    _, text = merge(GRAPH, "top", TEXTS, Platform.AMD64, {})
    assert (
        text.count('set -eu\n# a comment of the script, and FROM bin\nFROM=1 /run/install --from=bin "${WORD}"\n') == 3
    )


def test_arguments_have_the_values_of_the_target_or_their_defaults() -> None:
    _, text = merge(GRAPH, "top", TEXTS, Platform.AMD64, {})
    assert 'ARG WORD="a \\"word\\" for \\$5"' in text
    assert 'ARG WORD="default"' in text
    assert "ARG SOURCE_DATE_EPOCH\n" in text


def test_a_context_wins_over_a_stage_of_the_same_name() -> None:
    _, text = merge(GRAPH, "top", TEXTS, Platform.AMD64, {})
    assert [instruction.flags for instruction in stages(text)["top"].steps] == [
        ("--link", "--from=top--made"),
        ("--from=late",),
    ]


def test_a_target_for_the_machine_that_builds_has_its_platform() -> None:
    _, text = merge(GRAPH, "top", TEXTS, Platform.ARM64, {})
    tools = stages(text)["tools"]
    assert (tools.platform, tools.image) == ("${BUILDPLATFORM}", "tools--root-arm64")
    assert 'ARG TARGETARCH="arm64"' in text
    assert stages(text)["os"].image == "os--root-${TARGETARCH}"


def test_stages_of_the_image_come_after_others_that_are_based_on_the_same_one() -> None:
    """BuildKit mixes up the history of two stages that are based on one: the image's must be the second."""
    graph = dict(GRAPH)
    graph["last"] = step("top", {"below": "target:top", "side": "target:top", "tools": "target:tools"})
    texts = {**TEXTS, "last": "FROM side AS branch\nRUN true\nFROM below\nCOPY --from=branch / /\n"}
    graph["end"] = step("top", {"below": "target:last", "side": "target:os"})
    texts["end"] = "FROM side AS branch\nRUN true\nFROM below\nCOPY --from=branch / /\n"
    _, text = merge(graph, "end", texts, Platform.AMD64, {})
    order = list(stages(text))
    assert order.index("end--branch") < order.index("top")
    assert order.index("last--branch") < order.index("last")
    assert order[-1] == "end"


def test_a_target_from_a_checkout_is_the_copy_of_its_files() -> None:
    """The ignore file is beside our Dockerfile; BuildKit would not read it for a named context."""
    graph = dict(GRAPH)
    graph["late"] = replace(graph["late"], context="/home/me/late", dockerfile="/c/late/Dockerfile")
    target, text = merge(graph, "top", TEXTS, Platform.AMD64, {"late": Path("/build/late")})
    assert "late" not in stages(text)
    assert target.contexts["late"] == "/build/late"
    assert not [name for name in target.contexts if name.startswith("late--")]


def test_a_target_from_a_repository_is_a_stage_with_that_context() -> None:
    graph = dict(GRAPH)
    url = "https://example.invalid/late.git#0123456789abcdef0123456789abcdef01234567"
    graph["late"] = replace(graph["late"], context=url, dockerfile="/c/late/Dockerfile")
    target, text = merge(graph, "top", {**TEXTS, "late": "FROM scratch\nCOPY src /src\n"}, Platform.AMD64, {})
    assert target.contexts["late--here"] == url
    assert [instruction.flags for instruction in stages(text)["late"].steps] == [("--from=late--here",)]


@pytest.mark.parametrize("image", ["base", "frontend", "vllm", "sglang"])
def test_the_real_graphs_become_one_dockerfile_that_names_nothing_unknown(own_checkout: Path, image: str) -> None:
    stage = Stage.BASE if image == "base" else Stage.CI
    request = request_for(load_catalogue(own_checkout), stage, ImageSelection(images=[image], platforms=["all"]))
    graph = bake.bake_graph(BuildPart(request, inputs.offline_build_inputs(request)))
    texts = {name: file.read_text(encoding="utf-8") for name, file in distributed.dockerfiles(graph.targets).items()}
    image_target = graph.images[0].target
    target, text = merge(graph.targets, image_target, texts, Platform.AMD64, {})
    existing = {"scratch", *stages(text), *target.contexts}
    for dockerfile_stage in stages(text).values():
        flags = (flag for instruction in dockerfile_stage.steps for flag in instruction.flags)
        names = [dockerfile_stage.image, *(flag.partition("from=")[2].partition(",")[0] for flag in flags)]
        for name in filter(None, names):
            assert {name, name.replace("${TARGETARCH}", "amd64"), name.replace("${TARGETARCH}", "arm64")} & existing
    assert list(stages(text))[-1] == image_target


def test_the_graph_of_source_builds_has_stages_for_repositories_and_copies_for_checkouts(own_checkout: Path) -> None:
    request = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    url = "https://github.com/openucx/ucx.git#0123456789abcdef0123456789abcdef01234567"
    sources = {
        "dynamo": Source(context="/home/me/dynamo", local=True),
        "nixl": Source(context="/home/me/nixl", local=True),
        "ucx": Source(context=url, local=False),
    }
    facts = replace(
        inputs.offline_build_inputs(request), sources=sources, os_packages=dict.fromkeys(("rust", "cxx"), Path("/debs"))
    )
    graph = bake.bake_graph(BuildPart(replace(request, sources=sources), facts))
    texts = {name: file.read_text(encoding="utf-8") for name, file in distributed.dockerfiles(graph.targets).items()}
    copies = {name: Path(f"/build/{name}") for name in ("dynamo-source", "nixl-source")}
    target, text = merge(graph.targets, "frontend-runtime", texts, Platform.AMD64, copies)
    assert {name: target.contexts[name] for name in copies} == {name: str(folder) for name, folder in copies.items()}
    assert target.contexts["ucx-source--here"] == url
    assert "from=dynamo-source,source=rust,target=/src/dynamo" in text
    assert "from=ucx-source,target=/src/ucx" in text


def test_the_real_bake_accepts_it(own_checkout: Path, tmp_path: Path, docker: dict[str, str]) -> None:
    request = request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )
    graph = bake.bake_graph(BuildPart(request, inputs.offline_build_inputs(request)))
    texts = {name: file.read_text(encoding="utf-8") for name, file in distributed.dockerfiles(graph.targets).items()}
    target, text = merge(graph.targets, "frontend-runtime", texts, Platform.AMD64, {})
    (tmp_path / "one.Dockerfile").write_text(text, encoding="utf-8")
    file = tmp_path / "one.json"
    file.write_text(
        json.dumps(
            {"target": {"frontend-runtime": replace(target, dockerfile=f"{tmp_path}/one.Dockerfile").document()}}
        )
    )
    argv = ("docker", "buildx", "bake", "--print", "--file", str(file), "frontend-runtime")
    printed = json.loads(subprocess.run(argv, env=docker, check=True, capture_output=True, text=True).stdout)
    assert printed["target"]["frontend-runtime"]["contexts"] == target.contexts
