"""Contents of an image and what would be rebuilt, on a small graph and on this project's own locks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from dynamo_containers import process
from dynamo_containers.errors import CommandFailedError, UsageError
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.inspect import explain, explain_inputs
from dynamo_containers.inspect.explain import (
    Content,
    ExplainedImage,
    ExplainedTarget,
    Explanation,
    ImageList,
    PinnedPackage,
    State,
)
from dynamo_containers.plan import bake, container, dockerfile
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.plan.target import Target
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import input_digests, inputs
from tests.unit import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import Request

LINKED = """\
# A layer of packages. More of it.

FROM tools AS installed
RUN one

FROM below
COPY --link --from=installed /tree /
"""
RUNNING = (
    "# Runs something\n# for long.\nFROM below\nARG UID\nRUN --mount=type=bind,from=lock,source=${TARGETARCH}.txt two\n"
)
TARGETS = {
    name: Target(context=f"/c/{name}", args={}, contexts=contexts)
    for name, contexts in (
        ("os", {"root-amd64": "oci-layout:///x@sha256:1"}),
        ("tools", {}),
        ("packages", {"below": "target:os", "tools": "target:tools"}),
        ("runtime", {"below": "target:packages"}),
    )
}
SUMMARIES = {
    "os": dockerfile.summary("FROM root-${TARGETARCH}\nRUN zero\n"),
    "tools": dockerfile.summary("FROM root-${TARGETARCH}\nRUN zero\n"),
    "packages": dockerfile.summary(LINKED),
    "runtime": dockerfile.summary(RUNNING),
}
INPUTS = {name: {f"containers/{name}/Dockerfile": name} for name in TARGETS}


def states(recorded: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return target -> line about its state, given its inputs at the last build."""
    return {name: str(state) for name, state in explain.states(TARGETS, SUMMARIES, INPUTS, recorded).items()}


def test_a_dockerfile_says_what_it_uses() -> None:
    assert dockerfile.summary(RUNNING) == dockerfile.Summary(
        about="Runs something for long",
        arguments=frozenset({"UID"}),
        mounts=(dockerfile.Mount(context="lock", source="${TARGETARCH}.txt"),),
        based_on="below",
        relocatable=False,
    )
    assert dockerfile.summary(LINKED).relocatable
    assert dockerfile.summary(LINKED).about == "A layer of packages"


def test_the_layers_of_an_image_are_the_targets_that_are_based_on_each_other() -> None:
    assert explain.chain(TARGETS, SUMMARIES, "runtime") == ("os", "packages", "runtime")


def test_what_was_never_built_says_so() -> None:
    assert set(states({}).values()) == {"never built here"}


def test_with_the_same_inputs_nothing_would_be_built() -> None:
    assert set(states(INPUTS).values()) == {"unchanged"}


def test_a_changed_input_is_named_and_targets_above_it_are_rebuilt() -> None:
    recorded = {**INPUTS, "tools": {"containers/tools/Dockerfile": "other"}}
    assert states(recorded) == {
        "os": "unchanged",
        "tools": "would be rebuilt: containers/tools/Dockerfile changed",
        "packages": "would be rebuilt: tools below changed",
        "runtime": "would be rebuilt: packages below changed",
    }


def test_a_linked_layer_is_reused_when_only_layers_below_it_changed() -> None:
    recorded = {**INPUTS, "os": {"a": "1", "b": "2", "c": "3"}}
    assert states(recorded) == {
        "os": "would be rebuilt: containers/os/Dockerfile, a and 2 more changed",
        "tools": "unchanged",
        "packages": "unchanged: its layer is reused on changed layers below",
        "runtime": "would be rebuilt: packages below changed",
    }


def test_an_input_that_was_removed_is_a_change() -> None:
    recorded = {**INPUTS, "os": {**INPUTS["os"], "containers/os/gone": "1"}}
    assert states(recorded)["os"] == "would be rebuilt: containers/os/gone changed"


