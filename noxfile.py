"""`nox ...`: checks, and build-and-smoke-test sessions generated from containers/images.toml."""

# ruff: noqa: E402 - what stands before the imports is about them
from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nox

# `invoke` puts this folder on the path by itself, the `nox` command does not.
sys.path.insert(0, str(Path(__file__).parent))

from dynamo_containers import signals

signals.install()
signals.interruptible_to_the_end()  # from here on nox ends its sessions, and would return 130 for SIGTERM too

from dynamo_containers.errors import FatalError
from dynamo_containers.facts import catalogue
from dynamo_containers.plan import smoke_tests
from dynamo_containers.platforms import Platform, native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

nox.needs_version = ">=2026.10.20"
# Every session uses the locked tools of constraints/tools.txt, in which nox itself runs: ./with-tools (docs/adr/0001).
# Also where that environment is not activated, and another pytest or ruff would be found first.
nox.options.default_venv_backend = "none"
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

try:
    CATALOGUE = catalogue.load_catalogue()
except FatalError as error:  # nox would show a traceback
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
NATIVE = native_platform()
# The default is what every machine can hold. Images with an inference engine need 50 GB and are tested by name.
nox.options.sessions = [
    *("lint", "typecheck", "unit", "docs", "test-lock-index"),
    *(
        f"{row.session}({NATIVE.arch})"
        for row in smoke_tests.matrix(CATALOGUE)
        if NATIVE in row.platforms and not CATALOGUE.images[row.image].backend
    ),
]


@contextmanager
def _messages(session: nox.Session) -> Iterator[None]:
    """Turn a foreseen failure into the session's one-line error; a bug keeps its traceback."""
    try:
        yield
    except FatalError as error:
        session.error(str(error))


def _pytest(session: nox.Session, *arguments: str) -> None:
    """Run tests; after a signal they have time to stop their containers, engines and servers (nox: 0.2 s)."""
    session.run("pytest", *arguments, *session.posargs, terminate_timeout=signals.SECONDS_TO_STOP)


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check Python, Dockerfiles, shell scripts, English, and whether every lock fits its inputs."""
    from checks import scripts

    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    dockerfiles = (*sorted(Path("containers").glob("*/Dockerfile")), "benchmarks/baseline/Dockerfile")
    session.run("hadolint", *map(str, dockerfiles))
    session.run("shellcheck", *scripts.shell())
    session.run("python", "-m", "checks.prose")
    session.run("invoke", "lint")
    session.run("invoke", "lock", "--check")


@nox.session(tags=["check"])
def typecheck(session: nox.Session) -> None:
    """Check types of everything, mypy --strict."""
    session.run("mypy")


@nox.session(tags=["check"])
def unit(session: nox.Session) -> None:
    """Run the tests that need no engine; `-- ARGUMENTS` go to pytest (`-- -m "not cli"`: the fast half)."""
    from dynamo_containers import engine

    with _messages(session):
        engine.client(catalogue.ROOT)  # the real bake verifies our documents, without an engine
    _pytest(session, "-n", "auto")


@nox.session(tags=["check"], venv_backend="venv", reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Build the documentation as a site in .build/site, and check that reading it needs no network."""
    session.install("--require-hashes", "--requirement", "constraints/docs.txt")
    # The theme announces its successor on standard error.
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("python", "-m", "checks.site", ".build/site")


def _add_smoke_session(row: smoke_tests.SmokeSession) -> None:
    @nox.session(name=row.session, tags=["smoke"])
    @nox.parametrize("platform", [nox.param(platform.value, id=platform.arch) for platform in row.platforms])
    def session(session: nox.Session, platform: str) -> None:
        from dynamo_containers.builds import smoke

        with _messages(session):
            smoke.run(CATALOGUE, row.image, Platform(platform), tuple(session.posargs))

    gpu = ", `-- --gpu` tests on a GPU too" if CATALOGUE.images[row.image].worker_arguments else ""
    session.__doc__ = f"Build {row.image} and test it; foreign platforms are emulated. `-- --dry-run` only prints{gpu}."


for _row in smoke_tests.matrix(CATALOGUE):
    _add_smoke_session(_row)


