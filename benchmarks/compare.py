"""Is one graph better than a Dockerfile per backend? Run by `nox -s "bench(compare)"`; `-- --quick` for small packages.

Both ways build the same backends on the same root images, with the same locks, index and engine, in a copy of this
checkout; docs/explanation/benchmarks.md says what is measured, what is simulated and what is fair. The full form has
the real vLLM and SGLang: an hour or more and 75 GB of disk. The images of both ways and all build cache of the engine
are removed before and after each way; in the full form downloads too.
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
from benchmarks.comparison import BASELINE, OURS, Measured
from benchmarks.comparison_bench import Bench, measure
from dynamo_containers import engine, process
from dynamo_containers.errors import FatalError, NoEngineError, NoSpaceError
from dynamo_containers.facts.catalogue import ROOT
from tests.stand_in.servers import registry, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.comparison_project import Project
    from benchmarks.comparison_ways import Baseline, Ours
    from tests.stand_in.servers import StandIn

FULL_BYTES = 75 * 10**9
"""What the full form needs: uv's cache of two engines, and each packed, and unpacked by its steps and as an image."""
MOST_SECONDS = {"quick": 1.5, "full": 1.0}
"""Up to which part of the baseline's seconds ours are no worse: one round on a shared machine says little."""
RESULTS = ROOT / ".build" / "bench-compare.json"
DOCS = ROOT / "docs/explanation"
FRAME = ROOT / "benchmarks/compare_page.md"


@contextmanager
def prepared(scratch: Path, *, quick: bool) -> Iterator[tuple[Project, StandIn]]:
    """Make the copy, and let it and its builds ask the index in which releases are simulated."""
    project = comparison_project.copied(scratch / "copy", quick=quick)
    comparison_project.fetch(project)
    with stand_in(scratch) as server:
        project.offer(server, {name: content for name, (_, content) in project.wheels.items()})
        if quick:
            project.shrink(server)
        trusted = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        os.environ.update(dict.fromkeys(trusted, str(server.certificates)))
        os.environ["PIP_INDEX_URL"] = f"{server.address}/machine/simple/"
        yield project, server


def measured(form: str, wanted: Sequence[str], rounds: int) -> dict[str, Measured]:
    """Measure the ways that are wanted; what was measured of one is kept where the other fails."""
    docker = engine.docker(ROOT)
    os.environ.update(docker.environment)
    found: dict[str, Measured] = {}
    folder = TemporaryDirectory(prefix="bench-compare-", dir=RESULTS.parent)
    with folder as scratch, prepared(Path(scratch), quick=form == "quick") as (project, server):
        baseline = comparison_ways.baseline(project, docker)
        ways: dict[str, Ours | Baseline] = {OURS: comparison_ways.Ours(project=project), BASELINE: baseline}
        for name in wanted:
            print(f"\n{name}", flush=True)
            place = Path(scratch, name)
            place.mkdir()
            with registry(place) as at:
                bench = Bench(
                    way=ways[name],
                    project=project,
                    server=server,
                    docker=docker,
                    at=at,
                    stored=place / "data",
                    found=Measured(date=datetime.now(UTC).isoformat(" ", "minutes")[:16], form=form),
                    cache=baseline,
                )
                if bench.is_full or not found:
                    _fill(bench)
                measure(bench, rounds)
            found[name] = bench.found
            keep(form, found)
    return found


def _fill(bench: Bench) -> None:
    start = time.perf_counter()
    bench.fill(*bench.project.backends)
    print(f"  downloads, uncounted: {time.perf_counter() - start:.0f} s", flush=True)


def machine() -> dict[str, str]:
    """Return what the numbers depend on."""
    environment = engine.environment(ROOT)
    version = ("docker", "version", "--format", "{{.Server.Version}}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": f"{platform.system().lower()}/{platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "engine": process.capture(process.Command(argv=version, env=environment)).strip(),
    }


def keep(form: str, found: Mapping[str, Measured]) -> dict[str, Measured]:
    """Write what was found beside what an earlier run of the same form found on this machine; return both."""
    here = machine()
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    both = {**comparison.kept(earlier, form, here), **found}
    text = json.dumps(comparison.dumped(both, here), indent=2) + "\n"
    process.write(process.Document(path=RESULTS, text=text))
    return both


def publish(ways: Mapping[str, Measured]) -> None:
    """Write the page and its charts."""
    found = comparison.rows(ways)
    for name, (what, title, unit) in comparison_page.CHARTS.items():
        chart = comparison_page.chart(found, what, title, unit)
        process.write(process.Document(path=DOCS / "bench" / f"{name}.svg", text=svg(chart)))
    text = comparison_page.page(FRAME.read_text(encoding="utf-8"), found, ways, machine())
    process.write(process.Document(path=DOCS / "benchmarks.md", text=text))


def check_space(form: str) -> None:
    """Refuse the full form where the disk is too small.

    Raises:
        NoSpaceError: with what is needed and what is there.
    """
    free = disk_usage(ROOT).free
    if form == "full" and free < FULL_BYTES:
        message = (
            f"The full comparison needs about {FULL_BYTES / 1e9:.0f} GB of disk, and {free / 1e9:.0f} GB is free.\n"
            "Free some, or compare small packages: -- --quick"
        )
        raise NoSpaceError(message)


def main(words: Sequence[str] = tuple(sys.argv[1:])) -> int:
    """Print the table, write it as JSON and as a page; 1 where ours is worse than the design promises."""
    parser = argparse.ArgumentParser(prog='nox -s "bench(compare)" --', description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two toy backends of small packages, minutes")
    parser.add_argument("--rounds", type=int, default=1, help="how often each change is made: 1")
    parser.add_argument("--only", choices=(OURS, BASELINE), help="measure this way; the other is taken as it was found")
    parser.add_argument("--no-page", action="store_true", help="leave docs/explanation/benchmarks.md as it is")
    wish = parser.parse_args(words)
    form = "quick" if wish.quick else "full"
    RESULTS.parent.mkdir(exist_ok=True)
    try:
        check_space(form)
        ways = (wish.only,) if wish.only else (OURS, BASELINE)
        found = keep(form, measured(form, ways, wish.rounds))
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return judge(found, MOST_SECONDS[form], page=not wish.no_page)


def judge(found: Mapping[str, Measured], most_seconds: float, *, page: bool) -> int:
    """Show the results and say what they mean."""
    rows = comparison.rows(found)
    print(
        f"\n{comparison.table(rows)}\n\n"
        "Simulated: the changed wheels of Dynamo and of the package (docs/explanation/benchmarks.md)"
    )
    print(f"Written to {RESULTS.relative_to(ROOT)}")
    if page:
        publish(found)
        print("and docs/explanation/benchmarks.md with docs/explanation/bench/*.svg")
    worse = comparison.worse(rows, most_seconds)
    for each in worse:
        print(f"worse than the baseline: {each}", file=sys.stderr)
    for each in comparison.uncompared(rows):
        print(f"not compared: {each}", file=sys.stderr)
    if worse:
        return 1
    return NoEngineError.exit_code if comparison.uncompared(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
