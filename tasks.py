"""`invoke ...`: build, lock and run the containers of NVIDIA Dynamo. Names, help and flags; the library decides."""

# ruff: noqa: E402 - what stands before the imports is about them
from __future__ import annotations

import gc
import sys

# invoke keeps Python from keeping what it compiled (--write-pyc), for the sake of a tasks.py that never goes stale; our
# whole library would be compiled anew by each command, a third of its time. As Python was started, so it shall be.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

from dynamo_containers import broken_pipe, platforms
from dynamo_containers.errors import INTERRUPTED, FatalError
from dynamo_containers.facts import catalogue

gc.disable()  # these processes are short, and looking for garbage is a sixth of what our imports take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from invoke.context import Context
    from invoke.tasks import Task

    from dynamo_containers.result import Result

IMAGE = "an image of containers/images.toml; again for more; without it: all that have the stage"
PLATFORM = "linux/amd64, linux/arm64 or all; again for more; without it: this machine's own"
BASES = "the set of root images to build on"
STRICT = "take nothing that is not pinned: no drift, and BuildKit denies every other source (cuda: always)"
FROM = "where its wheels come from: `wheels` (the index), `git` (as pinned), URL#COMMIT, or the folder of a checkout"
UCX_FROM = "with nixl-source: where the UCX in its wheel comes from; without it: `git`"
CACHE_FROM = "read a build cache: HOST/NAME or a folder; again for more; without it: the rows of caches.toml; `none`"
CACHE_TO = "write a build cache: HOST/NAME or a folder; without a word: where the rows of caches.toml say"
PUSH = "into this registry (HOST[:PORT][/PATH]): by digest from each machine, then one tag over all platforms"
BUILD_FLAGS = {
    "bases": BASES,
    "strict": STRICT,
    "dynamo-source": FROM,
    "nixl-source": f"NIXL in the same way, and UCX with it: {FROM}",
    "ucx-source": UCX_FROM,
    "cache-from": CACHE_FROM,
    "cache-to": CACHE_TO,
    "push": PUSH,
}


@contextmanager
def _messages() -> Iterator[None]:
    """Turn a foreseen failure into its message and exit code; a bug keeps its traceback."""
    try:
        with broken_pipe.needed():
            yield
    except FatalError as error:
        message = f"error: {error}"
        raise Exit(message, error.exit_code) from None
    except KeyboardInterrupt:
        message = "interrupted; nothing half-made is used later"
        raise Exit(message, INTERRUPTED) from None


def _show(result: Result) -> None:
    """Print the text of a result; end with its exit code."""
    print(result.text)
    if result.exit_code:
        raise Exit(code=result.exit_code)


def _sources(dynamo: str, nixl: str, ucx: str) -> dict[str, str]:
    return {"dynamo": dynamo, "nixl": nixl, "ucx": ucx}


def _build(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    stage: catalogue.Stage,
    image: list[str],
    platform: list[str],
    bases: str,
    sources: tuple[str, str, str],
    how: tuple[list[str], str, str],
    *,
    strict: bool,
) -> None:
    from dynamo_containers.builds import run as build_run
    from dynamo_containers.plan import bake

    with _messages():
        request = bake.request(
            catalogue.load_catalogue(),
            stage,
            images=image,
            platforms=platform,
            bases=bases,
            strict=strict,
            sources=_sources(*sources),
        )
        read, write, push = how
        wish = build_run.Wish(read=read, write=write, push=push)
        build_run.perform((request,), wish, dry_run=c.config.run.dry)


@task(iterable=["platform", "cache_from"], optional=["cache_to"], help={"platform": PLATFORM, **BUILD_FLAGS})
def base(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    platform: list[str],
    cache_from: list[str],
    bases: str = "debian",
    dynamo_source: str = "",
    nixl_source: str = "",
    ucx_source: str = "",
    cache_to: str = "",
    push: str = "",
    *,
    strict: bool = False,
) -> None:
    """Build the base image: Dynamo and NIXL as wheels, for every backend."""
    sources, how = (dynamo_source, nixl_source, ucx_source), (cache_from, cache_to, push)
    _build(c, catalogue.Stage.BASE, [], platform, bases, sources, how, strict=strict)


def _build_task(stage: catalogue.Stage, text: str) -> Task[Callable[..., None]]:
    """Make the task of a stage: all stages but the base have the same flags."""

    def build(  # noqa: PLR0913, PLR0917 - one for each flag
        c: Context,
        image: list[str],
        platform: list[str],
        cache_from: list[str],
        bases: str = "debian",
        dynamo_source: str = "",
        nixl_source: str = "",
        ucx_source: str = "",
        cache_to: str = "",
        push: str = "",
        *,
        strict: bool = False,
    ) -> None:
        sources, how = (dynamo_source, nixl_source, ucx_source), (cache_from, cache_to, push)
        _build(c, stage, image, platform, bases, sources, how, strict=strict)

    build.__doc__ = text
    flags = {"image": IMAGE, "platform": PLATFORM, **BUILD_FLAGS}
    iterable = ["image", "platform", "cache_from"]
    made: Task[Callable[..., None]] = task(name=stage.value, iterable=iterable, optional=["cache_to"], help=flags)(
        build
    )
    return made


