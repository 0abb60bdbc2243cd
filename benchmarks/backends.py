"""What do the images with an inference engine cost? Run by `nox -s "bench(backends)"`: 15 minutes, 60 GB of disk.

In one run, on this machine's own platform: `nox -s smoke-vllm` with nothing built but downloads there; an unchanged
build of all runtimes beside raw bake; a new Dynamo; a second backend, pushed to a registry that holds the first;
`-- --compression` also exports vLLM's image by gzip and by zstd, from two more builds.

A new Dynamo is simulated: its steps, from the download to the image, are made to run again. No other version of Dynamo
installs from a public index together with these engines.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import no_op, on_engine
from dynamo_containers import engine, process
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.inspect.sizes import manifest
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import Part, request_for
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import inputs
from tests.stand_in.servers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.inspect.sizes.manifest import ImageSize

FIRST, SECOND = "vllm", "sglang"
COLD_SMOKE_SECONDS = 360
BUMP_SECONDS = 40
BUMP_SHARE = 0.05
SECOND_SHARE = 0.35
RESULTS = ROOT / ".build" / "bench-backends.json"
MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured on, and what was found."""

    docker: Docker
    rows: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def say(self, name: str, found: float, unit: str, most: float | None = None) -> None:
        """Print a number beside its limit, and keep both."""
        self.rows[name] = {"found": round(found, 3), "unit": unit, "limit": most}
        limit = "" if most is None else f"  (limit {most:g} {unit})"
        print(f"  {name:<62} {found:9.2f} {unit}{limit}", flush=True)
        if most is not None and found > most:
            self.failures.append(f"{name}: {found:.2f} {unit}, limit {most:g}")


def seconds(*words: str) -> float:
    """Run one of our commands to its end, quietly, and time it."""
    start = time.perf_counter()
    process.run(process.Command(argv=words, quiet=True))
    return time.perf_counter() - start


def of(image: str) -> Part:
    """Return the request for an image's runtime, and the inputs of its plan."""
    request = request_for(load_catalogue(), Stage.RUNTIME, ImageSelection(images=[image]))
    return Part(request, inputs.build_inputs(request))


def tag(image: str) -> str:
    """Return the tag of an image's runtime."""
    request, facts = of(image)
    return bake.tag(request.images[0], request.stage, request.bases, request.platforms, facts.version)


def size(bench: Bench, image: str) -> ImageSize:
    """Return the layers of an image's runtime."""
    part = of(image)
    return size_measure.measure(part, bake.bake_graph(part), bench.docker)[0].size


def cold_smoke(bench: Bench) -> None:
    """Time the whole session of the first backend, with a warm engine and download cache."""
    print(f"\n{FIRST}, nothing built, downloads there")
    seconds("invoke", "build.runtime", "--image", FIRST)
    on_engine.forget_what_is_built(bench.docker)
    took = seconds("nox", "--session", f"smoke-{FIRST}({native_platform().arch})")
    bench.say(f"nox -s smoke-{FIRST}", took, "s", COLD_SMOKE_SECONDS)


def unchanged(bench: Bench) -> None:
    """Time a build of all runtimes of which nothing changed, by `invoke` and by raw bake, in turn."""
    every = request_for(load_catalogue(), Stage.RUNTIME)
    took = seconds("invoke", "build.runtime")
    print(f"\nAll runtimes in one call: {', '.join(image.name for image in every.images)}")
    bench.say("first build of those that were not there", took, "s")
    times = no_op.no_op(Stage.RUNTIME, [image.name for image in every.images])
    bench.failures.extend(no_op.report("no-op, all runtimes", times))
    bench.rows["no-op, all runtimes"] = times


