"""Measurement of one way of building: build, push to a registry on loopback, change and rebuild."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from benchmarks import comparison, on_engine
from benchmarks.comparison import ADDED, BUMP, COLD, LINE, NO_OP, PACKAGE, Measurements
from dynamo_containers import engine, process
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.comparison_project import ComparedProject
    from benchmarks.comparison_ways import Baseline, OneGraph
    from dynamo_containers.docker_cli import Docker
    from tests.lock.test_registry import Registry
    from tests.stand_in.servers import StandIn

NO_OPS = 3
RELEASE = {BUMP: ("ai-dynamo", "ai-dynamo-runtime")}
KINDS: Mapping[str, Mapping[str, Sequence[str]]] = {"quick": RELEASE, "full": {LINE: ("ai-dynamo",), **RELEASE}}
"""Form -> simulated change of Dynamo -> changed packages. In the quick form a line is like a release."""
LOST = "failed to prepare extraction snapshot"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True, kw_only=True)
class WayBench:
    """One way of building, the services that it uses, and its results."""

    way: OneGraph | Baseline
    project: ComparedProject
    server: StandIn
    docker: Docker
    at: Registry
    stored: Path
    """The data folder of the registry."""
    results: Measurements
    cache: Baseline
    """The baseline, which fills uv's cache for both ways."""

    @property
    def is_full(self) -> bool:
        """Return whether the real engines are measured, which hardly fit on the disk."""
        return self.results.form == "full"

    def fill(self, *backends: str) -> None:
        """Download the wheels of these backends into uv's cache."""
        process.capture(self.cache.downloads(backends))

    def build(self, *backends: str) -> float:
        """Build every stage of these backends; return the duration in seconds."""
        commands = self.way.commands(backends)
        start = time.perf_counter()
        for command in commands:
            _build_with_retry(command)
        return time.perf_counter() - start

    def push(self, backends: Sequence[str]) -> int:
        """Push every image of these backends; return the number of new bytes in the registry."""
        before = on_engine.folder_bytes(self.stored)
        for tag in dict.fromkeys(tag for name in backends for tag in self.way.tags(name)):
            on_engine.push(self.docker, tag, self.at.address)
        _hollow(self.stored)
        return on_engine.folder_bytes(self.stored) - before

    def layers(self, backend: str) -> dict[str, int]:
        """Return digest -> compressed size of the layers of a pushed runtime."""
        name, _, tag = self.way.runtime(backend).rpartition(":")
        address = f"http://{self.at.address}/v2/{name}/manifests/{tag}"
        with urlopen(Request(address, headers={"Accept": MANIFESTS}), timeout=10) as answer:
            content = json.load(answer)
        return {layer["digest"]: int(layer["size"]) for layer in content["layers"]}

    def say(self, measure: str, name: str, value: float) -> None:
        """Store and print a value."""
        self.results.add(measure, name, value)
        unit, scale = {"seconds": ("s", 1), "layers": ("", 1)}.get(measure, ("MB", comparison.MB))
        print(f"  {measure:<8} {name:<26} {value / scale:9.2f} {unit}", flush=True)


def _hollow(folder: Path) -> None:
    """Replace large files by holes of the same size: nobody pulls them, and the registry does not check them."""
    for file in folder.rglob("*"):
        if file.is_file() and (size := file.stat().st_size) > comparison.MB:
            os.truncate(file, 0)
            os.truncate(file, size)


def _build_with_retry(command: process.Command) -> None:
    """Build, and repeat it once after a known fault of the engine; the lost time counts."""
    try:
        process.capture(command)
    except CommandFailedError as error:
        if LOST not in str(error):
            raise
        print("  The engine lost a layer while it unpacked an image (moby/buildkit 6521): built again; the time counts")
        process.capture(command)