def test_the_largest_packages_are_named_and_a_download_counts_once() -> None:
    packages = tuple(
        PinnedPackage(name=name, version="1", size=size) for name, size in zip("abcd", (10**6, 2, 3, None), strict=True)
    )
    content = Content(origin="constraints/some.txt", packages=packages)
    download, unknown = explain.downloads((content, content))
    image = ExplainedImage(
        image="small",
        stage="runtime",
        bases="debian",
        platform="linux/amd64",
        tag="small:1",
        root_image=Content(origin="pins", description="by digest"),
        targets=tuple(
            ExplainedTarget(
                name=name, content=content, state=State(rebuilt=False, reason="unchanged"), is_layer=name == "first"
            )
            for name in ("first", "again")
        ),
        download=download,
        unknown_sizes=unknown,
        notes=(),
    )
    assert explain.text(image).splitlines() == [
        "small, runtime stage, linux/amd64: small:1",
        "",
        "  root image                         by digest",
        "                                     from pins",
        "  first                    >=1.0 MB  4 packages, the largest: a 1 (1.0 MB), c 1 (0.0 kB), b 1 (0.0 kB)",
        "                                     from constraints/some.txt",
        "                                     unchanged",
        "",
        "Not in the image, but needed to build it:",
        "  again                    >=1.0 MB  4 packages, the largest: a 1 (1.0 MB), c 1 (0.0 kB), b 1 (0.0 kB)",
        "                                     from constraints/some.txt",
        "                                     unchanged",
        "",
        "A build without any cache downloads 1.0 MB, plus d (size unknown).",
    ]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_vllm_runtime_of_this_project_is_explained(platform: str) -> None:
    text = explain_inputs.explain(load_catalogue(), "vllm", "", [platform]).text
    arch = platform.partition("/")[2]
    head, rest = text.split("\n", 1)
    assert head.startswith(f"vllm, runtime stage, {platform}: vllm-runtime:")
    for file in ("os-debian-runtime", "os-debian-compiler", "common-debian", "vllm-debian", "base-debian"):
        assert f"from constraints/{file}-{arch}.txt" in rest
    steps = [line.split()[0] for line in rest.splitlines() if line.startswith("  ") and line[2] != " "]
    own = steps[: steps.index("vllm-runtime") + 1]
    assert own == [
        *("root", "os", "os-compiler", "common-cudnn", "common-cuda", "common-torch", "common-rest"),
        *("vllm-engine", "vllm-rest", "vllm-dynamo", "vllm-runtime"),
    ]


