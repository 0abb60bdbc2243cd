"""Matrix of smoke tests, and the pytest command of an image."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Catalogue, Stage, load_catalogue
from dynamo_containers.plan import smoke_tests
from dynamo_containers.platforms import Platform
from tests.smoke.locks import pip_complaints
from tests.unit.planned import DOCKER

ENVIRONMENT = {"DOCKER_HOST": "unix:///somewhere/docker.sock"}
CHECKOUT = Path("/checkout")


@pytest.fixture
def catalogue() -> Catalogue:
    return replace(load_catalogue(), folder=CHECKOUT)


def test_every_image_has_a_session_for_each_of_its_platforms(catalogue: Catalogue) -> None:
    both = (Platform.AMD64, Platform.ARM64)
    assert smoke_tests.matrix(catalogue) == (
        smoke_tests.SmokeSession(session="smoke-base", image="base", platforms=both),
        smoke_tests.SmokeSession(session="smoke-frontend", image="frontend", platforms=both),
        smoke_tests.SmokeSession(session="smoke-vllm", image="vllm", platforms=both),
        smoke_tests.SmokeSession(session="smoke-sglang", image="sglang", platforms=both),
        smoke_tests.SmokeSession(session="smoke-trtllm", image="trtllm", platforms=both),
    )


def test_an_image_for_one_platform_has_a_session_for_that_alone(catalogue: Catalogue) -> None:
    only = replace(catalogue.images["frontend"], platforms=(Platform.AMD64,))
    rows = smoke_tests.matrix(replace(catalogue, images={"frontend": only}))
    assert rows == (smoke_tests.SmokeSession(session="smoke-frontend", image="frontend", platforms=(Platform.AMD64,)),)


def test_the_runtime_is_built_before_the_ci_form_and_both_are_tagged(catalogue: Catalogue) -> None:
    requests = smoke_tests.requests(catalogue, "frontend", Platform.ARM64)
    assert [request.stage for request in requests] == [Stage.RUNTIME, Stage.CI, Stage.DEV]
    assert {request.platforms for request in requests} == {(Platform.ARM64,)}


def test_the_dev_form_is_tested_where_it_is_small(catalogue: Catalogue) -> None:
    backend = replace(catalogue.images["frontend"], backend="some")
    requests = smoke_tests.requests(replace(catalogue, images={"some": backend}), "some", Platform.AMD64)
    assert [request.stage for request in requests] == [Stage.RUNTIME, Stage.CI]


def test_a_runtime_inherits_what_holds_for_any_image_and_the_contract(catalogue: Catalogue) -> None:
    assert smoke_tests.test_folders(catalogue.images["frontend"]) == (
        "any",
        "contract",
        "ci",
        "serving",
        "dev",
        "frontend",
    )
    assert smoke_tests.test_folders(catalogue.images["vllm"]) == ("any", "contract", "ci", "serving", "backend")
    assert smoke_tests.test_folders(catalogue.images["base"]) == ("any", "base")


def test_the_command_names_both_images_and_where_results_go(catalogue: Catalogue) -> None:
    requests = smoke_tests.requests(catalogue, "frontend", Platform.ARM64)
    plan = smoke_tests.plan(requests, "1.4.2", replace(DOCKER, environment=ENVIRONMENT))
    assert plan.documents == ()
    assert plan.commands[0].env == ENVIRONMENT
    assert plan.commands[0].argv == (
        *(sys.executable, "-m", "pytest"),
        "/checkout/tests/smoke/any",
        "/checkout/tests/smoke/contract",
        "/checkout/tests/smoke/ci",
        "/checkout/tests/smoke/serving",
        "/checkout/tests/smoke/dev",
        "/checkout/tests/smoke/frontend",
        *("--image", "dynamo-frontend:1.4.2-debian-arm64"),
        *("--ci-image", "dynamo-frontend-ci:1.4.2-debian-arm64"),
        *("--dev-image", "dynamo-frontend-dev:1.4.2-debian-arm64"),
        *("--image-name", "frontend"),
        *("--bases", "debian"),
        *("--platform", "linux/arm64"),
        *("--logs", "/checkout/.build/smoke/frontend-arm64"),
        *("--junit-xml", "/checkout/.build/smoke/frontend-arm64.xml"),
    )


def test_the_base_has_no_ci_form(catalogue: Catalogue) -> None:
    plan = smoke_tests.plan(smoke_tests.requests(catalogue, "base", Platform.AMD64), "1.4.2", DOCKER)
    assert "--ci-image" not in plan.commands[0].argv
    assert "dynamo-base:1.4.2-debian-amd64" in plan.commands[0].argv


def test_a_failure_names_the_logs_of_the_containers(catalogue: Catalogue) -> None:
    hint = smoke_tests.plan(smoke_tests.requests(catalogue, "base", Platform.AMD64), "1.4.2", DOCKER).commands[0].hint
    assert "/checkout/.build/smoke/base-amd64.xml" in hint
    assert "/checkout/.build/smoke/base-amd64/" in hint


def test_an_unknown_image_is_refused_with_those_that_exist(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match="choose from: base, frontend, vllm, sglang, trtllm"):
        smoke_tests.requests(catalogue, "valm", Platform.AMD64)


def test_a_platform_that_an_image_does_not_have_is_refused(catalogue: Catalogue) -> None:
    only = replace(catalogue.images["frontend"], platforms=(Platform.AMD64,))
    images = {**catalogue.images, "frontend": only}
    with pytest.raises(UsageError, match="linux/arm64"):
        smoke_tests.requests(replace(catalogue, images=images), "frontend", Platform.ARM64)


def test_two_platforms_are_not_tested_as_one(catalogue: Catalogue) -> None:
    mixed = (
        *smoke_tests.requests(catalogue, "base", Platform.AMD64),
        *smoke_tests.requests(catalogue, "base", Platform.ARM64),
    )
    with pytest.raises(UsageError, match="one image and one platform"):
        smoke_tests.plan(mixed, "1.4.2", DOCKER)


def test_a_gpu_adds_the_tests_of_the_engine_before_the_others(catalogue: Catalogue) -> None:
    requests = smoke_tests.requests(catalogue, "vllm", Platform.AMD64)
    (command,) = smoke_tests.plan(requests, "1.4.2", DOCKER, gpu=True).commands
    paths = [argument for argument in command.argv if "/tests/smoke/" in argument]
    assert [path.rpartition("/")[2] for path in paths] == ["gpu", "any", "contract", "ci", "serving", "backend"]


def test_an_unknown_option_of_a_session_is_refused_with_those_that_exist(catalogue: Catalogue) -> None:
    with pytest.raises(
        UsageError, match=r'unknown option of a smoke session "--gpus" [(]choose from: --dry-run, --gpu[)]'
    ):
        smoke_tests.parse_options(("--gpus",), catalogue.images["vllm"])


def test_an_image_without_an_engine_cannot_be_tested_on_a_gpu(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match="frontend has no inference engine to test on a GPU"):
        smoke_tests.parse_options(("--gpu",), catalogue.images["frontend"])


def test_every_image_with_an_engine_can_be_tested_on_a_gpu(catalogue: Catalogue) -> None:
    engines = [image for image in catalogue.images.values() if image.backend]
    assert [image.name for image in engines] == ["vllm", "sglang", "trtllm"]
    for image in engines:
        assert smoke_tests.parse_options(("--dry-run", "--gpu"), image) == smoke_tests.SmokeOptions(
            dry_run=True, gpu=True
        )
        assert [argument for argument in image.worker_arguments if "{model}" in argument]


def test_a_wheel_whose_platform_does_not_exist_is_passed_over_by_name_alone(catalogue: Catalogue) -> None:
    tolerated = "nvidia-cusparselt-cu13 0.8.0 is not supported on this platform"
    other = "torch 2.11.0 is not supported on this platform"
    missing = "nvidia-cusparselt-cu13 0.8.0 requires nobody, which is not installed."
    assert pip_complaints({"output": f"{tolerated}\n{other}\n{missing}\n"}, catalogue) == [other, missing]
