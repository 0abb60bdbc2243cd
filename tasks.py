"""`invoke ...`: build, lock and run the containers of NVIDIA Dynamo. Names, help and flags; the library decides."""

# ruff: noqa: E402 - what stands before the imports is about them
from __future__ import annotations

import gc
import sys

# invoke stops Python from keeping compiled modules (--write-pyc), so that a tasks.py is never stale. Our whole library
# would be compiled again by each command, a third of its time: what Python was started with is restored.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from dynamo_containers import signals

signals.install()  # before the other imports: they take most of the time in which Ctrl-C would be a traceback

from functools import partial
from typing import TYPE_CHECKING

from invoke.collection import Collection

from dynamo_containers import invoke_program
from dynamo_containers.facts import catalogue
from dynamo_containers.platforms import ALL_PLATFORMS, Platform, native_platform, parse_platforms

gc.disable()  # these processes are short, and looking for garbage is a sixth of what our imports take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from dynamo_containers.invoke_program import CommandTask
    from dynamo_containers.result import Result

WHEELS_FROM = "`wheels` (from the index), `git` (the pinned commit), URL#COMMIT, or the folder of a checkout"
FLAGS = {
    "image": "image to build: {image}; repeatable; default: every image with this stage",
    "platform": "{platform}; repeatable; default: {native}, this machine's own",
    "bases": "set of root images to build on: {bases}; default: debian",
    "stage": "stage of the image: {stage}; default: runtime, or the highest that the image has",
    "strict": "fail on drift; let BuildKit reject unpinned inputs (cuda bases: always)",
    "dynamo-source": f"where the wheels of Dynamo come from: {WHEELS_FROM}; default: images.toml, else wheels",
    "nixl-source": f"where the wheels of NIXL come from, and UCX with it: {WHEELS_FROM}; default: as above",
    "ucx-source": "with --nixl-source: origin of the UCX in its wheel: `git`, URL#COMMIT or a folder; default: git",
    "cache-from": "build cache to read: HOST/NAME, a folder, or `none`; repeatable; default: the rows of caches.toml",
    "cache-to": "build cache to write: HOST/NAME or a folder; without a value: the rows of caches.toml; default: none",
    "push": "registry to push to (HOST[:PORT][/PATH]): each platform by digest, then one tag for all; default: none",
    "all.stage": "stage to build: {stage}; repeatable; default: every stage that the images have",
    "accept-sizes.stage": "stage whose sizes are accepted: runtime or base; default: runtime",
    "up.platform": "also run this platform, emulated where it is foreign: {platform}; repeatable; default: {native}",
    "purge": "remove the private engine's images, caches and binaries too",
    "only": "kind of pin: archives (with sources), os, images, python or contents; repeatable; default: every kind",
    "upgrade": "move this Python package to its newest release that fits: NAME or NAME==VERSION; repeatable",
    "upgrade-all": "move every Python package, and every tag of images and sources that moved upstream",
    "lock.image": "lock only what this image needs: {image}; repeatable; default: every image",
    "lock.bases": "lock only for these bases: {bases}; repeatable; default: every set of bases",
    "lock.platform": "lock only for this platform: {platform}; repeatable; default: all",
    "report": "write a Markdown report of what moved to this file",
    "check": "write nothing; report locks that are missing or stale",
    "verify": "with --check: verify every Python lock with uv too, which needs the index",
    "keep-pool": "write no lock; copy every locked .deb into this folder",
    "all": "also images that have a name, and everything that the private engine keeps to build faster",
    "explain.image": "{image}; default: list the images",
    "inventory.image": "{image}",
    "format": "form of the list: table, or the SBOM of one platform: cyclonedx (1.6), spdx (2.3); default: table",
    "what": 'package and rule, such as "urllib3<2.7" or "pkg:cargo/ring<0.17.12"; with --advisory: its id or alias',
    "advisory": "file with the advisory in the OSV format: one, a list, or a zip of an ecosystem",
    "affected.image": "image to look at: {image}; repeatable; default: every image",
    "affected.bases": "bases to look at: {bases}; repeatable; default: every set of bases",
    "affected.platform": "platform to look at: {platform}; repeatable; default: all",
    "affected.stage": "stage to look at: {stage}; default: runtime, or the highest that the image has",
    "run.image": "{image}; default: frontend",
    "run.stage": "stage of the image: {stage}; default: the highest that is built",
    "command": "command line to run; default: a shell to type in",
    "source": "folder to mount at /workspace; default: for dev, the folder that this checkout is in; else none",
    "gpu": "make every GPU available in the container",
    "before": "an image, a lock, or a revision of git",
    "after": "what it is compared with, of the same kind",
}
"""Flag -> its help; `task.flag` where it means something else in that task."""


