"""`invoke clean`: remove what builds of this checkout leave behind, and nothing else.

Ours is an image that carries our label, what lies below .build (scratch that a killed run left, and what no lock names
any more: prepare/stale_files.py), and what the private engine holds: nobody else uses that one. In an engine of the
user's own the build cache is shared with other projects, and stays.
"""

from __future__ import annotations

import time
from shutil import rmtree
from typing import TYPE_CHECKING

from dynamo_containers import engine, progress, state
from dynamo_containers.errors import NoEngineError
from dynamo_containers.prepare import stale_files
from dynamo_containers.process import Command, Plan, execute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue

LABEL = "label=ai.dynamo.stage"
"""What `labels.labels` gives every image of this project."""
LIST = ("image", "ls", "--filter", LABEL, "--format", "{{.Repository}}:{{.Tag}}")
"""Arguments of docker: the list of our images."""
SCRATCH = ("pieces/tmp*", "programs/tmp*", "os-packages/.*", "roots/bootstrap-*", "bench-*", ".*.json.*", "*/.*.json.*")
"""Below .build: temporary names, renamed when they are complete (TemporaryDirectory, process.replace_file)."""
UNUSED = "168h"
"""How long nobody must have asked for a step before its cache goes: a week. Younger ones make the next build fast."""
OLD_SECONDS = 3600
"""Scratch that is younger may be that of a build that runs."""


def clean_checkout(catalogue: Catalogue, *, with_caches: bool, dry_run: bool) -> None:
    """Remove what builds of this checkout left behind; `with_caches` removes named images and every cache as well.

    Raises:
        NoEngineError: no engine answers.
        CommandFailedError: the engine refuses to remove something.
    """
    folder, now = catalogue.folder, time.time()
    commands = Plan() if dry_run and not _answers(folder) else _engine_plan(folder, with_caches=with_caches)
    clean(folder, (*scratch(folder, now), *stale_files.stale_paths(catalogue, now)), commands, dry_run=dry_run)
    if with_caches and not dry_run:
        state.forget_builds(folder)


def _answers(folder: Path) -> bool:
    """Return whether an engine answers; without one a dry run names the files alone, and says so."""
    try:
        engine.docker(folder)
    except NoEngineError:
        progress.say("No Docker Engine answers: its images and caches are not known.")
        return False
    return True


def _engine_plan(folder: Path, *, with_caches: bool) -> Plan:
    docker = engine.docker(folder)
    tags = docker.capture(*LIST).split()
    return plan(docker, tags, private=engine.private(folder), everything=with_caches)


def scratch(folder: Path, now: float) -> tuple[Path, ...]:
    """Return what killed runs left below .build, given the present in seconds since 1970."""
    found = {path for pattern in SCRATCH for path in (folder / state.BUILD).glob(pattern)}
    return tuple(sorted(path for path in found if now - path.lstat().st_mtime > OLD_SECONDS))


def plan(
    docker: Docker,
    tagged: Iterable[str],
    *,
    private: bool,
    everything: bool,
) -> Plan:
    """Return the commands that remove our images from the engine, and what the private one keeps to build faster.

    Args:
        docker: the docker CLI of the engine in use.
        tagged: what `LIST` prints.
        private: whether the engine is this checkout's own.
        everything: remove images that have a name, too, and the caches.
    """
    env = docker.environment
    dangling = Command(argv=("docker", "image", "prune", "--force", "--filter", LABEL), env=env)
    names = [name for name in tagged if "<none>" not in name]
    named = [Command(argv=("docker", "image", "rm", *names), env=env)] if everything and names else []
    words = ("--all",) if everything else ("--filter", f"until={UNUSED}")
    caches = [Command(argv=(*docker.buildx, "prune", "--force", *words), env=env)] if private else []
    return Plan(commands=(*named, dangling, *caches))


def clean(folder: Path, paths: Iterable[Path], what: Plan, *, dry_run: bool) -> None:
    """Remove files and folders below the checkout `folder` and carry out the plan; a dry run says what it would do."""
    for path in paths:
        progress.say(f"Removing {path.relative_to(folder)}")
        if not dry_run:
            rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    execute(what, dry_run=dry_run)
