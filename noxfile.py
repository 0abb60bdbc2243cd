"""`nox ...`: checks, and build-and-smoke-test sessions generated from containers/images.toml."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nox

# `invoke` puts this folder on the path by itself, the `nox` command does not.
sys.path.insert(0, str(Path(__file__).parent))

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

CATALOGUE = catalogue.load_catalogue()
NATIVE = native_platform()
# Without a word: what every machine can hold. Images with an inference engine take 50 GB and are tested by name.
nox.options.sessions = [
    *("lint", "typecheck", "unit", "lock_index"),
    *(
        f"{row.session}({NATIVE.arch})"
        for row in smoke_tests.matrix(CATALOGUE)
        if NATIVE in row.platforms and not CATALOGUE.images[row.image].backend
    ),
]
SHELL_SCRIPTS = (
    "with-tools",
    ".ci/run",
    "containers/bin/compile-python",
    "containers/bin/install-locked",
    "containers/bin/online",
    "containers/bin/require-python",
    "containers/bin/settle",
    "containers/backend/compile",
    "containers/bin/start-settling",
    "containers/fetched/fetch-wheels",
    "containers/cuda-toolkit/lay-out",
    "containers/frontend/install-nixl",
    "containers/os/entrypoint",
    "containers/os-packages/install-debs",
    "dynamo_containers/engine/init.sh",
    "tests/reproducible/elsewhere.sh",
    "tests/smoke/inside/editable.sh",
)


@contextmanager
def _messages(session: nox.Session) -> Iterator[None]:
    """Turn a foreseen failure into the session's one-line error; a bug keeps its traceback."""
    try:
        yield
    except FatalError as error:
        session.error(str(error))


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Python, Dockerfiles, shell scripts, and whether every lock fits what it is made from."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    dockerfiles = (*sorted(Path("containers").glob("*/Dockerfile")), "benchmarks/baseline/Dockerfile")
    session.run("hadolint", *map(str, dockerfiles))
    session.run("shellcheck", *SHELL_SCRIPTS)
    # 10: nothing was found, and some images have no plan because they were never locked (docs/errors.md).
    session.run("invoke", "lint", success_codes=[0, 10])
    # 10: every lock that there is fits, and some inputs were never locked, which no image needs yet (docs/errors.md).
    session.run("invoke", "lock", "--check", success_codes=[0, 10])


@nox.session(tags=["check"])
def typecheck(session: nox.Session) -> None:
    """Check types over everything, mypy --strict."""
    session.run("mypy")


@nox.session(tags=["check"])
def unit(session: nox.Session) -> None:
    """Everything that needs no engine; `-- ARGUMENTS` go to pytest."""
    from dynamo_containers import engine

    with _messages(session):
        engine.client(catalogue.ROOT)  # the real bake judges our documents, without an engine
    session.run("pytest", *session.posargs)


@nox.session(tags=["check"])
def lock_index(session: nox.Session) -> None:
    """Lock from an index, a registry and repositories on loopback that are good, slow, broken or lying."""
    session.run("pytest", "tests/lock", "-m", "not slow", *session.posargs)


@nox.session(tags=["engine"])
def private_engine(session: nox.Session) -> None:
    """Try the private engine on a copy of this checkout: up, down, killed, interrupted; needs root."""
    session.run("pytest", "tests/engine", *session.posargs)


@nox.session(tags=["engine"])
def toy_backend(session: nox.Session) -> None:
    """Do what docs/add-a-backend.md says on a copy of the last commit: lock, build and run a backend; minutes."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "tests/toy", *session.posargs)


@nox.session(tags=["engine"])
def over_budget(session: nox.Session) -> None:
    """Build the frontend on a copy of the last commit, over its budget; needs the private engine, minutes if new."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "tests/budgets", *session.posargs)


@nox.session(tags=["engine"])
def report(session: nox.Session) -> None:
    """Build the base image on a copy, break it, and look at the page of both builds in Chromium; a minute."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "tests/report", *session.posargs)


@nox.session(tags=["engine"])
def engine_image(session: nox.Session) -> None:
    """Add Dynamo to a stand-in for the published image of an engine; needs an engine and an index, two minutes."""
    session.run("pytest", "tests/engine_image", *session.posargs)


@nox.session(tags=["engine"])
def source_builds(session: nox.Session) -> None:
    """Build sources of the shape of Dynamo's, and a real UCX, through the real Dockerfiles; a quarter of an hour."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "tests/source_builds", "--ignore=tests/source_builds/test_sccache.py", *session.posargs)