@task(
    name="all",
    iterable=["image", "platform", "stage"],
    help={
        "image": IMAGE,
        "platform": PLATFORM,
        "stage": "base, backend, runtime, ci or dev; again for more; without it: all that the images have",
        **{name: text for name, text in BUILD_FLAGS.items() if name not in ("cache-from", "cache-to", "push")},
    },
)
def all_stages(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    image: list[str],
    platform: list[str],
    stage: list[str],
    bases: str = "debian",
    dynamo_source: str = "",
    nixl_source: str = "",
    ucx_source: str = "",
    *,
    strict: bool = False,
) -> None:
    """Build every stage of the images as one graph: base, backend, runtime, ci and dev."""
    from dynamo_containers.builds import run as build_run
    from dynamo_containers.plan import all_stages

    with _messages():
        requests = all_stages.requests(
            catalogue.load_catalogue(),
            all_stages.stages(stage),
            images=image,
            platforms=platform,
            bases=bases,
            strict=strict,
            sources=_sources(dynamo_source, nixl_source, ucx_source),
        )
        build_run.perform(requests, build_run.Wish(), dry_run=c.config.run.dry)


backend = _build_task(
    catalogue.Stage.BACKEND,
    "Build the images for backend developers: what has no wheel is compiled, on the devel image.",
)
runtime = _build_task(catalogue.Stage.RUNTIME, "Build the images for production.")
ci = _build_task(catalogue.Stage.CI, "Build the images for CI: test tools on exactly the runtime's bytes.")
dev = _build_task(
    catalogue.Stage.DEV, "Build the images for daily work: toolchains, sudo and your own UID on the ci form."
)


@task(
    iterable=["image", "platform"],
    help={"image": IMAGE, "platform": PLATFORM, "bases": BASES, "stage": "runtime or base"},
)
def accept_sizes(
    _: Context, image: list[str], platform: list[str], bases: str = "debian", stage: str = "runtime"
) -> None:
    """Accept the sizes of images that were built, and print them as rows of a budget."""
    from dynamo_containers import engine
    from dynamo_containers.inspect.sizes import check as size_check
    from dynamo_containers.plan import bake
    from dynamo_containers.prepare import inputs

    with _messages():
        wanted = size_check.stage_of(stage)
        request = bake.request(catalogue.load_catalogue(), wanted, images=image, platforms=platform, bases=bases)
        facts = inputs.facts(request, dry_run=True)
        environment = engine.environment(catalogue.ROOT)
        text = bake.plan(request, facts, environment).documents[0].text
        print(size_check.accept(request, facts, environment, text))


@task(
    iterable=["platform"], help={"platform": "also make it run this platform (linux/arm64, all), emulated if need be"}
)
def up(c: Context, platform: list[str]) -> None:
    """Provide a Docker Engine: the one that runs, or a private one from Debian's packages."""
    from dynamo_containers import engine

    with _messages():
        engine.up(catalogue.ROOT, platforms.parse_platforms(platform))


@task
def status(c: Context) -> None:
    """Say which Docker Engine is used, why, and what it can run."""
    from dynamo_containers import engine

    with _messages():
        print(engine.status(catalogue.ROOT))


@task
def environment(c: Context) -> None:
    """Print the variables under which `docker` talks to that engine: eval "$(invoke engine.environment)"."""
    from dynamo_containers import engine, process

    with _messages():
        print(process.export_lines(engine.environment(catalogue.ROOT)))


@task(help={"purge": "remove its images, caches and programs too"})
def down(c: Context, *, purge: bool = False) -> None:
    """Stop the private Docker Engine; an engine of your own is never touched."""
    from dynamo_containers import engine

    with _messages():
        engine.down(catalogue.ROOT, purge=purge)


