"""Plan of a build: options that are refused, and bake documents, compared with tests/unit/golden.

A golden document is that of the small data files of conftest.py. Renew one only after reading its diff.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import spelling
from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, labels
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from tests.unit import planned

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs, Request

GOLDEN = Path(__file__).parents[1] / "golden"
BOTH = ("linux/amd64", "linux/arm64")
OF_BASE = ("builder", "base-nixl", "base-rest", "base")


def names(request: Request) -> list[str]:
    return [image.name for image in request.images]


def document(request: Request, facts: BuildInputs) -> dict[str, Any]:
    """Return the document that the plan writes, as it would be in a checkout at /checkout."""
    (written,) = planned.execution(request, facts).documents
    content: dict[str, Any] = json.loads(written.text.replace(str(request.catalogue.folder), "/checkout"))
    return content


def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return content


def test_by_default_every_image_with_the_stage_is_built(catalogue: Catalogue) -> None:
    assert names(request_for(catalogue, Stage.CI, ImageSelection(platforms=["linux/amd64"]))) == ["frontend"]
    assert names(request_for(catalogue, Stage.RUNTIME, ImageSelection(platforms=["linux/amd64"]))) == [
        "frontend",
        "small",
    ]


def test_an_image_named_twice_is_built_once(catalogue: Catalogue) -> None:
    selected = ["small", "frontend", "small"]
    assert names(request_for(catalogue, Stage.RUNTIME, ImageSelection(images=selected, platforms=["linux/amd64"]))) == [
        "small",
        "frontend",
    ]


def test_all_platforms_are_those_that_every_selected_image_has(catalogue: Catalogue) -> None:
    frontend = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["all"]))
    both = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend", "small"], platforms=["all"]))
    assert frontend.platforms == (Platform.AMD64, Platform.ARM64)
    assert both.platforms == (Platform.AMD64,)


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        pytest.param(
            Stage.RUNTIME,
            {"images": ["fronted"]},
            'unknown image "fronted" (choose from: frontend, small)',
            id="an unknown image",
        ),
        pytest.param(
            Stage.CI,
            {"images": ["base"]},
            "base has no ci stage; images that have one: frontend",
            id="an image without that stage",
        ),
        pytest.param(
            Stage.DEV,
            {},
            "No image has a dev stage on the debian bases.",
            id="a stage that no image has",
        ),
        pytest.param(
            Stage.BASE,
            {"bases": "cuda"},
            'unknown bases "cuda" (choose from: debian)',
            id="unknown bases",
        ),
        pytest.param(
            Stage.BASE,
            {"platforms": ["linux/arm46"]},
            'unknown platform "linux/arm46" (choose from: linux/amd64, linux/arm64, all)',
            id="an unknown platform",
        ),
        pytest.param(
            Stage.RUNTIME,
            {"images": ["small"], "platforms": ["linux/arm64"]},
            "small cannot be built for linux/arm64 (choose from: linux/amd64, all)",
            id="a platform that the image does not have",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_exist(
    catalogue: Catalogue, stage: Stage, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        request_for(catalogue, stage, ImageSelection(**options))
    assert str(caught.value).partition("\n")[0] == message


@pytest.mark.parametrize(
    ("stage", "platforms", "tag"),
    [
        pytest.param(Stage.BASE, (Platform.AMD64,), "dynamo-frontend:1.4.2-debian-amd64", id="base, one platform"),
        pytest.param(Stage.RUNTIME, (Platform.ARM64,), "dynamo-frontend:1.4.2-debian-arm64", id="runtime, one"),
        pytest.param(Stage.RUNTIME, tuple(Platform), "dynamo-frontend:1.4.2-debian", id="runtime, both"),
        pytest.param(Stage.CI, (Platform.ARM64,), "dynamo-frontend-ci:1.4.2-debian-arm64", id="ci, one platform"),
        pytest.param(Stage.CI, tuple(Platform), "dynamo-frontend-ci:1.4.2-debian", id="ci, both"),
    ],
)
def test_a_tag_names_the_version_the_bases_and_a_single_platform(
    catalogue: Catalogue, stage: Stage, platforms: tuple[Platform, ...], tag: str
) -> None:
    image, bases = catalogue.images["frontend"], catalogue.bases["debian"]
    assert bake.tag(image, stage, bases, platforms, "1.4.2") == tag


def test_the_tag_of_a_development_version_is_valid_and_its_label_has_the_version(
    catalogue: Catalogue, facts: BuildInputs
) -> None:
    version = "1.4.3.dev20261101+cu130"
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/arm64"]))
    target = planned.document(request, replace(facts, version=version))["target"]["frontend-runtime"]
    assert target["tags"] == ["dynamo-frontend:1.4.3.dev20261101_cu130-debian-arm64"]
    assert target["labels"]["org.opencontainers.image.version"] == version


def test_a_tag_that_a_registry_would_refuse_for_its_length_is_refused(catalogue: Catalogue) -> None:
    image, bases = catalogue.images["frontend"], catalogue.bases["debian"]
    with pytest.raises(LockError, match="has 145 characters; 128 are allowed"):
        bake.tag(image, Stage.RUNTIME, bases, (Platform.AMD64,), f"1.0+{'a' * 128}")


GOLDENS = [
    pytest.param(Stage.BASE, ("linux/amd64",), "base-amd64", id="base-amd64"),
    pytest.param(Stage.BASE, BOTH, "base-both", id="base-both"),
    # `tools` is for the machine that builds, here amd64: it names no platform.
    pytest.param(Stage.CI, ("linux/arm64",), "frontend-ci-arm64", id="frontend-ci-arm64"),
]


@pytest.mark.parametrize(("stage", "platforms", "name"), GOLDENS)
def test_the_bake_document_is_the_reviewed_one(
    catalogue: Catalogue, facts: BuildInputs, stage: Stage, platforms: tuple[str, ...], name: str
) -> None:
    assert document(request_for(catalogue, stage, ImageSelection(platforms=platforms)), facts) == golden(name)


@pytest.mark.parametrize("platforms", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "amd64", "arm64"])
def test_every_target_but_the_tools_names_the_platforms(
    catalogue: Catalogue, facts: BuildInputs, platforms: tuple[str, ...]
) -> None:
    targets = document(request_for(catalogue, Stage.CI, ImageSelection(platforms=platforms)), facts)["target"]
    of_frontend = {"frontend", "frontend-ci", "frontend-dynamo", "frontend-runtime"}
    assert set(targets) == {*OF_BASE, "os", "tools", *of_frontend}
    assert {name for name, target in targets.items() if "platforms" not in target} == {"tools"}
    assert all(target["platforms"] == list(platforms) for name, target in targets.items() if name != "tools")


def test_a_shared_step_is_one_target_for_all_images(catalogue: Catalogue, facts: BuildInputs) -> None:
    content = document(request_for(catalogue, Stage.RUNTIME, ImageSelection(platforms=["linux/amd64"])), facts)
    assert content["group"] == {"default": {"targets": ["frontend-runtime", "small-runtime"]}}
    images = {"frontend", "frontend-dynamo", "frontend-runtime", "small", "small-dynamo", "small-runtime"}
    assert set(content["target"]) == {*OF_BASE, "os", "tools", *images}


def test_a_secret_is_mounted_and_never_a_build_argument(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.CI, ImageSelection(platforms=["linux/amd64"]))
    with_secret = replace(facts, secrets=("id=index,src=/checkout/index",))
    for target in document(request, with_secret)["target"].values():
        assert target["secret"] == ["id=index,src=/checkout/index"]
        rest = {key: value for key, value in target.items() if key != "secret"}
        assert "/checkout/index" not in json.dumps(rest)
        assert set(target["args"]) <= {
            "BASES",
            "GLIBC",
            "NIXL",
            "OLDEST_GLIBC",
            "PIECE",
            "PYTHON",
            "PYTHON_VERSION",
            "SOURCE_DATE_EPOCH",
        }


def test_drift_is_a_label_that_images_without_drift_lack(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.BASE, ImageSelection(platforms=["linux/amd64"]))
    drifted = replace(facts, drift=("bash=5.2-3", "dash=0.5-2"))
    label = "ai.dynamo.drift"
    assert document(request, drifted)["target"]["base"]["labels"][label] == "bash=5.2-3 dash=0.5-2"
    assert label not in document(request, facts)["target"]["base"]["labels"]


def test_the_plan_is_one_document_and_one_command(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.CI, ImageSelection(platforms=["linux/arm64"]))
    plan = planned.execution(
        request, facts, replace(planned.DOCKER, environment={"DOCKER_HOST": "tcp://builder.example.invalid:2375"})
    )
    path = catalogue.folder / ".build/bake-ci-frontend-debian-arm64.json"
    assert [file.path for file in plan.documents] == [path]
    readable = [f"--allow=fs.read={catalogue.folder}{file}" for file in ("/certificates.crt", "/index", "")]
    metadata = catalogue.folder / ".build/bake-ci-frontend-debian-arm64.metadata"
    arguments = ("bake", *readable, f"--metadata-file={metadata}", "--file", str(path))
    (command,) = plan.commands
    assert command.argv == ("docker", "buildx", *arguments)
    assert command.env == {
        "DOCKER_HOST": "tcp://builder.example.invalid:2375",
        "BUILDX_METADATA_PROVENANCE": "disabled",
    }
    direct = planned.execution(request, facts, Docker(environment={}, buildx=("/plugins/docker-buildx",))).commands[0]
    assert direct.argv == ("/plugins/docker-buildx", *arguments)


def test_two_requests_never_share_a_document(catalogue: Catalogue, facts: BuildInputs) -> None:
    requests = [
        request_for(catalogue, stage, ImageSelection(images=images, platforms=platforms))
        for stage, images in ((Stage.RUNTIME, ["frontend"]), (Stage.CI, ["frontend"]), (Stage.BASE, ["base"]))
        for platforms in (BOTH, BOTH[:1], BOTH[1:])
    ]
    paths = {planned.execution(request, facts).documents[0].path.name for request in requests}
    assert len(paths) == len(requests)


def test_an_image_is_dated_by_its_pins(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.BASE, ImageSelection(platforms=["linux/amd64"]))
    created = labels.labels(request, facts, catalogue.images["base"])["org.opencontainers.image.created"]
    assert created == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(("stage", "platforms", "name"), GOLDENS[1:])  # the first differs in its platforms alone
def test_docker_buildx_reads_the_document_correctly(
    docker: dict[str, str], tmp_path: Path, stage: Stage, platforms: tuple[str, ...], name: str
) -> None:
    for file in ("certificates.crt", "index"):  # bake checks that the secrets exist
        (tmp_path / file).touch()
    text = (GOLDEN / f"{name}.json").read_text(encoding="utf-8").replace("src=/checkout", f"src={tmp_path}")
    (tmp_path / "bake.json").write_text(text, encoding="utf-8")
    argv = ("docker", "buildx", "bake", "--file", str(tmp_path / "bake.json"), "--print")
    printed = subprocess.run(argv, env=docker, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    read, expected = json.loads(printed.stdout), golden(name)
    assert read["group"] == expected["group"]
    assert set(read["target"]) == set(expected["target"])
    for key, target in read["target"].items():
        for field in ("args", "context", "contexts"):
            assert target[field] == expected["target"][key][field]
        assert target.get("platforms") == (None if key == "tools" else list(platforms))
        assert {"id": "ca", "src": f"{tmp_path}/certificates.crt"} in target["secret"]
    image = read["target"][expected["group"]["default"]["targets"][0]]
    compression = {"compression": "zstd", "compression-level": "1", "force-compression": "true"}
    assert image["output"] == [{"type": "docker", **compression}]
    assert image["labels"]["ai.dynamo.stage"] == stage.value
    linked = [target for target in read["target"].values() if target is not image]
    assert all(target["output"] == [{"type": "cacheonly"}] for target in linked)


@pytest.mark.parametrize("text", ["costs ${HOME}", "%{if true}", "$${x} and %%{y}", "$(id) `id` 100 % {a}", "$$${z}"])
def test_bake_reads_every_text_as_it_is(docker: dict[str, str], tmp_path: Path, text: str) -> None:
    content = bake.bake_document(["a"], {})
    content["target"] = {"a": {"context": ".", "args": {"TEXT": text}, "labels": {text: text}}}
    (tmp_path / "bake.json").write_text(bake.render(content), encoding="utf-8")
    argv = ("docker", "buildx", "bake", "--file", str(tmp_path / "bake.json"), "--print")
    printed = subprocess.run(argv, env=docker, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    # What bake prints is a document again, and so has templates.
    target = json.loads(printed.stdout)["target"]["a"]
    assert target["args"]["TEXT"] == spelling.template(text)
    assert list(target["labels"].values()) == [spelling.template(text)]
