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
"""The processes of an engine talk to each other through shared memory, of which Docker gives 64 MB."""
READ_ONLY = ("--read-only", "--tmpfs", "/tmp:exec")
"""Kernels that were compiled at run time are loaded from /tmp."""
STARTS_WITHIN = 620
STOPS_WITHIN = 30
SEES = """
import json, torch
print(json.dumps({"devices": torch.cuda.device_count(), "sum": torch.ones(64, device="cuda").sum().item()}))
"""


@pytest.fixture(scope="module")
def device(engine: Engine, image: str) -> Mapping[str, Any]:
    """See whether the engine gives a container a GPU at all, before anything waits for one.

    Raises:
        CouldNotCheckError: it does not.
    """
    command = ("python", "-B", "-c", SEES)
    try:
        answer = engine.run(image, command, name="gpu", options=("--network", "none", *GPU), seconds=120)
    except (AssertionError, CouldNotCheckError) as error:
        message = (
            f"No GPU could be used in a container, so the engine was not tested on one.\n{error}\n"
            "It needs NVIDIA's driver and container toolkit on the machine of the Docker Engine (a private engine of "
            "this project has neither). Without a GPU leave `--gpu` out."
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
def session(  # noqa: PLR0913, PLR0917 - one for each thing it stands on
    request: pytest.FixtureRequest,
    engine: Engine,
    image: str,
    ci_image: str,
    row: Image,
    device: Mapping[str, Any],
) -> ServingSession:
    """See the engine serve; weights are random and the same every time."""
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
