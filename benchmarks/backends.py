"""Time and size of the images with an inference engine: `nox -s "bench(backends)"`; 15 minutes, 60 GB of disk.

One run, for the platform of this machine, measures: `nox -s smoke-vllm` with full download caches and no image; an
unchanged build of all runtimes, compared with plain bake; a new Dynamo; a second backend, pushed to a registry that has
the first. `-- --compression` also exports the image of vLLM with gzip and with zstd, which takes two more builds.

The new Dynamo is simulated: its targets, from the download to the image, are rebuilt. No other version of Dynamo
installs from a public index together with these engines.
"""

from __future__ import annotations

import argparse
import json
import os
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
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import build_secrets, inputs
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
class BackendBench:
    """The engine, the measured values and the exceeded limits."""

    docker: Docker
    rows: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def say(self, name: str, value: float, unit: str, most: float | None = None) -> None:
        """Print and store a value with its limit."""
        self.rows[name] = {"found": round(value, 3), "unit": unit, "limit": most}
        limit = "" if most is None else f"  (limit {most:g} {unit})"
        print(f"  {name:<62} {value:9.2f} {unit}{limit}", flush=True)
        if most is not None and value > most:
            self.failures.append(f"{name}: {value:.2f} {unit}, limit {most:g}")


def seconds(*argv: str) -> float:
    """Return the duration of a command of this project; its output is captured."""
    start = time.perf_counter()
    process.run(process.Command(argv=argv, quiet=True))
    return time.perf_counter() - start


def runtime_part(image: str) -> BuildPart:
    """Return the request for an image's runtime, and the inputs of its plan."""
    request = request_for(load_catalogue(), Stage.RUNTIME, ImageSelection(images=[image]))
    return BuildPart(request, inputs.build_inputs(request))


def tag(image: str) -> str:
    """Return the tag of an image's runtime."""
    request, facts = runtime_part(image)
    return bake.tag(request.images[0], request.stage, request.bases, request.platforms, facts.version)


def size(bench: BackendBench, image: str) -> ImageSize:
    """Return the layers of an image's runtime."""
    part = runtime_part(image)
    return size_measure.measure(part, bake.bake_graph(part), bench.docker)[0].size


def cold_smoke(bench: BackendBench) -> None:
    """Time the whole session of the first backend, with a running engine and full download caches."""
    print(f"\n{FIRST}: no image yet, full download caches")
    seconds("invoke", "build.runtime", "--image", FIRST)
    on_engine.forget_what_is_built(bench.docker)
    took = seconds("nox", "--session", f"smoke-{FIRST}({native_platform().arch})")
    bench.say(f"nox -s smoke-{FIRST}", took, "s", COLD_SMOKE_SECONDS)


def unchanged(bench: BackendBench) -> None:
    """Time an unchanged build of all runtimes, by `invoke` and by plain bake in turn."""
    request = request_for(load_catalogue(), Stage.RUNTIME)
    took = seconds("invoke", "build.runtime")
    print(f"\nAll runtimes in one call: {', '.join(image.name for image in request.images)}")
    bench.say("first build of the missing images", took, "s")
    times = no_op.no_op(Stage.RUNTIME, [image.name for image in request.images])
    bench.failures.extend(no_op.report("no-op, all runtimes", times))
    bench.rows["no-op, all runtimes"] = times


def new_dynamo(bench: BackendBench) -> None:
    """Time what a new version of Dynamo rebuilds, and measure the bytes that it adds to the image."""
    plan = bake.build_plan(runtime_part(FIRST))
    command = plan.command(bench.docker)
    rebuilds = [f"--set={target}.no-cache=true" for target in ("base", f"{FIRST}-dynamo", f"{FIRST}-runtime")]
    process.write(plan.document)
    start = time.perf_counter()
    with build_secrets.index_file(ROOT, os.environ):
        process.run(process.Command(argv=(*command.argv, *rebuilds), env=command.env, quiet=True))
    took = time.perf_counter() - start
    print(f"\nA new Dynamo in {FIRST} (simulated)")
    bench.say("from its download to the image", took, "s", BUMP_SECONDS)
    image = size(bench, FIRST)
    packages = [layer.name for layer in image.layers if layer.name.startswith(FIRST) and "dynamo" not in layer.name]
    new = manifest.above(image, packages[-1])
    bench.say("new bytes", new / MB, "MB")
    bench.say("share of the image", new / image.packed, "", BUMP_SHARE)


