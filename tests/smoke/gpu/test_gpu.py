"""The real engine serves a tiny model with random weights on a GPU; run by `nox -s smoke-... -- --gpu` alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.smoke.containers import ARBITRARY_USER, CouldNotCheckError
from tests.smoke.served import ServingOptions, ServingSession
from tests.smoke.served import session as served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.catalogue import Image
    from tests.smoke.containers import Engine

GPU = ("--gpus", "all", "--shm-size", "1g")
"""The processes of an engine communicate by shared memory; the default of Docker is 64 MB."""
READ_ONLY = ("--read-only", "--tmpfs", "/tmp:exec")
"""Kernels that are compiled at run time are loaded from /tmp."""
STARTS_WITHIN = 620
STOPS_WITHIN = 30
SEES = """
import json, torch
print(json.dumps({"devices": torch.cuda.device_count(), "sum": torch.ones(64, device="cuda").sum().item()}))
"""


@pytest.fixture(scope="module")
def device(engine: Engine, image: str) -> Mapping[str, Any]:
    """Return the GPUs that a container gets, before a test waits for one.

    Raises:
        CouldNotCheckError: a container gets no GPU.
    """
    command = ("python", "-B", "-c", SEES)
    try:
        answer = engine.run(image, command, name="gpu", options=("--network", "none", *GPU), seconds=120)
    except (AssertionError, CouldNotCheckError) as error:
        message = (
            f"No container could use a GPU, so the engine was not tested on a GPU.\n{error}\n"
            "The machine of the Docker Engine needs NVIDIA's driver and container toolkit (a private engine of this "
            "project has neither). Without a GPU leave `--gpu` out."
        )
        raise CouldNotCheckError(message) from None
    devices: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return devices


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("gpu-user-dynamo",), id="as dynamo"),
        pytest.param(("gpu-user-arbitrary", *ARBITRARY_USER, *READ_ONLY), id="as an arbitrary user, read-only"),
    ],
)
def session(  # noqa: PLR0913, PLR0917 - one for each fixture that it needs
    request: pytest.FixtureRequest,
    engine: Engine,
    image: str,
    ci_image: str,
    row: Image,
    device: Mapping[str, Any],
) -> ServingSession:
    """Run the engine with a model whose random weights are always the same; return the session."""
    assert device["devices"]
    name, *options = request.param
    worker = (f"dynamo.{row.backend}", *(argument.format(model="/tmp/model") for argument in row.worker_arguments))
    container_options = (*GPU, *options)
    serving = ServingOptions(
        image=image, client=ci_image, worker=worker, name=name, options=container_options, starts_within=STARTS_WITHIN
    )
    return served(engine, serving)


def test_a_device_computes(device: Mapping[str, Any]) -> None:
    assert device["devices"] >= 1
    assert device["sum"] == 64


def test_the_engine_lists_the_model(session: ServingSession) -> None:
    assert session.answers["models"] == ["/tmp/model"]


def test_the_engine_completes_a_chat(session: ServingSession) -> None:
    answer = session.answers["completion"]
    assert answer["role"] == "assistant"
    assert answer["content"]
    # Random weights may end a text at any token.
    assert (answer["tokens"], answer["finish"]) == (16, "length") or answer["finish"] == "stop"
    assert answer["prompt tokens"] > 10


def test_the_engine_streams_a_chat(session: ServingSession) -> None:
    streamed = session.answers["streamed"]
    assert streamed["pieces"]
    assert streamed["finish"] in (["length"], ["stop"])
    assert 1 <= streamed["tokens"][0] <= 16


def test_sigterm_stops_the_engine_in_time_and_leaves_no_process(session: ServingSession, engine: Engine) -> None:
    assert session.stop_seconds < STOPS_WITHIN * engine.patience
    assert session.stopped["left over"] == []
    assert {name: end["code"] for name, end in session.stopped["ended"].items() if end["code"] is None} == {}
    assert (session.state["Running"], session.state["OOMKilled"], session.state["ExitCode"]) == (False, False, 0)