@nox.session(tags=["engine"])
def reproducible(session: nox.Session) -> None:
    """Build base and frontend (`-- --image NAME`: another) on two machines, compare every byte; root, ten minutes."""
    _pytest(session, "--capture=no", "tests/reproducible")  # minutes: show what is built


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A measurement, and the module of benchmarks/ that takes it."""

    module: str
    engine: bool
    """Whether an engine must answer before it starts."""


BENCHMARKS = {
    "no-op": Benchmark(module="benchmarks.no_op", engine=True),
    "cold": Benchmark(module="benchmarks.cold", engine=False),
    "lock": Benchmark(module="benchmarks.locks", engine=False),
    "backends": Benchmark(module="benchmarks.backends", engine=True),
    "compare": Benchmark(module="benchmarks.compare", engine=True),
}


@nox.session
@nox.parametrize("measurement", [nox.param(name, id=name) for name in BENCHMARKS])
def bench(session: nox.Session, measurement: str) -> None:
    """Measure beside raw bake (no-op), pip-compile (lock) or a Dockerfile per backend (compare); cold; backends."""
    from dynamo_containers import engine

    with _messages(session):
        if BENCHMARKS[measurement].engine:
            engine.up(catalogue.ROOT, (NATIVE,))
    session.run("python", "-m", BENCHMARKS[measurement].module, *session.posargs)


@dataclass(frozen=True, kw_only=True)
class ProjectTest:
    """A test of the project's own machinery, by pytest."""

    help: str
    pytest: tuple[str, ...]
    tags: tuple[str, ...] = ("engine",)
    """Without a tag: neither quick nor with an engine."""
    engine_up: bool = False
    """Whether that engine must answer before it starts; the other tests start their own."""


PROJECT_TESTS = {
    "lock-index": ProjectTest(
        help="Lock from an index, a registry and repositories on loopback that are good, slow, broken or lying.",
        pytest=("tests/lock", "-m", "not slow"),
        tags=("check",),
    ),
    "lock-os": ProjectTest(
        help="Bootstrap with a lock that names a version that never existed; needs the mirror, a minute.",
        pytest=("tests/lock", "-m", "slow"),
        tags=(),
    ),
    "private-engine": ProjectTest(
        help="Try the private engine on a copy of this checkout: up, down, killed, interrupted; needs root.",
        pytest=("tests/engine",),
    ),
    "toy-backend": ProjectTest(
        help="Do docs/how-to/add-a-backend.md on a copy of the last commit: lock, build, run a backend; minutes.",
        pytest=("tests/toy",),
        engine_up=True,
    ),
    "report": ProjectTest(
        help="Build the base image on a copy, break it, and look at the page of both builds in Chromium; a minute.",
        pytest=("tests/report",),
        engine_up=True,
    ),
    "over-budget": ProjectTest(
        help="Build the frontend on a copy of the last commit, over its budget; private engine, minutes if new.",
        pytest=("tests/budgets",),
        engine_up=True,
    ),
    "engine-image": ProjectTest(
        help="Add Dynamo to a stand-in for the published image of an engine; engine and index, two minutes.",
        pytest=("tests/engine_image",),
    ),
    "registry-cache": ProjectTest(
        help="Build the frontend on an empty machine out of a cache, which then lies; private engine, ten minutes.",
        pytest=("--capture=no", "tests/caches"),  # minutes: show the seconds
        engine_up=True,
    ),
    "builders": ProjectTest(
        help="Build the base image for two platforms on two engines, one of which dies; private engine, minutes.",
        pytest=("--capture=no", "tests/builders"),
        engine_up=True,
    ),
    "source-builds": ProjectTest(
        help="Build sources of the shape of Dynamo's, and a real UCX, with the real Dockerfiles; 15 minutes.",
        pytest=("tests/source_builds", "--ignore=tests/source_builds/test_sccache.py"),
        engine_up=True,
    ),
    "sccache": ProjectTest(
        help="Compile the same sources on an emptied machine from a Redis, which is down or dies in other builds.",
        pytest=("tests/source_builds/test_sccache.py",),
        engine_up=True,
    ),
    "sbom": ProjectTest(
        help="Check the SBOM of each image by CycloneDX's schema; no engine, a minute.",
        pytest=("-n", "auto", "tests/inventory/test_sbom.py"),
    ),
    "inventory": ProjectTest(
        help="Compare the inventory with the files of the runtime images that were built; a minute for each.",
        pytest=("tests/inventory/test_image.py",),
        engine_up=True,
    ),
    "trtllm-stand-in": ProjectTest(
        help="Lock and build TensorRT-LLM on stand-ins for NVIDIA's root images and index; network, minutes.",
        pytest=("tests/stand_in/test_trtllm.py",),
    ),
    "cuda-mirror": ProjectTest(
        help="Lock and build the cuda bases through mirrors that have stand-ins under the real names; minutes.",
        pytest=("tests/stand_in/test_mirror.py", "tests/stand_in/test_os_packages.py"),
    ),
    "cuda-sources": ProjectTest(
        help="Lock RPMs by the dnf of the builder's image, and build from sources on it, on stand-ins; minutes.",
        pytest=("tests/stand_in/test_sources.py",),
    ),
}
"""`test-<name>` -> what it runs."""


def _add_project_test(name: str, row: ProjectTest) -> None:
    @nox.session(name=f"test-{name}", tags=list(row.tags))
    def session(session: nox.Session) -> None:
        from dynamo_containers import engine

        with _messages(session):
            if row.engine_up:
                engine.up(catalogue.ROOT, (NATIVE,))
        _pytest(session, *row.pytest)

    session.__doc__ = row.help


for _name, _project_test in PROJECT_TESTS.items():
    _add_project_test(_name, _project_test)