def second_backend(bench: BackendBench) -> None:
    """Push both backends to a registry and measure the bytes that the second one adds."""
    print("\nPushes to a registry on loopback")
    first, second = size(bench, FIRST), size(bench, SECOND)
    bench.say(f"{SECOND}: share to pull where {FIRST} is present", share(second, first), "", SECOND_SHARE)
    bench.say(f"{FIRST}: share to pull where {SECOND} is present", share(first, second), "", SECOND_SHARE)
    scratch = TemporaryDirectory(prefix="bench-registry-", dir=ROOT / ".build")
    with scratch as folder, registry(Path(folder)) as at:
        stored = [0]
        for image in (FIRST, SECOND):
            bench.say(f"push of {image}", on_engine.push(bench.docker, tag(image), at.address), "s")
            stored.append(on_engine.folder_bytes(Path(folder) / "data"))
            bench.say(f"new in the registry after {image}", (stored[-1] - stored[-2]) / MB, "MB")
    added = (stored[2] - stored[1]) / second.packed
    bench.say("the second backend adds, of its own size", added, "", SECOND_SHARE)


def share(image: ImageSize, local_image: ImageSize) -> float:
    """Return the share of an image that a node pulls when it has another image."""
    return manifest.to_pull(image, [layer.digest for layer in local_image.layers]) / image.packed


def compressions(bench: BackendBench) -> None:
    """Export the image of the first backend with gzip and with zstd, each from targets without compressed layers.

    BuildKit keeps a compressed layer as long as its target is cached, and reuses zstd of any level for any other level.
    So only fresh targets show the cost of a compressor.
    """
    command = bake.build_plan(runtime_part(FIRST)).command(bench.docker)
    target = f"{FIRST}-runtime"
    for kind in ("type=docker,compression=gzip,force-compression=true", bake.OUTPUT):
        on_engine.forget_what_is_built(bench.docker)
        for output in ("type=cacheonly", kind):
            start = time.perf_counter()
            argv = (*command.argv, f"--set={target}.output={output}")
            with build_secrets.index_file(ROOT, os.environ):
                process.run(process.Command(argv=argv, env=command.env, quiet=True))
            took = time.perf_counter() - start
        name = kind.removeprefix("type=docker,").partition(",force")[0]
        print(f"\nExport of {FIRST}'s image, every layer compressed again: {name}")
        bench.say(f"{name}: time", took, "s")
        bench.say(f"{name}: size", size(bench, FIRST).packed / MB, "MB")


def main(argv: Sequence[str] = tuple(sys.argv[1:])) -> int:
    """Print every value with its limit, and write the values as JSON."""
    parts = {"cold": cold_smoke, "no-op": unchanged, "dynamo": new_dynamo, "second": second_backend}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compression", action="store_true", help="also measure gzip beside zstd, ten minutes")
    parser.add_argument("--only", choices=parts, action="append", help="measure this part; repeatable; default: all")
    options = parser.parse_args(argv)
    bench = BackendBench(docker=engine.docker(ROOT))
    for name, part in parts.items():
        if name in (options.only or parts):
            part(bench)
    if options.compression:
        compressions(bench)
    process.write(process.Document(path=RESULTS, text=json.dumps(bench.rows, indent=2) + "\n"))
    print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    for failure in bench.failures:
        print(f"limit exceeded: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