@nox.session(tags=["engine"])
def sccache(session: nox.Session) -> None:
    """Compile the same sources on an emptied machine out of a Redis, which is down or dies in other builds; minutes."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "tests/source_builds/test_sccache.py", *session.posargs)


@nox.session(tags=["engine"])
def reproducible(session: nox.Session) -> None:
    """Build base and frontend (`-- --image NAME`: another) on two machines, compare every byte; root, ten minutes."""
    session.run("pytest", "--capture=no", "tests/reproducible", *session.posargs)  # minutes: show what is built


@nox.session(tags=["engine"])
def registry_cache(session: nox.Session) -> None:
    """Build the frontend on an empty machine out of a cache, which then lies; needs the private engine, ten minutes."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "--capture=no", "tests/caches", *session.posargs)  # minutes: show the seconds


@nox.session(tags=["engine"])
def builders(session: nox.Session) -> None:
    """Build the base image for two platforms on two engines, one of which dies; needs the private engine, minutes."""
    from dynamo_containers import engine

    with _messages(session):
        engine.up(catalogue.ROOT, (NATIVE,))
    session.run("pytest", "--capture=no", "tests/builders", *session.posargs)


@nox.session
def lock_os(session: nox.Session) -> None:
    """Bootstrap with a lock that names a version that never existed; needs the mirror, a minute."""
    session.run("pytest", "tests/lock", "-m", "slow", *session.posargs)


@nox.session(tags=["engine"])
def stand_in_trtllm(session: nox.Session) -> None:
    """Lock and build TensorRT-LLM on stand-ins of NVIDIA's root images and index; needs the network, minutes."""
    session.run("pytest", "tests/stand_in/test_trtllm.py", *session.posargs)


@nox.session(tags=["engine"])
def cuda_mirror(session: nox.Session) -> None:
    """Lock and build the cuda bases through mirrors that have stand-ins under the real names; minutes."""
    session.run("pytest", "tests/stand_in/test_mirror.py", "tests/stand_in/test_os_packages.py", *session.posargs)


@nox.session(tags=["engine"])
def cuda_sources(session: nox.Session) -> None:
    """Lock RPMs by the dnf of the builder's image, and build from sources on it: stand-ins as above; minutes."""
    session.run("pytest", "tests/stand_in/test_sources.py", *session.posargs)


def _smoke(session: nox.Session, image: str, platform: Platform, arguments: tuple[str, ...]) -> None:
    """Build an image and test it; what is built already costs next to nothing."""
    from dynamo_containers.builds import smoke

    with _messages(session):
        smoke.run(CATALOGUE, image, platform, arguments)


def _add_smoke_session(row: smoke_tests.Row) -> None:
    @nox.session(name=row.session, tags=["smoke"])
    @nox.parametrize("platform", [nox.param(platform, id=platform.arch) for platform in row.platforms])
    def session(session: nox.Session, platform: Platform) -> None:
        _smoke(session, row.image, platform, tuple(session.posargs))

    gpu = ", `-- --gpu` tests on one too" if CATALOGUE.images[row.image].worker_arguments else ""
    session.__doc__ = f"Build {row.image} and test it; foreign platforms are emulated. `-- --dry-run` only prints{gpu}."


for _row in smoke_tests.matrix(CATALOGUE):
    _add_smoke_session(_row)


BENCHMARKS = {"no-op": "no_op", "cold": "cold", "lock": "locks", "backends": "backends", "compare": "compare"}
"""What is measured -> its module of benchmarks/."""


@nox.session
@nox.parametrize("what", [nox.param(module, id=name) for name, module in BENCHMARKS.items()])
def bench(session: nox.Session, what: str) -> None:
    """Measure beside raw bake (no-op), pip-compile (lock) or a Dockerfile per backend (compare); cold; backends."""
    from dynamo_containers import engine

    with _messages(session):
        if what in ("no_op", "backends", "compare"):
            engine.up(catalogue.ROOT, (NATIVE,))
        session.run("python", "-m", f"benchmarks.{what}", *session.posargs)
