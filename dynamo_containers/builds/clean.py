"""`invoke clean`: remove what builds of this checkout leave behind, and nothing else.

It removes images with our label, files below .build (leftovers of killed runs, and stale files: prepare/stale_files.py)
and build cache of the private engine, which nobody else uses. Other projects share the build cache of another engine,
so that stays.
"""

from __future__ import annotations

import time
from shutil import rmtree
from typing import TYPE_CHECKING

from dynamo_containers import engine, progress, state
from dynamo_containers.errors import NoEngineError
from dynamo_containers.prepare import build_secrets, stale_files
from dynamo_containers.process import Command, Plan, execute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue

LABEL = "label=ai.dynamo.stage"
"""A label that every image of this project has (plan/labels.py)."""
LIST = ("image", "ls", "--filter", LABEL, "--format", "{{.Repository}}:{{.Tag}}")
"""Arguments of docker that list our images."""
TEMPORARY = "tmp*"
"""Names of TemporaryDirectory."""
LEFTOVERS = (
    f"{state.LAYER_PINS}/{TEMPORARY}",
    *(f"{folder}/*/{TEMPORARY}" for folder in (state.BINARIES, state.OS_PACKAGES, state.TOOLCHAINS)),
    *(f"{folder}/{TEMPORARY}" for folder in (state.TOOLS, state.INSTALLED_PACKAGES)),
    f"{state.ROOT_IMAGES}/bootstrap-*",
    f"{state.BUILD}/bench-*",
    f"{state.BUILD}/.*.json.*",
    f"{state.BUILD}/*/.*.json.*",
)
"""Patterns of temporary files, which are renamed once they are complete (process.replace_file)."""
UNUSED = "168h"
"""Build cache that was unused for a week is removed; younger cache makes the next build fast."""
OLD_SECONDS = 3600
"""Younger temporary files may belong to a build that runs."""


def clean_checkout(catalogue: Catalogue, *, with_caches: bool, dry_run: bool) -> None:
    """Remove what builds of this checkout left; `with_caches` removes named images and all build cache as well.

    Raises:
        NoEngineError: no engine answers.
        CommandFailedError: the engine refuses to remove something.
    """
    folder, now = catalogue.folder, time.time()
    commands = Plan() if dry_run and not _answers(folder) else _engine_plan(folder, with_caches=with_caches)
    if not dry_run and build_secrets.remove_left(folder):
        progress.say(f"Removing {state.INDEX_ADDRESS}")
    remove(folder, (*leftovers(folder, now), *stale_files.stale_paths(catalogue, now)), commands, dry_run=dry_run)
    if with_caches and not dry_run:
        state.forget_builds(folder)


def _answers(folder: Path) -> bool:
    """Return whether an engine answers; if not, print that a dry run lists files only."""
    try:
        engine.docker(folder)
    except NoEngineError:
        progress.say("No Docker Engine answers, so its images and caches are not listed.")
        return False
    return True


def _engine_plan(folder: Path, *, with_caches: bool) -> Plan:
    docker = engine.docker(folder)
    tags = docker.capture(*LIST).split()
    return removal_commands(docker, tags, private=engine.private(folder), with_caches=with_caches)


def leftovers(folder: Path, now: float) -> tuple[Path, ...]:
    """Return temporary files of killed runs; `now` is in seconds since 1970."""
    paths = {path for pattern in LEFTOVERS for path in folder.glob(pattern)}
    return tuple(sorted(path for path in paths if now - path.lstat().st_mtime > OLD_SECONDS))


def removal_commands(
    docker: Docker,
    tagged: Iterable[str],
    *,
    private: bool,
    with_caches: bool,
) -> Plan:
    """Return the commands that remove our images from the engine, and build cache from the private engine.

    Args:
        docker: the docker CLI of the engine in use.
        tagged: the output of `LIST`.
        private: whether the engine is the private one.
        with_caches: also remove images that have a name, and all build cache.
    """
    env = docker.environment
    dangling = Command(argv=("docker", "image", "prune", "--force", "--filter", LABEL), env=env)
    names = [name for name in tagged if "<none>" not in name]
    named = [Command(argv=("docker", "image", "rm", *names), env=env)] if with_caches and names else []
    options = ("--all",) if with_caches else ("--filter", f"until={UNUSED}")
    caches = [Command(argv=(*docker.buildx, "prune", "--force", *options), env=env)] if private else []
    return Plan(commands=(*named, dangling, *caches))


def remove(folder: Path, paths: Iterable[Path], commands: Plan, *, dry_run: bool) -> None:
    """Remove files and folders of the checkout `folder`, and run the commands; a dry run prints them."""
    for path in paths:
        progress.say(f"Removing {path.relative_to(folder)}")
        if not dry_run:
            rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    execute(commands, dry_run=dry_run)