def _choices() -> dict[str, list[str]]:
    """Return flag -> the names to choose from."""
    rows = catalogue.load_catalogue()
    return {
        "image": list(rows.images),
        "stage": [stage.value for stage in catalogue.Stage],
        "bases": list(rows.bases),
        "platform": [*(platform.value for platform in Platform), ALL_PLATFORMS],
        "native": [native_platform().value],
    }


invoke_program.install(_choices)
task = partial(invoke_program.command, FLAGS)
NO_CACHES = ("cache_from", "cache_to", "push")


def _build_task(stage: catalogue.Stage | None, text: str, omitted: tuple[str, ...] = ("stage",)) -> CommandTask:
    """Make the task that builds a stage, or all of them: they have the same flags, except for a few."""
    only = stage

    def build(  # noqa: PLR0913, PLR0917 - one for each flag
        c: Context,
        image: Sequence[str] = (),
        platform: Sequence[str] = (),
        stage: Sequence[str] = (),
        bases: str = "debian",
        dynamo_source: str = "",
        nixl_source: str = "",
        ucx_source: str = "",
        cache_from: Sequence[str] = (),
        cache_to: str = "",
        push: str = "",
        *,
        strict: bool = False,
    ) -> None:
        from dynamo_containers.builds import run as build_run
        from dynamo_containers.plan.options import BuildOptions, ImageSelection

        sources = {"dynamo": dynamo_source, "nixl": nixl_source, "ucx": ucx_source}
        selection = ImageSelection(images=image, platforms=platform, bases=bases, strict=strict, sources=sources)
        options = BuildOptions(cache_from=cache_from, cache_to=cache_to, push=push)
        stages = [only.value] if only else stage
        build_run.build(catalogue.load_catalogue(), stages, selection, options, dry_run=c.config.run.dry)

    build.__doc__ = text
    optional = [name for name in ("cache_to",) if name not in omitted]
    return task(name=only.value if only else "all", omitted=omitted, optional=optional)(build)


build_base = _build_task(
    catalogue.Stage.BASE, "Build the base image: Dynamo and NIXL as wheels, for every backend.", ("image", "stage")
)
build_backend = _build_task(
    catalogue.Stage.BACKEND,
    "Build the images for backend developers: what has no wheel is compiled, on the devel image.",
)
build_runtime = _build_task(catalogue.Stage.RUNTIME, "Build the images for production.")
build_ci = _build_task(catalogue.Stage.CI, "Build the images for CI: test tools on exactly the runtime's bytes.")
build_dev = _build_task(
    catalogue.Stage.DEV, "Build the images for daily work: toolchains, sudo and your own UID on top of the ci image."
)
build_all = _build_task(
    None, "Build every stage of the images as one graph: base, backend, runtime, ci, dev.", NO_CACHES
)


@task(dry_run=False)
def accept_sizes(
    _: Context, image: Sequence[str] = (), platform: Sequence[str] = (), bases: str = "debian", stage: str = "runtime"
) -> None:
    """Accept the sizes of images that were built, and print them as rows of a budget."""
    from dynamo_containers.inspect.sizes import check as size_check
    from dynamo_containers.plan.options import ImageSelection

    selection = ImageSelection(images=image, platforms=platform, bases=bases)
    print(size_check.accept_sizes(catalogue.load_catalogue(), stage, selection))


@task(name="up", dry_run=False)
def engine_up(_: Context, platform: Sequence[str] = ()) -> None:
    """Provide a Docker Engine: the one that runs, or a private one from Debian's packages."""
    from dynamo_containers import engine

    engine.up(catalogue.ROOT, parse_platforms(platform))


@task(name="status", as_json=True)
def engine_status(_: Context) -> Result:
    """Show which Docker Engine is used, why, and what it can run."""
    from dynamo_containers import engine

    return engine.status(catalogue.ROOT)


@task(name="environment")
def engine_environment(_: Context) -> None:
    """Print the variables with which `docker` uses that engine: eval "$(invoke engine.environment)"."""
    from dynamo_containers import engine, process

    print(process.export_lines(engine.environment(catalogue.ROOT)))


@task(name="down", dry_run=False)
def engine_down(_: Context, *, purge: bool = False) -> None:
    """Stop the private Docker Engine; an engine of your own is never touched."""
    from dynamo_containers import engine

    engine.down(catalogue.ROOT, purge=purge)