@task(
    iterable=["only", "upgrade", "image", "bases", "platform"],
    help={
        "only": "archives (with sources), os, images or python; again for more; without it: all",
        "upgrade": "move this Python package to its newest release that fits; again for more",
        "upgrade-all": "move every Python package, and tags of images and sources that were moved",
        "image": "only the locks of this image and of what it stands on; again for more",
        "bases": "only the locks for these bases; again for more",
        "platform": "only the locks for linux/amd64, linux/arm64 or all; again for more",
        "report": "write what moved into this file, as Markdown",
        "check": "write nothing; say which lock is stale",
        "judge": "with --check: let uv judge every Python lock too, which asks the index",
        "keep-pool": "write no lock; copy every locked .deb into this folder",
    },
)
def lock(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    only: list[str],
    upgrade: list[str],
    image: list[str],
    bases: list[str],
    platform: list[str],
    *,
    report: str | None = None,
    upgrade_all: bool = False,
    check: bool = False,
    judge: bool = False,
    keep_pool: str | None = None,
) -> None:
    """Pin every input by content: OS packages, root images, archives, Python packages."""
    from dynamo_containers.lock import check as lock_check
    from dynamo_containers.lock import selection
    from dynamo_containers.lock import update as locks

    with _messages():
        part = selection.Part(images=image, bases=bases, platforms=platform)
        if keep_pool is not None:
            print(locks.keep_pool(catalogue.load_catalogue(), keep_pool))
        elif check:
            print(lock_check.check(catalogue.load_catalogue(), only, part=part, judge=judge))
        else:
            moved = locks.refresh(catalogue.load_catalogue(), only, upgrade, part=part, upgrade_all=upgrade_all)
            locks.publish(moved, report)


@task(
    name="clean",
    help={"all": "also the images that have a name, and everything that the private engine keeps to build faster"},
)
def clean_up(c: Context, *, all: bool = False) -> None:  # noqa: A002 - the flag's name
    """Remove images without a name, scratch, cache unused for a week, files of old locks; never what is not ours."""
    import time

    from dynamo_containers import engine, process, state
    from dynamo_containers.builds import clean
    from dynamo_containers.prepare import stale_files

    with _messages():
        environment = engine.environment(catalogue.ROOT)
        listed = process.Command(argv=clean.LIST, env=environment)
        what = clean.plan(
            environment,
            engine.buildx(environment),
            process.capture(listed).split(),
            private=engine.private(catalogue.ROOT),
            everything=all,
        )
        paths = (
            *clean.scratch(catalogue.ROOT, time.time()),
            *stale_files.paths(catalogue.load_catalogue(), time.time()),
        )
        clean.clean(catalogue.ROOT, paths, what, dry_run=c.config.run.dry)
        if all and not c.config.run.dry:
            state.forget_builds(catalogue.ROOT)


@task(
    help={
        "image": "an image of containers/images.toml; without it: the list of them",
        "stage": "base, backend, runtime, ci or dev; without it: runtime, or what there is instead",
        "platform": PLATFORM,
        "bases": BASES,
    },
    iterable=["platform"],
)
def explain(c: Context, platform: list[str], image: str = "", stage: str = "", bases: str = "debian") -> None:
    """Say what will be in an image layer by layer, from which pins, and what would be built again and why."""
    from dynamo_containers.inspect import explain_inputs

    with _messages():
        _show(explain_inputs.explain(catalogue.load_catalogue(), image, stage, platform, bases))


@task(
    help={
        "image": "an image of containers/images.toml; without it: frontend",
        "stage": "runtime, ci, dev, ...; without it: the uppermost that is built",
        "platform": "linux/amd64 or linux/arm64; without it: this machine's own",
        "bases": BASES,
        "command": "a line to run instead of a shell to type in",
        "source": "the folder to mount at /workspace; without it: for dev, the folder that this checkout is in",
        "gpu": "pass all GPUs on",
    },
    iterable=["platform"],
)
def run(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    platform: list[str],
    image: str = "frontend",
    stage: str = "",
    bases: str = "debian",
    command: str = "",
    source: str = "",
    *,
    gpu: bool = False,
) -> None:
    """Start a shell in an image, with your sources mounted where it is for daily work."""
    from dynamo_containers.builds import shell

    with _messages():
        shell.start(
            catalogue.load_catalogue(),
            shell.Words(
                image=image, stage=stage, platforms=platform, bases=bases, command=command, source=source, gpu=gpu
            ),
            dry_run=c.config.run.dry,
        )


@task
def lint(_: Context) -> None:
    """Say what in Dockerfiles, their scripts and the graph makes builds slow, unsafe or different elsewhere."""
    from dynamo_containers.lint import lint as graph_lint

    with _messages():
        _show(graph_lint.lint(catalogue.load_catalogue()))


@task(positional=["one", "other"], help={"one": "an image, a lock, or a revision of git", "other": "another"})
def diff(_: Context, one: str, other: str) -> None:
    """Say what differs between two images or two locks: invoke diff A B."""
    from dynamo_containers.inspect import diff_inputs

    with _messages():
        print(diff_inputs.diff(catalogue.ROOT, (one, other)))


@task
def report(_: Context) -> None:
    """Show the last builds as one HTML page: their steps with times, layers, what images share, sizes over time."""
    from dynamo_containers.inspect.report import show

    with _messages():
        print(show.show(catalogue.ROOT))


namespace = Collection(lock, lint, explain, diff, report, run, clean_up)
namespace.add_collection(Collection("build", base, backend, runtime, ci, dev, all_stages, accept_sizes))
namespace.add_collection(Collection("engine", up, status, environment, down))
