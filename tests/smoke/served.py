"""Test run of an image that serves: NATS, etcd, frontend and worker in one container, queried by a real client."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.smoke.containers import MOUNTED, SCRIPTS, Container

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.smoke.containers import Engine

ANSWERS_WITHIN = 30
KILLED_AFTER = 40
"""Seconds after SIGTERM; longer than serve.py waits, so that it can report slow programs."""


@dataclass(frozen=True, kw_only=True)
class ServingSession:
    """Observations from the start of a container to its end."""

    answers: Mapping[str, Any]
    stopped: Mapping[str, Any]
    stop_seconds: float
    state: Mapping[str, Any]
    logs: Path


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Image, worker and options of the container."""

    image: str
    client: str
    """The image with the client."""
    worker: Sequence[str]
    """The worker's module and its arguments."""
    name: str
    """The name of the logs."""
    options: Sequence[str]
    """Options of `docker create`: user, writable folders, devices."""
    starts_within: float
    """Seconds (of a native container); longer than the limit of serve.py, which can report what is missing."""


def session(engine: Engine, serving: ServingOptions) -> ServingSession:
    """Start all four programs without a network, query them and stop them."""
    logs = engine.logs / f"serve-{serving.name}"
    logs.mkdir()
    logs.chmod(0o777)  # any user of a container writes here
    command = ("python", "-B", f"{MOUNTED}/serve.py", "/mnt/logs", str(engine.patience), *serving.worker)
    mounts = ("--network", "none", *SCRIPTS, "--volume", f"{logs}:/mnt/logs")
    with engine.container(
        serving.image, command, name=f"serve-{serving.name}", options=(*mounts, *serving.options)
    ) as container:
        container.start()
        wait_until_serving(container, logs, serving.starts_within)
        answers = run_client(engine, serving.client, container, serving.name)
        begin = time.monotonic()
        container.stop(seconds=KILLED_AFTER * engine.patience)
        seconds = time.monotonic() - begin
        return ServingSession(
            answers=answers,
            stopped=read_json(logs / "stopped.json", container, logs),
            stop_seconds=seconds,
            state=container.state(),
            logs=logs,
        )


def wait_until_serving(container: Container, logs: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds * container.engine.patience
    while not (logs / "serving.json").exists():
        assert container.state()["Running"], failure_with_logs("The container ended before it served.", container, logs)
        assert time.monotonic() < deadline, failure_with_logs("It does not serve in time.", container, logs)
        time.sleep(0.5)


def failure_with_logs(failure: str, container: Container, logs: Path) -> str:
    container.keep_logs()
    files = [*sorted(logs.glob("*.log")), container.files[1]]
    return "\n".join([failure, *(f"== {file}\n{_last_lines(file)}" for file in files)])


def _last_lines(file: Path) -> str:
    """Return the last lines of a log, preceded by earlier errors and warnings."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    complaints = [line for line in lines[:-5] if re.search("ERROR|WARN|Traceback|Error:|panic", line)]
    return "\n".join(line[:500] for line in [*complaints[-5:], *lines[-5:]])


def read_json(file: Path, container: Container, logs: Path) -> dict[str, Any]:
    assert file.exists(), failure_with_logs(f"{file.name} was not written.", container, logs)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def run_client(engine: Engine, ci_image: str, container: Container, name: str) -> dict[str, Any]:
    """Run the client in the network of the serving container, so that no port of this machine is used."""
    command = ("python", "-B", f"{MOUNTED}/chat.py", str(ANSWERS_WITHIN * engine.patience))
    options = ("--network", f"container:{container.id}", *SCRIPTS)
    text = engine.run(ci_image, command, name=f"chat-{name}", options=options, seconds=2 * ANSWERS_WITHIN)
    answers: dict[str, Any] = json.loads(text)
    return answers