@pytest.mark.parametrize("image", ["base", "frontend", "vllm", "sglang"])
def test_an_explanation_writes_nothing(own_checkout: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.invalid/simple")
    with snapshot.unchanged(own_checkout):
        explain_inputs.explain(load_catalogue(own_checkout), image, platforms=["linux/amd64"])


def test_the_data_of_an_explanation_say_what_is_pinned_where_and_what_would_be_rebuilt(own_checkout: Path) -> None:
    result = explain_inputs.explain(load_catalogue(own_checkout), "frontend", platforms=["all"])
    data = msgspec.json.decode(result.json(), type=Explanation)
    assert data == result.data
    assert [image.platform for image in data.images] == ["linux/amd64", "linux/arm64"]
    (image, _) = data.images
    top = next(target for target in reversed(image.targets) if target.is_layer)
    assert (image.image, image.stage, top.name) == ("frontend", "runtime", "frontend-runtime")
    assert top.state == State(rebuilt=True, reason="never built here")
    (dynamo,) = (target for target in image.targets if target.name == "frontend-dynamo")
    (layer,) = (target for target in image.targets if target.name == "frontend")
    assert dynamo.content.packages == ()
    assert layer.content.origin.startswith("constraints/frontend-debian-amd64.txt")
    assert layer.content.packages
    assert all(package.version for package in layer.content.packages)


def test_the_data_of_the_list_are_the_images_with_their_stages(catalogue: Catalogue) -> None:
    result = explain_inputs.explain(catalogue)
    data = msgspec.json.decode(result.json(), type=ImageList)
    assert [(image.name, image.stages) for image in data.images] == [
        ("base", ("base",)),
        ("frontend", ("runtime", "ci")),
        ("small", ("runtime",)),
    ]


@pytest.mark.parametrize("data", [Explanation, ImageList])
def test_the_data_have_a_schema_with_a_description(data: type) -> None:
    schema = msgspec.json.schema(data)
    assert all("description" in definition for definition in schema["$defs"].values())


def test_the_list_of_images_has_a_line_for_each_and_says_for_whom_a_stage_is(catalogue: Catalogue) -> None:
    lines = explain_inputs.explain(catalogue).text.splitlines()
    assert lines[1:4] == [
        "  base      base                        Dynamo base",
        "  frontend  runtime, ci                 Dynamo frontend",
        "  small     runtime                     Dynamo small",
    ]
    assert [line.split()[0] for line in lines[6:]] == ["base", "backend", "runtime", "ci", "dev"]


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("fronted", "", 'unknown image "fronted" (choose from: base, frontend, small)'),
        ("small", "dev", "small has no dev stage (choose from: runtime)"),
    ],
    ids=["image", "stage"],
)
def test_an_unknown_word_is_refused(catalogue: Catalogue, name: str, stage: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        container.stages_of(catalogue, name, stage)
    assert str(caught.value).splitlines()[0] == message


@pytest.fixture
def request_of_own(own_checkout: Path) -> Request:
    """Return a build of the frontend's runtime in a copy of this project."""
    return request_for(
        load_catalogue(own_checkout), Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/amd64"])
    )


def records(request: Request) -> tuple[process.Document, ...]:
    return input_digests.record_documents(bake.build_plan(BuildPart(request, inputs.offline_build_inputs(request))))


def built(request: Request) -> None:
    plan = process.Plan(records=records(request))
    process.execute(plan)


def test_the_record_of_a_build_makes_every_target_unchanged(request_of_own: Request) -> None:
    built(request_of_own)
    text = explain.text(explain_inputs.explain_request(request_of_own))
    assert "never built here" not in text
    assert "would be rebuilt" not in text


def test_a_graph_is_unchanged_until_an_input_of_a_target_changes(request_of_own: Request) -> None:
    plan = bake.build_plan(BuildPart(request_of_own, inputs.offline_build_inputs(request_of_own)))
    assert not input_digests.is_unchanged(plan)
    built(request_of_own)
    assert input_digests.is_unchanged(plan)
    with (request_of_own.catalogue.folder / "containers/os/entrypoint").open("a", encoding="utf-8") as file:
        file.write("# one more\n")
    assert not input_digests.is_unchanged(plan)


def test_an_edited_file_of_a_target_is_named(request_of_own: Request) -> None:
    built(request_of_own)
    with (request_of_own.catalogue.folder / "containers/os/entrypoint").open("a", encoding="utf-8") as file:
        file.write("# one more\n")
    text = explain.text(explain_inputs.explain_request(request_of_own))
    assert "would be rebuilt: containers/os/entrypoint changed" in text
    assert "unchanged: its layer is reused on changed layers below" in text
    assert "would be rebuilt: frontend-dynamo, frontend below changed" in text


def test_a_file_that_no_target_reads_changes_nothing(request_of_own: Request) -> None:
    built(request_of_own)
    (request_of_own.catalogue.folder / "constraints/nobody.txt").write_text("x", encoding="utf-8")
    assert "would be rebuilt" not in explain.text(explain_inputs.explain_request(request_of_own))


def test_a_build_that_failed_or_was_a_dry_run_leaves_no_record(request_of_own: Request) -> None:
    documents = records(request_of_own)
    process.execute(process.Plan(records=documents), dry_run=True)
    assert not documents[0].path.exists()
    with pytest.raises(CommandFailedError):
        process.execute(process.Plan(commands=(process.Command(argv=("false",)),), records=documents))
    assert not documents[0].path.exists()


def test_a_record_keeps_the_targets_of_other_images_and_a_broken_one_is_ignored(request_of_own: Request) -> None:
    folder, bases = request_of_own.catalogue.folder, request_of_own.bases
    path = input_digests.record_path(folder, bases, Platform.AMD64)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"vllm-engine": {"a": "1"}}), encoding="utf-8")
    built(request_of_own)
    assert input_digests.last_inputs(folder, bases, Platform.AMD64)["vllm-engine"] == {"a": "1"}
    path.write_text("{", encoding="utf-8")
    assert input_digests.last_inputs(folder, bases, Platform.AMD64) == {}
