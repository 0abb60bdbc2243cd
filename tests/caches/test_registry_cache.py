"""A machine on which nothing was ever built takes the frontend out of a cache; a cache that is down or lies is refused.

Two machines: a checkout with this one's engine, which fills the cache, and one elsewhere with an engine of its own,
which has nothing. Their registry is Debian's, on loopback. Ten minutes: the lie ends in a build
from nothing.
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
from tests.copied import checkout
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
def two() -> Iterator[Machine]:
    with second(PLACE / "elsewhere" / "two") as machine:
        yield machine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def known(place: Path, two: Machine) -> Iterator[Registry]:
    with registry(place, [engine.network(two.folder)]) as running:
        yield running


@pytest.fixture(scope="module")
def one(known: Registry) -> Machine:
    """The machine that has built the frontend and written the cache."""
    checkout(PLACE / "one", TAKEN_OVER)
    used = engine.environment(ROOT)
    machine = Machine(folder=PLACE / "one", environment={**CLEAN, **used})
    done = machine.invoke(*BUILD, "--cache-to", f"{known.address}/cache")
    assert done.returncode == 0, done.stderr
    assert "was not written" not in done.stderr
    return machine


def steps(done: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Return RUN and COPY of a build, by digest -> whether it came out of a cache."""
    return {vertex["digest"]: bool(vertex.get("cached")) for vertex in _ended(done)}


def names(done: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Return the same by name."""
    return {vertex["name"]: bool(vertex.get("cached")) for vertex in _ended(done)}


def _ended(done: subprocess.CompletedProcess[str]) -> Iterator[dict[str, Any]]:
    for line in done.stderr.splitlines():
        for vertex in (json.loads(line).get("vertexes") or ()) if line.startswith("{") else ():
            if re.match(r"\[[^]]*\] (RUN|COPY) ", vertex["name"]) and vertex.get("completed"):
                yield vertex


def digest(machine: Machine) -> str:
    (line,) = machine.docker("image", "ls", "--no-trunc", "--format", "{{.ID}}", IMAGE).split()
    return line


def test_an_empty_machine_builds_the_frontend_without_building_anything(
    one: Machine, two: Machine, known: Registry
) -> None:
    began = time.monotonic()
    done = two.invoke(*BUILD, "--cache-from", f"{known.address}/cache", BUILDKIT_PROGRESS="rawjson")
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-3000:]
    taken = steps(done)
    print(f"{len(taken)} steps out of the cache; {seconds:.0f} s, of which {_engine_seconds(done):.0f} s in the engine")
    assert len(taken) >= FEWEST_STEPS
    assert all(taken.values()), done.stderr[-3000:]
    assert digest(two) == digest(one)


def _engine_seconds(done: subprocess.CompletedProcess[str]) -> float:
    """Return the seconds between the first and the last that the engine said."""
    times = re.findall(r'"(?:started|completed)":"([0-9T:.-]{26})', done.stderr)
    first, last = (datetime.fromisoformat(each) for each in (min(times), max(times)))
    return (last - first).total_seconds()


def test_the_root_images_of_the_empty_machine_are_the_pinned_ones_bit_for_bit(two: Machine) -> None:
    pins = load_pins(ROOT)
    made = {
        role: json.loads(next((two.folder / ".build/roots").glob(f"debian-{role}-{NATIVE.arch}-*.json")).read_bytes())
        for role in ("builder", "runtime")
    }
    assert {role: row["digest"] for role, row in made.items()} == {
        role: pins.root("debian", role, NATIVE) for role in made
    }


def test_wheels_of_a_checkout_come_out_of_the_cache_for_a_clone_elsewhere(
    one: Machine, two: Machine, known: Registry, tmp_path: Path
) -> None:
    mine, theirs = repository("dynamo", tmp_path), tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "--quiet", str(mine), str(theirs))
    (theirs / "target").mkdir()
    (theirs / "target" / "large").write_bytes(b"0" * 1_000_000)
    (theirs / ".dockerignore").write_text("lib\n", encoding="utf-8")  # the checkout's own says nothing
    cache = f"{known.address}/cache"
    done = one.invoke("build.base", "--dynamo-source", str(mine), "--cache-to", cache)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "was not written" not in done.stderr
    two.empty()
    done = two.invoke("build.base", "--dynamo-source", str(theirs), "--cache-from", cache, BUILDKIT_PROGRESS="rawjson")
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = [name for name in names(done) if "compiled" in name and "] RUN " in name]
    assert compiled, done.stderr[-3000:]
    ran = [name for name, cached in names(done).items() if "] RUN " in name and not cached]
    assert ran == []


def test_a_cache_that_is_down_is_done_without_and_said_in_one_line(one: Machine) -> None:
    nowhere = "127.0.0.1:9/cache"
    done = one.invoke(*BUILD, "--cache-from", nowhere, "--cache-to", nowhere)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("The build cache")]
    assert said == [
        f"The build cache at {nowhere} is not used: connection refused. The build goes on without it.",
    ]


def test_other_bytes_than_a_cache_promised_are_refused_and_the_build_goes_on_without_it(
    one: Machine, two: Machine, known: Registry, place: Path
) -> None:
    """Last: it leaves the registry with wrong bytes."""
    two.empty()
    for blob in (place / "data").glob("**/blobs/sha256/*/*/data"):
        content = bytearray(blob.read_bytes())
        if content.startswith(b"\x28\xb5\x2f\xfd"):  # zstd: a layer
            content[len(content) // 2] ^= 0xFF
            blob.write_bytes(content)
    began = time.monotonic()
    done = two.invoke(*BUILD, "--cache-from", f"{known.address}/cache", BUILDKIT_PROGRESS="rawjson")
    print(f"without the cache: {time.monotonic() - began:.0f} s")
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("The build cache")]
    assert len(said) == 1
    assert f"{known.address}/cache has other bytes than it says" in said[0]
    assert not all(steps(done).values())
    assert digest(two) == digest(one)
