"""Start of NATS, etcd, the frontend of Dynamo and a worker, and their end on SIGTERM.

    serve.py LOGS PATIENCE MODULE [ARGUMENT ...]

MODULE is that of the worker: dynamo.mocker, which only simulates an engine, or a real engine, whose model has weights.

Each program writes its own log file in LOGS. LOGS/serving.json appears when the model is served. After SIGTERM,
LOGS/stopped.json has the exit code and the seconds of each program, and the processes that were left over.
The script writes only to /tmp and LOGS, and needs no network except for loopback.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import tiny_model

PORT = 8000
MODEL = Path("/tmp/model")
PLANES = ["--discovery-backend", "etcd", "--request-plane", "nats", "--event-plane", "nats"]
PYTHON = [sys.executable, "-B", "-m"]
INFRASTRUCTURE = {
    "nats-server": ["nats-server", "-a", "127.0.0.1", "-js", "-sd", "/tmp/nats"],
    "etcd": [
        *("etcd", "--data-dir", "/tmp/etcd"),
        *("--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"),
        *("--listen-peer-urls", "http://127.0.0.1:2380"),
        *("--initial-advertise-peer-urls", "http://127.0.0.1:2380"),
        *("--initial-cluster", "default=http://127.0.0.1:2380"),
    ],
}
FRONTEND = [*PYTHON, "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(PORT), *PLANES]
MOCKER = "dynamo.mocker"
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    # Every poll of the models would add a line to the log.
    "DYN_LOG": "info,dynamo_llm::http::service=warn",
    # The address for streamed answers; the default is the first one besides loopback, which needs a network.
    "DYN_TCP_RESPONSE_STREAM_HOST": "lo",
    # The same for vLLM, and for the process groups that torch creates even for one GPU.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
STARTS_WITHIN = {True: 30, False: 600}
"""Whether the engine is a mock -> seconds; a real one compiles kernels at its first start."""
STOPS_WITHIN = 20
"""Longer than the limit of the tests, so that the real duration is measured."""


class FailedError(Exception):
    """A program did not start."""


def start(name: str, argv: list, logs: Path) -> subprocess.Popen:
    with (logs / f"{name}.log").open("wb") as log:
        environment = {**os.environ, **ENVIRONMENT}
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def wait_for(condition_name: str, condition: Callable[[], object], running: dict, deadline: float) -> None:
    while not condition():
        dead = [name for name, process in running.items() if process.poll() is not None]
        if dead:
            message = f"{', '.join(dead)} ended while waiting for {condition_name}"
            raise FailedError(message)
        if time.monotonic() > deadline:
            message = f"{condition_name}: not within the time allowed"
            raise FailedError(message)
        time.sleep(0.25)


def get(address: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{address}", timeout=5) as answer:
            return answer.read()
    except OSError:
        return b""


def serves() -> bool:
    return bool(json.loads(get(f"{PORT}/v1/models") or b"{}").get("data"))


def stop(running: dict, patience: float) -> dict:
    """Send SIGTERM to all programs at once, as the end of a pod does; return the exit code and seconds of each."""
    begin = time.monotonic()
    for process in running.values():
        process.terminate()
    ended = {}
    while len(ended) < len(running) and time.monotonic() < begin + STOPS_WITHIN * patience:
        for name, process in running.items():
            if name not in ended and process.poll() is not None:
                ended[name] = {"code": process.returncode, "seconds": round(time.monotonic() - begin, 2)}
        time.sleep(0.02)
    return ended | {name: {"code": None, "seconds": None} for name in running if name not in ended}


def left_over() -> list:
    """Return the command of every other process of the container."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    commands = {number: command_of(number) for number in numbers if number != os.getpid()}
    return [command for command in commands.values() if command]


def command_of(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""  # it ended meanwhile


def report(file: Path, content: dict) -> None:
    temporary_file = file.with_suffix(".part")
    temporary_file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary_file.replace(file)


def main() -> int:
    logs, patience, (module, *arguments) = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    begin = time.monotonic()
    deadline = begin + STARTS_WITHIN[module == MOCKER] * patience
    tiny_model.make(MODEL, weights=module != MOCKER)
    running = {}
    try:
        running |= {name: start(name, argv, logs) for name, argv in INFRASTRUCTURE.items()}
        wait_for("etcd", lambda: b"true" in get("2379/health"), running, deadline)
        running["frontend"] = start("frontend", FRONTEND, logs)
        running["worker"] = start("worker", [*PYTHON, module, *arguments, *PLANES], logs)
        wait_for("a served model", serves, running, deadline)
        report(logs / "serving.json", {"seconds": round(time.monotonic() - begin, 2)})
        wait_for("SIGTERM", lambda: stopping, running, float("inf"))
    except FailedError as error:
        print(error, file=sys.stderr, flush=True)
        for process in running.values():
            process.kill()
        return 1
    report(logs / "stopped.json", {"ended": stop(running, patience), "left over": left_over()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