def settled_bytes() -> int | None:
    """Return the disk usage of the private engine after its clean-up has ended; None for another engine."""
    data = ROOT / ".engine/data"
    if not engine.private(ROOT):
        return None
    sizes = [-1]
    for _ in range(20):
        argv = ("sh", "-c", 'du --summarize --one-file-system --block-size=1 "$0" 2>/dev/null || true', str(data))
        sizes.append(int(process.capture(process.Command(argv=argv)).split()[0]))
        if sizes[-1] == sizes[-2]:
            break
        time.sleep(2)
    return sizes[-1]


def first_and_second(bench: WayBench) -> None:
    """Build and push one backend and then the other, to measure the cost of the second one."""
    first, second = bench.project.backends
    on_engine.forget_what_is_built(bench.docker)
    alone = bench.build(first)
    pushed = bench.push([first])
    local_layers = bench.layers(first)
    bench.say("pulled", COLD, sum(local_layers.values()))
    if bench.is_full and not bench.way.shares:
        # The disk has no space for both and uv's cache; the second one uses nothing of the images of the first one.
        on_engine.remove(bench.docker, bench.way.tags(first))
    added = bench.build(second)
    bench.say("seconds", ADDED, added)
    more = bench.push([second])
    bench.say("pushed", ADDED, more)
    bench.say("pushed", COLD, pushed + more)
    bench.say("pulled", ADDED, missing(bench.layers(second), local_layers))
    for name in (first, second):
        bench.say("layers", f"runtime, {name}", len(bench.layers(name)))
    # One after the other, as the baseline is built; one call for both is not slower.
    bench.say("seconds", COLD, alone + added)


def missing(image: Mapping[str, int], local_layers: Mapping[str, int]) -> int:
    """Return the number of bytes that a node with these layers pulls for an image."""
    return sum(size for digest, size in image.items() if digest not in local_layers)


def changes(bench: WayBench, rounds: int) -> int | None:
    """Rebuild everything without a change and after changes of Dynamo; return the disk usage before them."""
    both = bench.project.backends
    if bench.is_full:
        on_engine.forget_downloads(bench.docker)  # no engine is installed again, and the disk is nearly full
        bench.build(*both)
    used = settled_bytes()
    for _ in range(NO_OPS):
        bench.say("seconds", NO_OP, bench.build(*both))
    for number in range(rounds):
        for kind, names in KINDS[bench.results.form].items():
            change(bench, kind, names, both, number)
    return used


def package_changes(bench: WayBench, rounds: int) -> None:
    """Rebuild a backend after a change of one of its packages."""
    first = bench.project.backends[0]
    for number in range(rounds):
        if bench.is_full:
            if not bench.way.shares:
                # The whole engine is rebuilt: the disk has no space for two copies and the other engine.
                on_engine.forget_what_is_built(bench.docker)
            bench.fill(first)
            bench.build(first)
            bench.push([first])
        change(bench, PACKAGE, (bench.project.package,), (first,), number)


def change(bench: WayBench, kind: str, names: Sequence[str], backends: Sequence[str], number: int) -> None:
    """Change packages, then rebuild and push these backends."""
    first = bench.project.backends[0]
    local_layers = bench.layers(first)
    bench.project.change(bench.server, names, f"{bench.results.date} {kind} {number}")
    bench.say("seconds", kind, bench.build(*backends))
    bench.say("pushed", kind, bench.push(backends))
    bench.say("pulled", kind, missing(bench.layers(first), local_layers))


def measure(bench: WayBench, rounds: int) -> None:
    """Measure one way, starting with an empty engine; the engine is emptied even after a failure."""
    used = None
    try:
        first_and_second(bench)
        used = changes(bench, rounds)
        package_changes(bench, rounds)
    finally:
        on_engine.forget_what_is_built(bench.docker)
    if bench.is_full:
        on_engine.forget_downloads(bench.docker)
    empty = settled_bytes()
    if used is not None and empty is not None:
        bench.say("disk", "images and build cache", used - empty)