def new_dynamo(bench: Bench) -> None:
    """Time what a new version of Dynamo makes run again, and weigh what it puts on the image."""
    plan = bake.build_plan(of(FIRST))
    command = plan.command(bench.docker)
    again = [f"--set={target}.no-cache=true" for target in ("base", f"{FIRST}-dynamo", f"{FIRST}-runtime")]
    process.write(plan.document)
    start = time.perf_counter()
    process.run(process.Command(argv=(*command.argv, *again), env=command.env, quiet=True))
    took = time.perf_counter() - start
    print(f"\nA new Dynamo in {FIRST} (simulated)")
    bench.say("from its download to the image", took, "s", BUMP_SECONDS)
    whole = size(bench, FIRST)
    packages = [layer.name for layer in whole.layers if layer.name.startswith(FIRST) and "dynamo" not in layer.name]
    new = manifest.above(whole, packages[-1])
    bench.say("new bytes", new / MB, "MB")
    bench.say("share of the image", new / whole.packed, "", BUMP_SHARE)


def second_backend(bench: Bench) -> None:
    """Push both backends to a registry and weigh what the second one adds."""
    print("\nPushes to a registry on loopback")
    first, second = size(bench, FIRST), size(bench, SECOND)
    bench.say(f"{SECOND}: share to pull where {FIRST} is", share(second, first), "", SECOND_SHARE)
    bench.say(f"{FIRST}: share to pull where {SECOND} is", share(first, second), "", SECOND_SHARE)
    scratch = TemporaryDirectory(prefix="bench-registry-", dir=ROOT / ".build")
    with scratch as folder, registry(Path(folder)) as at:
        stored = [0]
        for image in (FIRST, SECOND):
            bench.say(f"push of {image}", on_engine.push(bench.docker, tag(image), at.address), "s")
            stored.append(on_engine.folder_bytes(Path(folder) / "data"))
            bench.say(f"new in the registry after {image}", (stored[-1] - stored[-2]) / MB, "MB")
    added = (stored[2] - stored[1]) / second.packed
    bench.say("the second backend adds, of its own size", added, "", SECOND_SHARE)


def share(image: ImageSize, there: ImageSize) -> float:
    """Return which part of an image is pulled where another one is."""
    return manifest.to_pull(image, [layer.digest for layer in there.layers]) / image.packed


def compressions(bench: Bench) -> None:
    """Export the first backend's image by gzip and by zstd, each from steps that have no compressed layer yet.

    A layer that was compressed once is kept as long as a step has it, and zstd of any level is taken for any other, so
    only what was just built shows what a compressor costs.
    """
    command = bake.build_plan(of(FIRST)).command(bench.docker)
    target = f"{FIRST}-runtime"
    for kind in ("type=docker,compression=gzip,force-compression=true", bake.OUTPUT):
        on_engine.forget_what_is_built(bench.docker)
        for output in ("type=cacheonly", kind):
            start = time.perf_counter()
            argv = (*command.argv, f"--set={target}.output={output}")
            process.run(process.Command(argv=argv, env=command.env, quiet=True))
            took = time.perf_counter() - start
        name = kind.removeprefix("type=docker,").partition(",force")[0]
        print(f"\nExport of {FIRST}'s image, every layer compressed anew: {name}")
        bench.say(f"{name}: time", took, "s")
        bench.say(f"{name}: size", size(bench, FIRST).packed / MB, "MB")


def main(words: Sequence[str] = tuple(sys.argv[1:])) -> int:
    """Print every number beside its limit and write them as JSON."""
    parts = {"cold": cold_smoke, "no-op": unchanged, "dynamo": new_dynamo, "second": second_backend}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compression", action="store_true", help="also measure gzip beside zstd, ten minutes")
    parser.add_argument("--only", choices=parts, action="append", help="only this part; again for more")
    asked = parser.parse_args(words)
    bench = Bench(docker=engine.docker(ROOT))
    for name, part in parts.items():
        if name in (asked.only or parts):
            part(bench)
    if asked.compression:
        compressions(bench)
    process.write(process.Document(path=RESULTS, text=json.dumps(bench.rows, indent=2) + "\n"))
    print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    for failure in bench.failures:
        print(f"over its limit: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