@task(as_json=True)
def lock(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    image: Sequence[str] = (),
    platform: Sequence[str] = (),
    bases: Sequence[str] = (),
    only: Sequence[str] = (),
    upgrade: Sequence[str] = (),
    report: str | None = None,
    keep_pool: str | None = None,
    *,
    upgrade_all: bool = False,
    check: bool = False,
    verify: bool = False,
) -> Result:
    """Pin every input by content: OS packages, root images, archives, Python packages."""
    from dynamo_containers.lock import check as lock_check
    from dynamo_containers.lock import selection
    from dynamo_containers.lock import update as lock_update

    rows = catalogue.load_catalogue()
    selected = selection.select(only, images=image, bases=bases, platforms=platform)
    if check:
        return lock_check.check(rows, selected, verify=verify)
    if c.config.run.dry:
        return lock_check.preview(rows, selected)
    if keep_pool is not None:
        return lock_update.keep_pool(rows, keep_pool)
    return lock_update.update(rows, selected, upgrade, upgrade_all=upgrade_all, report=report)


@task()
def clean(c: Context, *, all: bool = False) -> None:  # noqa: A002 - the flag's name
    """Remove unnamed images, scratch files, caches unused for a week and files of old locks; nothing else."""
    from dynamo_containers.builds import clean as clean_up

    clean_up.clean_checkout(catalogue.load_catalogue(), with_caches=all, dry_run=c.config.run.dry)


@task(operands=("image",), as_json=True)
def explain(
    _: Context, image: str = "", platform: Sequence[str] = (), stage: str = "", bases: str = "debian"
) -> Result:
    """Show what an image will contain, layer by layer, from which pins, and what would be rebuilt and why."""
    from dynamo_containers.inspect import explain_inputs

    return explain_inputs.explain(catalogue.load_catalogue(), image, stage, platform, bases)


@task(operands=("image",), required=True, as_json=True)
def inventory(
    _: Context,
    image: str = "",
    platform: Sequence[str] = (),
    stage: str = "",
    bases: str = "debian",
    format: str = "table",  # noqa: A002 - the flag's name
) -> Result:
    """List what is in an image, from its locks: packages, licences, and what is inside them; or print its SBOM."""
    from dynamo_containers.inspect.inventory import image as image_inventory

    return image_inventory.inventory(catalogue.load_catalogue(), image, stage, platform, bases, format)


@task(operands=("what",), required=True, as_json=True)
def affected(  # noqa: PLR0913, PLR0917 - one for each flag
    _: Context,
    what: str = "",
    advisory: str = "",
    image: Sequence[str] = (),
    platform: Sequence[str] = (),
    bases: Sequence[str] = (),
    stage: str = "",
) -> Result:
    """Show which images a vulnerability affects, since which commit of the locks, and what a fix would move."""
    from dynamo_containers.inspect.inventory import affected as vulnerability

    scope = vulnerability.Scope(images=image, platforms=platform, bases=bases, stage=stage)
    return vulnerability.affected(catalogue.load_catalogue(), what, advisory, scope)


@task(operands=("image",))
def run(  # noqa: PLR0913, PLR0917 - one for each flag
    c: Context,
    image: str = "frontend",
    platform: Sequence[str] = (),
    stage: str = "",
    bases: str = "debian",
    command: str = "",
    source: str = "",
    *,
    gpu: bool = False,
) -> None:
    """Start a shell in an image, with your sources mounted in a dev image."""
    from dynamo_containers.builds import shell

    shell.start(
        catalogue.load_catalogue(),
        shell.ShellOptions(
            image=image, stage=stage, platforms=platform, bases=bases, command=command, source=source, gpu=gpu
        ),
        dry_run=c.config.run.dry,
    )


@task(as_json=True)
def lint(_: Context) -> Result:
    """Check Dockerfiles, their scripts and the graph for what makes builds slow, unsafe or not reproducible."""
    from dynamo_containers.lint import lint as graph_lint

    return graph_lint.lint(catalogue.load_catalogue())


@task(operands=("before", "after"), required=True, as_json=True)
def diff(_: Context, before: str = "", after: str = "") -> Result:
    """Show what differs between two images or two locks: invoke diff A B."""
    from dynamo_containers.inspect import diff_inputs

    return diff_inputs.diff(catalogue.ROOT, (before, after))


@task(as_json=True)
def report(_: Context) -> Result:
    """Write the last builds as one HTML page: targets with times, layers, what images share, sizes over time."""
    from dynamo_containers.inspect.report import show

    return show.show(catalogue.ROOT)


namespace = Collection(lock, lint, explain, inventory, affected, diff, report, run, clean)
namespace.add_collection(
    Collection("build", build_base, build_backend, build_runtime, build_ci, build_dev, build_all, accept_sizes)
)
namespace.add_collection(Collection("engine", engine_up, engine_status, engine_environment, engine_down))
