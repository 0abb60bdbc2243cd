"""What is removed, and what never is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dynamo_containers import clean
from dynamo_containers.run import Plan

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"DOCKER_HOST": "unix:///somewhere/docker.sock"}
BUILDX = ("docker", "buildx")
TAGGED = ("vllm-runtime:1.4.2-debian-amd64", "<none>:<none>")
DANGLING = ("docker", "image", "prune", "--force", "--filter", "label=ai.dynamo.stage")


def argvs(*, private: bool, everything: bool, tagged: tuple[str, ...] = TAGGED) -> list[tuple[str, ...]]:
    planned = clean.plan(ENVIRONMENT, BUILDX, tagged, private=private, everything=everything)
    assert all(command.env == ENVIRONMENT for command in planned.commands)
    return [command.argv for command in planned.commands]


def test_images_without_a_name_and_stale_cache_go_and_named_images_stay() -> None:
    prune = ("docker", "buildx", "prune", "--force", "--filter", "until=168h")
    assert argvs(private=True, everything=False) == [DANGLING, prune]


def test_the_cache_of_an_engine_that_others_use_stays() -> None:
    assert argvs(private=False, everything=False) == [DANGLING]
    named = ("docker", "image", "rm", "vllm-runtime:1.4.2-debian-amd64")
    assert argvs(private=False, everything=True) == [named, DANGLING]


def test_all_means_named_images_and_every_cache_of_the_private_engine() -> None:
    assert argvs(private=True, everything=True)[-1] == ("docker", "buildx", "prune", "--force", "--all")
    assert argvs(private=True, everything=True, tagged=()) == [
        DANGLING,
        ("docker", "buildx", "prune", "--force", "--all"),
    ]


def leave(path: Path, age: float) -> Path:
    path.mkdir(parents=True)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_scratch_of_a_killed_run_goes_and_that_of_a_running_one_stays(tmp_path: Path) -> None:
    old = leave(tmp_path / ".build/pieces/tmpabc", 7200)
    young = leave(tmp_path / ".build/roots/bootstrap-xyz", 60)
    whole = leave(tmp_path / ".build/pieces/vllm-debian-amd64-0123", 7200)
    assert clean.scratch(tmp_path, 1_000_000) == (old,)
    nothing = Plan()
    clean.clean(tmp_path, nothing, 1_000_000, dry_run=True)
    assert old.is_dir()
    clean.clean(tmp_path, nothing, 1_000_000, dry_run=False)
    assert [old.exists(), young.exists(), whole.exists()] == [False, True, True]
