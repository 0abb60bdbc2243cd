"""A new machine gets the frontend from a cache; a cache that is unreachable or has wrong bytes is refused.

There are two machines. The producer is a checkout with the engine of this one, which fills the cache. The consumer is a
checkout elsewhere with its own, empty engine. Their registry is that of Debian, on loopback. It takes ten minutes, as
wrong bytes lead to a build without a cache.
"""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import engine
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.pins import load_pins
from dynamo_containers.platforms import native_platform
from tests.checkout_copy import checkout
from tests.second_machine import CLEAN, TAKEN_OVER, Machine, second
from tests.source_builds.conftest import git, repository
from tests.stand_in.servers import registry

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lock.test_registry import Registry

pytestmark = pytest.mark.engine

NATIVE = native_platform()
BUILD = ("build.runtime", "--image", "frontend")
PLACE = ROOT / ".build" / "registry-cache"
IMAGE = "dynamo-frontend"
FEWEST_STEPS = 10


@pytest.fixture(scope="module")
def consumer() -> Iterator[Machine]:
    with second(PLACE / "elsewhere" / "two") as machine:
        yield machine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def server(place: Path, consumer: Machine) -> Iterator[Registry]:
    with registry(place, [engine.network(consumer.folder)]) as running:
        yield running


@pytest.fixture(scope="module")
def producer(server: Registry) -> Machine:
    """The machine that built the frontend and wrote the cache."""
    checkout(PLACE / "one", TAKEN_OVER)
    used = engine.environment(ROOT)
    machine = Machine(folder=PLACE / "one", environment={**CLEAN, **used})
    finished = machine.invoke(*BUILD, "--cache-to", f"{server.address}/cache")
    assert finished.returncode == 0, finished.stderr
    assert "was not written" not in finished.stderr
    return machine


def steps(finished: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Return the digest of each RUN and COPY of a build -> whether it came from a cache."""
    return {vertex["digest"]: bool(vertex.get("cached")) for vertex in _ended(finished)}


def names(finished: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Return the name of each RUN and COPY of a build -> whether it came from a cache."""
    return {vertex["name"]: bool(vertex.get("cached")) for vertex in _ended(finished)}


def _ended(finished: subprocess.CompletedProcess[str]) -> Iterator[dict[str, Any]]:
    for line in finished.stderr.splitlines():
        for vertex in (json.loads(line).get("vertexes") or ()) if line.startswith("{") else ():
            if re.match(r"\[[^]]*\] (RUN|COPY) ", vertex["name"]) and vertex.get("completed"):
                yield vertex


def digest(machine: Machine) -> str:
    (line,) = machine.docker("image", "ls", "--no-trunc", "--format", "{{.ID}}", IMAGE).split()
    return line


def test_an_empty_machine_builds_the_frontend_without_building_anything(
    producer: Machine, consumer: Machine, server: Registry
) -> None:
    began = time.monotonic()
    finished = consumer.invoke(*BUILD, "--cache-from", f"{server.address}/cache", BUILDKIT_PROGRESS="rawjson")
    seconds = time.monotonic() - began
    assert finished.returncode == 0, finished.stderr[-3000:]
    cached_steps = steps(finished)
    print(f"{len(cached_steps)} steps from the cache; {seconds:.0f} s, in the engine {_engine_seconds(finished):.0f} s")
    assert len(cached_steps) >= FEWEST_STEPS
    assert all(cached_steps.values()), finished.stderr[-3000:]
    assert digest(consumer) == digest(producer)


def _engine_seconds(finished: subprocess.CompletedProcess[str]) -> float:
    """Return the seconds between the first and the last timestamp of the engine."""
    times = re.findall(r'"(?:started|completed)":"([0-9T:.-]{26})', finished.stderr)
    first, last = (datetime.fromisoformat(timestamp) for timestamp in (min(times), max(times)))
    return (last - first).total_seconds()


def test_the_root_images_of_the_empty_machine_are_the_pinned_ones_bit_for_bit(consumer: Machine) -> None:
    pins = load_pins(ROOT)
    records = {
        role: json.loads(
            next((consumer.folder / ".build/roots").glob(f"debian-{role}-{NATIVE.arch}-*.json")).read_bytes()
        )
        for role in ("builder", "runtime")
    }
    assert {role: row["digest"] for role, row in records.items()} == {
        role: pins.root("debian", role, NATIVE) for role in records
    }


def test_wheels_of_a_checkout_come_out_of_the_cache_for_a_clone_elsewhere(
    producer: Machine, consumer: Machine, server: Registry, tmp_path: Path
) -> None:
    original, clone = repository("dynamo", tmp_path), tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "--quiet", str(original), str(clone))
    (clone / "target").mkdir()
    (clone / "target" / "large").write_bytes(b"0" * 1_000_000)
    (clone / ".dockerignore").write_text("lib\n", encoding="utf-8")  # builds must not use it
    cache = f"{server.address}/cache"
    finished = producer.invoke("build.base", "--dynamo-source", str(original), "--cache-to", cache)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "was not written" not in finished.stderr
    consumer.empty()
    finished = consumer.invoke(
        "build.base", "--dynamo-source", str(clone), "--cache-from", cache, BUILDKIT_PROGRESS="rawjson"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    compiled = [name for name in names(finished) if "compile-wheel " in name and "] RUN " in name]
    assert compiled, finished.stderr[-3000:]
    ran = [name for name, cached in names(finished).items() if "] RUN " in name and not cached]
    assert ran == []


def test_a_cache_that_is_down_is_done_without_and_said_in_one_line(producer: Machine) -> None:
    nowhere = "127.0.0.1:9/cache"
    finished = producer.invoke(*BUILD, "--cache-from", nowhere, "--cache-to", nowhere)
    assert finished.returncode == 0, finished.stderr[-3000:]
    messages = [line for line in finished.stderr.splitlines() if line.startswith("The build cache")]
    assert messages == [
        f"The build cache at {nowhere} is not used: connection refused. The build continues without it.",
    ]


def test_other_bytes_than_a_cache_promised_are_refused_and_the_build_goes_on_without_it(
    producer: Machine, consumer: Machine, server: Registry, place: Path
) -> None:
    """Last test: it leaves the registry with wrong bytes."""
    consumer.empty()
    for blob in (place / "data").glob("**/blobs/sha256/*/*/data"):
        content = bytearray(blob.read_bytes())
        if content.startswith(b"\x28\xb5\x2f\xfd"):  # zstd: a layer
            content[len(content) // 2] ^= 0xFF
            blob.write_bytes(content)
    began = time.monotonic()
    finished = consumer.invoke(*BUILD, "--cache-from", f"{server.address}/cache", BUILDKIT_PROGRESS="rawjson")
    print(f"without the cache: {time.monotonic() - began:.0f} s")
    assert finished.returncode == 0, finished.stderr[-3000:]
    messages = [line for line in finished.stderr.splitlines() if line.startswith("The build cache")]
    assert len(messages) == 1
    assert f"{server.address}/cache has other bytes than it lists" in messages[0]
    assert not all(steps(finished).values())
    assert digest(consumer) == digest(producer)
