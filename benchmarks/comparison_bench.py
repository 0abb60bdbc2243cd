"""How is one way of building measured? Built, pushed to a registry on loopback, changed and built again."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from benchmarks import comparison, on_engine
from benchmarks.comparison import ADDED, BUMP, COLD, LINE, NO_OP, PACKAGE, Measured
from dynamo_containers import engine, process
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.comparison_project import Project
    from benchmarks.comparison_ways import Baseline, Ours
    from dynamo_containers.docker_cli import Docker
    from tests.lock.test_registry import Registry
    from tests.stand_in.servers import StandIn

NO_OPS = 3
RELEASE = {BUMP: ("ai-dynamo", "ai-dynamo-runtime")}
KINDS: Mapping[str, Mapping[str, Sequence[str]]] = {"quick": RELEASE, "full": {LINE: ("ai-dynamo",), **RELEASE}}
"""Form -> what is changed of Dynamo, for all backends. A line is nearly what a release is: not in the quick form."""
LOST = "failed to prepare extraction snapshot"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One way, what it is tried on, and what was found."""

    way: Ours | Baseline
    project: Project
    server: StandIn
    docker: Docker
    at: Registry
    stored: Path
    """Where the registry keeps what it was sent."""
    found: Measured
    cache: Baseline
    """Fills uv's cache for both ways."""

    @property
    def is_full(self) -> bool:
        """Say whether engines are measured that a disk hardly holds."""
        return self.found.form == "full"

    def fill(self, *backends: str) -> None:
        """Have the wheels of these backends in uv's cache."""
        process.capture(self.cache.downloads(backends))

    def build(self, *backends: str) -> float:
        """Build every stage of these backends; return the seconds."""
        commands = self.way.commands(backends)
        start = time.perf_counter()
        for command in commands:
            _built(command)
        return time.perf_counter() - start

    def push(self, backends: Sequence[str]) -> int:
        """Push every image of these backends; return the new bytes of the registry."""
        before = on_engine.folder_bytes(self.stored)
        for tag in dict.fromkeys(tag for name in backends for tag in self.way.tags(name)):
            on_engine.push(self.docker, tag, self.at.address)
        _hollow(self.stored)
        return on_engine.folder_bytes(self.stored) - before

    def layers(self, backend: str) -> dict[str, int]:
        """Return digest -> bytes of the layers of a runtime that was pushed, as a node would pull them."""
        name, _, tag = self.way.runtime(backend).rpartition(":")
        address = f"http://{self.at.address}/v2/{name}/manifests/{tag}"
        with urlopen(Request(address, headers={"Accept": MANIFESTS}), timeout=10) as answer:
            content = json.load(answer)
        return {layer["digest"]: int(layer["size"]) for layer in content["layers"]}

    def say(self, what: str, name: str, value: float) -> None:
        """Keep a value, and show that something goes on."""
        self.found.add(what, name, value)
        unit, scale = {"seconds": ("s", 1), "layers": ("", 1)}.get(what, ("MB", comparison.MB))
        print(f"  {what:<8} {name:<26} {value / scale:9.2f} {unit}", flush=True)


def _hollow(folder: Path) -> None:
    """Let large files keep their size and none of their bytes: nobody pulls, and the registry asks no more."""
    for file in folder.rglob("*"):
        if file.is_file() and (size := file.stat().st_size) > comparison.MB:
            os.truncate(file, 0)
            os.truncate(file, size)


def _built(command: process.Command) -> None:
    """Build; once more where the engine fails by a fault of its own, which counts for whom it meets."""
    try:
        process.capture(command)
    except CommandFailedError as error:
        if LOST not in str(error):
            raise
        print("  The engine lost a layer while it unpacked an image (moby/buildkit 6521): built again, and counted")
        process.capture(command)


def settled_bytes() -> int | None:
    """Return what the private engine's data takes on the disk once nothing more is removed; None of another engine."""
    data = ROOT / ".engine/data"
    if not engine.private(ROOT):
        return None
    taken = [-1]
    for _ in range(20):
        words = ("sh", "-c", 'du --summarize --one-file-system --block-size=1 "$0" 2>/dev/null || true', str(data))
        taken.append(int(process.capture(process.Command(argv=words)).split()[0]))
        if taken[-1] == taken[-2]:
            break
        time.sleep(2)
    return taken[-1]


def first_and_second(bench: Bench) -> None:
    """Build one backend and then the other, and push both: what does the second one cost?"""
    first, second = bench.project.backends
    on_engine.forget_what_is_built(bench.docker)
    alone = bench.build(first)
    pushed = bench.push([first])
    there = bench.layers(first)
    bench.say("pulled", COLD, sum(there.values()))
    if bench.is_full and not bench.way.shares:
        # The disk does not hold both beside uv's cache, and the second uses nothing of the first one's images.
        on_engine.remove(bench.docker, bench.way.tags(first))
    added = bench.build(second)
    bench.say("seconds", ADDED, added)
    more = bench.push([second])
    bench.say("pushed", ADDED, more)
    bench.say("pushed", COLD, pushed + more)
    bench.say("pulled", ADDED, missing(bench.layers(second), there))
    for name in (first, second):
        bench.say("layers", f"runtime, {name}", len(bench.layers(name)))
    # One after the other, as the baseline is built; one call for both is no slower.
    bench.say("seconds", COLD, alone + added)


def missing(image: Mapping[str, int], there: Mapping[str, int]) -> int:
    """Return the bytes that a node pulls which has the layers of another image."""
    return sum(size for digest, size in image.items() if digest not in there)


def changes(bench: Bench, rounds: int) -> int | None:
    """Build everything again after nothing changed, and after Dynamo did; return what everything takes on the disk."""
    both = bench.project.backends
    if bench.is_full:
        on_engine.forget_downloads(bench.docker)  # no engine is installed again, and the disk is full
        bench.build(*both)
    everything = settled_bytes()
    for _ in range(NO_OPS):
        bench.say("seconds", NO_OP, bench.build(*both))
    for number in range(rounds):
        for kind, names in KINDS[bench.found.form].items():
            change(bench, kind, names, both, number)
    return everything


def package_changes(bench: Bench, rounds: int) -> None:
    """Build a backend again of which a package changed."""
    first = bench.project.backends[0]
    for number in range(rounds):
        if bench.is_full:
            if not bench.way.shares:
                # All of an engine is made anew: no disk holds it twice, and the other engine too.
                on_engine.forget_what_is_built(bench.docker)
            bench.fill(first)
            bench.build(first)
            bench.push([first])
        change(bench, PACKAGE, (bench.project.package,), (first,), number)


def change(bench: Bench, kind: str, names: Sequence[str], backends: Sequence[str], number: int) -> None:
    """Change packages, and build and push these backends again."""
    first = bench.project.backends[0]
    there = bench.layers(first)
    bench.project.change(bench.server, names, f"{bench.found.date} {kind} {number}")
    bench.say("seconds", kind, bench.build(*backends))
    bench.say("pushed", kind, bench.push(backends))
    bench.say("pulled", kind, missing(bench.layers(first), there))


def measure(bench: Bench, rounds: int) -> None:
    """Measure one way from an empty engine on, and leave it empty whatever happens."""
    everything = None
    try:
        first_and_second(bench)
        everything = changes(bench, rounds)
        package_changes(bench, rounds)
    finally:
        on_engine.forget_what_is_built(bench.docker)
    if bench.is_full:
        on_engine.forget_downloads(bench.docker)
    nothing = settled_bytes()
    if everything is not None and nothing is not None:
        bench.say("disk", "images and build cache", everything - nothing)
