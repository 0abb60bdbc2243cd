"""One graph compared with a Dockerfile per backend: `nox -s "bench(compare)"`; `-- --quick` uses small packages.

Both ways build the same backends on the same root images, with the same locks, index and engine, in a copy of this
checkout. docs/explanation/benchmarks.md explains what is measured, what is simulated and why it is fair. The full form
has the real vLLM and SGLang; it takes an hour or more and 75 GB of disk. Before and after each way, its images and the
whole build cache of the engine are removed; in the full form the downloads too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import comparison, comparison_page, comparison_project, comparison_ways
from benchmarks.bar_chart import svg
from benchmarks.comparison import BASELINE, OURS, Measurements
from benchmarks.comparison_bench import WayBench, measure
from dynamo_containers import engine, process
from dynamo_containers.errors import FatalError, NoEngineError, NoSpaceError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.prepare import build_secrets
from tests.stand_in.servers import registry, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.comparison_project import ComparedProject
    from benchmarks.comparison_ways import Baseline, OneGraph
    from tests.stand_in.servers import StandIn

FULL_BYTES = 75 * 10**9
"""Disk space of the full form: uv's cache of two engines, and each engine packed, in its layers and in its image."""
MOST_SECONDS = {"quick": 1.5, "full": 1.0}
"""Form -> ratio of seconds that still counts as equal: one round on a shared machine is not exact."""
RESULTS = ROOT / ".build" / "bench-compare.json"
DOCS = ROOT / "docs/explanation"
FRAME = ROOT / "benchmarks/compare_page.md"


@contextmanager
def comparison_copy(scratch: Path, *, quick: bool) -> Iterator[tuple[ComparedProject, StandIn]]:
    """Make the copy, and point it and its builds to the index with simulated releases."""
    project = comparison_project.make_copy(scratch / "copy", quick=quick)
    comparison_project.fetch(project)
    with stand_in(scratch) as server:
        project.offer(server, {name: content for name, (_, content) in project.wheels.items()})
        if quick:
            project.shrink(server)
        trusted = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        os.environ.update(dict.fromkeys(trusted, str(server.certificates)))
        os.environ["PIP_INDEX_URL"] = f"{server.address}/machine/simple/"
        yield project, server


def measure_ways(form: str, names: Sequence[str], rounds: int) -> dict[str, Measurements]:
    """Measure these ways; the results of one are kept even if the other one fails."""
    docker = engine.docker(ROOT)
    os.environ.update(docker.environment)
    results: dict[str, Measurements] = {}
    folder = TemporaryDirectory(prefix="bench-compare-", dir=RESULTS.parent)
    with (
        folder as scratch,
        comparison_copy(Path(scratch), quick=form == "quick") as (project, server),
        build_secrets.index_file(project.folder, os.environ),  # the baseline mounts it too
    ):
        baseline = comparison_ways.baseline(project, docker)
        ways: dict[str, OneGraph | Baseline] = {OURS: comparison_ways.OneGraph(project=project), BASELINE: baseline}
        for name in names:
            print(f"\n{name}", flush=True)
            place = Path(scratch, name)
            place.mkdir()
            with registry(place) as at:
                bench = WayBench(
                    way=ways[name],
                    project=project,
                    server=server,
                    docker=docker,
                    at=at,
                    stored=place / "data",
                    results=Measurements(date=datetime.now(UTC).isoformat(" ", "minutes")[:16], form=form),
                    cache=baseline,
                )
                if bench.is_full or not results:
                    _fill(bench)
                measure(bench, rounds)
            results[name] = bench.results
            keep(form, results)
    return results


def _fill(bench: WayBench) -> None:
    start = time.perf_counter()
    bench.fill(*bench.project.backends)
    print(f"  downloads, uncounted: {time.perf_counter() - start:.0f} s", flush=True)


def machine() -> dict[str, str]:
    """Return the properties of this machine that affect the results."""
    environment = engine.environment(ROOT)
    version = ("docker", "version", "--format", "{{.Server.Version}}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": f"{platform.system().lower()}/{platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "engine": process.capture(process.Command(argv=version, env=environment)).strip(),
    }


def keep(form: str, results: Mapping[str, Measurements]) -> dict[str, Measurements]:
    """Write the results next to those of an earlier run of the same form on this machine; return both."""
    here = machine()
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    both = {**comparison.comparable(earlier, form, here), **results}
    text = json.dumps(comparison.as_json(both, here), indent=2) + "\n"
    process.write(process.Document(path=RESULTS, text=text))
    return both


def publish(ways: Mapping[str, Measurements]) -> None:
    """Write the page and its charts."""
    rows = comparison.rows(ways)
    for name, (kind, title, unit) in comparison_page.CHARTS.items():
        chart = comparison_page.chart(rows, kind, title, unit)
        process.write(process.Document(path=DOCS / "bench" / f"{name}.svg", text=svg(chart)))
    text = comparison_page.page(FRAME.read_text(encoding="utf-8"), rows, ways, machine())
    process.write(process.Document(path=DOCS / "benchmarks.md", text=text))


def check_space(form: str) -> None:
    """Refuse the full form where the disk is too small.

    Raises:
        NoSpaceError: with the required and the free space.
    """
    free = disk_usage(ROOT).free
    if form == "full" and free < FULL_BYTES:
        message = (
            f"The full comparison needs about {FULL_BYTES / 1e9:.0f} GB of disk, and {free / 1e9:.0f} GB is free.\n"
            "Free some space, or compare small packages: -- --quick"
        )
        raise NoSpaceError(message)


def main(argv: Sequence[str] = tuple(sys.argv[1:])) -> int:
    """Print the table, write it as JSON and as a page; return 1 if this project is worse than its design promises."""
    parser = argparse.ArgumentParser(prog='nox -s "bench(compare)" --', description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="compare two toy backends of small packages; takes minutes"
    )
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds of each change; default: 1")
    parser.add_argument("--only", choices=(OURS, BASELINE), help="measure this way, keep earlier results of the other")
    parser.add_argument("--no-page", action="store_true", help="do not write docs/explanation/benchmarks.md")
    options = parser.parse_args(argv)
    form = "quick" if options.quick else "full"
    RESULTS.parent.mkdir(exist_ok=True)
    try:
        check_space(form)
        ways = (options.only,) if options.only else (OURS, BASELINE)
        results = keep(form, measure_ways(form, ways, options.rounds))
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return conclude(results, MOST_SECONDS[form], page=not options.no_page)


def conclude(results: Mapping[str, Measurements], most_seconds: float, *, page: bool) -> int:
    """Print the results, and return the exit code that they lead to."""
    rows = comparison.rows(results)
    print(
        f"\n{comparison.table(rows)}\n\n"
        "Simulated: the changed wheels of Dynamo and of the package (docs/explanation/benchmarks.md)"
    )
    print(f"Written to {RESULTS.relative_to(ROOT)}")
    if page:
        publish(results)
        print("and docs/explanation/benchmarks.md with docs/explanation/bench/*.svg")
    worse = comparison.worse(rows, most_seconds)
    for promise in worse:
        print(f"worse than the baseline: {promise}", file=sys.stderr)
    for promise in comparison.uncompared(rows):
        print(f"not compared: {promise}", file=sys.stderr)
    if worse:
        return 1
    return NoEngineError.exit_code if comparison.uncompared(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
