"""The frontend serves: NATS, etcd, frontend and a mock worker in one container, queried by a real client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.smoke.containers import ARBITRARY_USER, READ_ONLY
from tests.smoke.served import ServingOptions, ServingSession
from tests.smoke.served import session as served

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Image
    from tests.smoke.containers import Engine

ANY_ENGINE = "vllm"
"""The engine that the mock worker simulates if the image has none."""
STARTS_WITHIN = 40
STOPS_WITHIN = 10
"""Seconds that SIGTERM may take (of a native container)."""
ENDS = {"nats-server": {0, 1}, "etcd": {0, -15}, "frontend": {0}, "worker": {0}}
"""Accepted exit codes after SIGTERM: nats-server ends with 1, etcd by the signal."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("user-dynamo",), id="as dynamo"),
        pytest.param(("user-arbitrary", *ARBITRARY_USER, *READ_ONLY), id="as an arbitrary user, read-only"),
    ],
)
def session(request: pytest.FixtureRequest, engine: Engine, image: str, ci_image: str, row: Image) -> ServingSession:
    """Run the image with Dynamo's mock of its engine as worker; return the session."""
    name, *options = request.param
    mock = ("dynamo.mocker", "--model-path", "/tmp/model", "--speedup-ratio", "10")
    worker = (*mock, "--engine-type", row.backend or ANY_ENGINE)
    serving = ServingOptions(
        image=image, client=ci_image, worker=worker, name=name, options=options, starts_within=STARTS_WITHIN
    )
    return served(engine, serving)


def test_it_lists_the_model(session: ServingSession) -> None:
    assert session.answers["models"] == ["/tmp/model"]


def test_it_completes_a_chat(session: ServingSession) -> None:
    answer = session.answers["completion"]
    assert len(answer["content"].split()) == 16
    assert {key: answer[key] for key in ("role", "finish", "tokens")} == {
        "role": "assistant",
        "finish": "length",
        "tokens": 16,
    }
    assert answer["prompt tokens"] > 10


def test_it_streams_a_chat_piece_by_piece(session: ServingSession) -> None:
    streamed = session.answers["streamed"]
    assert len(streamed["pieces"]) > 1
    assert len("".join(streamed["pieces"]).split()) == 16
    assert streamed["finish"] == ["length"]
    assert streamed["tokens"] == [16]


def test_it_does_not_know_other_models(session: ServingSession) -> None:
    assert session.answers["unknown model"] == {"kind": "NotFoundError", "status": 404}


def test_it_says_that_it_is_healthy(session: ServingSession) -> None:
    health = session.answers["health"]
    assert (health["status"], health["body"]["status"]) == (200, "healthy")


def test_sigterm_stops_all_four_in_time(session: ServingSession, engine: Engine) -> None:
    ended = session.stopped["ended"]
    assert set(ended) == set(ENDS)
    allowed = STOPS_WITHIN * engine.patience
    late = {name: end for name, end in ended.items() if end["seconds"] is None or end["seconds"] > allowed}
    assert late == {}, f"see {session.logs}"
    assert session.stop_seconds < allowed
    assert {name: end for name, end in ended.items() if end["code"] not in ENDS[name]} == {}, f"see {session.logs}"


def test_sigterm_leaves_no_process(session: ServingSession) -> None:
    assert session.stopped["left over"] == []
    assert (session.state["Running"], session.state["OOMKilled"], session.state["ExitCode"]) == (False, False, 0)
