"""The frontend serves: NATS, etcd, Dynamo's frontend and a mock worker in one container, asked by a real client."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.smoke.containers import ARBITRARY_USER, MOUNTED, READ_ONLY, SCRIPTS, Container

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.model import Image
    from tests.smoke.containers import Engine

ANY_ENGINE = "vllm"
"""What the mock worker plays where an image has no engine of its own."""
STARTS_WITHIN = 40
"""More than serve.py allows itself, which can say what it waited for."""
ANSWERS_WITHIN = 30
STOPS_WITHIN = 10
"""Seconds that SIGTERM may take (of a native container)."""
KILLED_AFTER = 40
"""More than serve.py waits, so that it measures what takes too long."""
ENDS = {"nats-server": {0, 1}, "etcd": {0, -15}, "frontend": {0}, "mocker": {0}}
"""How each ends after SIGTERM when all is well: nats-server with 1, etcd by the signal itself."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What was seen from the start of a container to its end."""

    answers: Mapping[str, Any]
    stopped: Mapping[str, Any]
    stop_seconds: float
    state: Mapping[str, Any]
    logs: Path


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("user-dynamo",), id="as dynamo"),
        pytest.param(("user-arbitrary", *ARBITRARY_USER, *READ_ONLY), id="as an arbitrary user, read-only"),
    ],
)
def session(request: pytest.FixtureRequest, engine: Engine, image: str, ci_image: str, row: Image) -> Session:
    """Start all four without a network, ask them, stop them; the worker is Dynamo's own mock of the row's engine."""
    name, *options = request.param
    logs = engine.logs / f"serve-{name}"
    logs.mkdir()
    logs.chmod(0o777)  # the container's user writes here, whoever that is
    words = ("python", "-B", f"{MOUNTED}/serve.py", "/mnt/logs", str(engine.patience), row.backend or ANY_ENGINE)
    mounts = ("--network", "none", *SCRIPTS, "--volume", f"{logs}:/mnt/logs")
    with engine.container(image, words, name=f"serve-{name}", options=(*mounts, *options)) as container:
        container.start()
        wait_until_serving(container, logs)
        answers = ask(engine, ci_image, container, name)
        begin = time.monotonic()
        container.stop(seconds=KILLED_AFTER * engine.patience)
        seconds = time.monotonic() - begin
        return Session(
            answers=answers,
            stopped=read(logs / "stopped.json", container, logs),
            stop_seconds=seconds,
            state=container.state(),
            logs=logs,
        )


def wait_until_serving(container: Container, logs: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN * container.engine.patience
    while not (logs / "serving.json").exists():
        assert container.state()["Running"], what_was_written("The container ended before it served.", container, logs)
        assert time.monotonic() < deadline, what_was_written("It does not serve in time.", container, logs)
        time.sleep(0.5)


def what_was_written(what: str, container: Container, logs: Path) -> str:
    container.keep_logs()
    files = [*sorted(logs.glob("*.log")), container.files[1]]
    return "\n".join([what, *(f"== {file}\n{_telling(file)}" for file in files)])


def _telling(file: Path) -> str:
    """Return the last lines of a log, and before them those that complain."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    complaints = [line for line in lines[:-5] if re.search("ERROR|WARN|Traceback|Error:|panic", line)]
    return "\n".join(line[:500] for line in [*complaints[-5:], *lines[-5:]])


def read(file: Path, container: Container, logs: Path) -> dict[str, Any]:
    assert file.exists(), what_was_written(f"{file.name} was not written.", container, logs)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def ask(engine: Engine, ci_image: str, container: Container, name: str) -> dict[str, Any]:
    """Run the client in the network of the container that serves: nothing is published on this machine."""
    words = ("python", "-B", f"{MOUNTED}/chat.py", str(ANSWERS_WITHIN * engine.patience))
    options = ("--network", f"container:{container.id}", *SCRIPTS)
    text = engine.run(ci_image, words, name=f"chat-{name}", options=options, seconds=2 * ANSWERS_WITHIN)
    answers: dict[str, Any] = json.loads(text)
    return answers


def test_it_lists_the_model(session: Session) -> None:
    assert session.answers["models"] == ["/tmp/model"]


def test_it_completes_a_chat(session: Session) -> None:
    whole = session.answers["whole"]
    assert len(whole["content"].split()) == 16
    assert {key: whole[key] for key in ("role", "finish", "tokens")} == {
        "role": "assistant",
        "finish": "length",
        "tokens": 16,
    }
    assert whole["prompt tokens"] > 10


def test_it_streams_a_chat_piece_by_piece(session: Session) -> None:
    streamed = session.answers["streamed"]
    assert len(streamed["pieces"]) > 1
    assert len("".join(streamed["pieces"]).split()) == 16
    assert streamed["finish"] == ["length"]
    assert streamed["tokens"] == [16]


def test_it_does_not_know_other_models(session: Session) -> None:
    assert session.answers["unknown model"] == {"kind": "NotFoundError", "status": 404}


def test_it_says_that_it_is_healthy(session: Session) -> None:
    health = session.answers["health"]
    assert (health["status"], health["body"]["status"]) == (200, "healthy")


def test_sigterm_stops_all_four_in_time(session: Session, engine: Engine) -> None:
    ended = session.stopped["ended"]
    assert set(ended) == set(ENDS)
    allowed = STOPS_WITHIN * engine.patience
    late = {name: end for name, end in ended.items() if end["seconds"] is None or end["seconds"] > allowed}
    assert late == {}, f"see {session.logs}"
    assert session.stop_seconds < allowed
    assert {name: end for name, end in ended.items() if end["code"] not in ENDS[name]} == {}, f"see {session.logs}"


def test_sigterm_leaves_no_process(session: Session) -> None:
    assert session.stopped["left over"] == []
    assert (session.state["Running"], session.state["OOMKilled"], session.state["ExitCode"]) == (False, False, 0)
