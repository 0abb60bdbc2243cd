"""Tests of `invoke clean`: the files, images and caches that it removes, and those that it leaves."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from dynamo_containers.builds import clean
from dynamo_containers.docker_cli import Docker
from dynamo_containers.facts.catalogue import Stage, load_catalogue
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes.manifest import ImageSize
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import inputs, oci_layout, stale_files
from dynamo_containers.process import Plan

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"DOCKER_HOST": "unix:///somewhere/docker.sock"}
BUILDX = ("docker", "buildx")
TAGGED = ("vllm-runtime:1.4.2-debian-amd64", "<none>:<none>")
DANGLING = ("docker", "image", "prune", "--force", "--filter", "label=ai.dynamo.stage")


def argvs(*, private: bool, with_caches: bool, tagged: tuple[str, ...] = TAGGED) -> list[tuple[str, ...]]:
    planned = clean.removal_commands(
        Docker(environment=ENVIRONMENT, buildx=BUILDX), tagged, private=private, with_caches=with_caches
    )
    assert all(command.env == ENVIRONMENT for command in planned.commands)
    return [command.argv for command in planned.commands]


def test_images_without_a_name_and_unused_cache_are_removed_and_named_images_stay() -> None:
    prune = ("docker", "buildx", "prune", "--force", "--filter", "until=168h")
    assert argvs(private=True, with_caches=False) == [DANGLING, prune]


def test_the_cache_of_another_engine_stays() -> None:
    assert argvs(private=False, with_caches=False) == [DANGLING]
    named = ("docker", "image", "rm", "vllm-runtime:1.4.2-debian-amd64")
    assert argvs(private=False, with_caches=True) == [named, DANGLING]


def test_all_removes_named_images_and_all_cache_of_the_private_engine() -> None:
    assert argvs(private=True, with_caches=True)[-1] == ("docker", "buildx", "prune", "--force", "--all")
    assert argvs(private=True, with_caches=True, tagged=()) == [
        DANGLING,
        ("docker", "buildx", "prune", "--force", "--all"),
    ]


def leave(path: Path, age: float) -> Path:
    path.mkdir(parents=True)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_temporary_files_of_a_killed_run_are_removed_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    old = leave(tmp_path / ".build/pieces/tmpabc", 7200)
    young = leave(tmp_path / ".build/roots/bootstrap-xyz", 60)
    complete = leave(tmp_path / ".build/pieces/vllm-debian-amd64-0123", 7200)
    assert clean.leftovers(tmp_path, 1_000_000) == (old,)
    clean.remove(tmp_path, (old,), Plan(), dry_run=True)
    assert old.is_dir()
    clean.remove(tmp_path, (old,), Plan(), dry_run=False)
    assert [old.exists(), young.exists(), complete.exists()] == [False, True, True]


NOW = 2_000_000_000
WEEK = 7 * 24 * 3600


def aged(path: Path, age: float) -> Path:
    os.utime(path, (NOW - age, NOW - age))
    return path


def prepare(checkout: Path, stage: Stage, *platforms: str) -> tuple[Path, ...]:
    """Prepare a build and return its files."""
    facts = inputs.build_inputs(
        request_for(load_catalogue(checkout), stage, ImageSelection(images=["frontend"], platforms=platforms))
    )
    folders = {facts.binaries, *(layer.folder.parent for layers in facts.package_layers.values() for layer in layers)}
    records = (checkout / ".build/roots").glob("*-*.json")
    return (*folders, *records)


def test_files_of_the_current_locks_stay_however_old_they_are(own_checkout: Path) -> None:
    paths = (*prepare(own_checkout, Stage.CI, "all"), *prepare(own_checkout, Stage.CI, "linux/amd64"))
    assert len({path.parent.name for path in paths}) == len({"pieces", "programs", "roots"})
    for path in paths:  # after all of them are prepared: to look old breaks a seal
        aged(path, WEEK + 1)
    assert stale_files.stale_paths(load_catalogue(own_checkout), NOW) == ()


def test_files_of_an_earlier_lock_are_removed_after_a_week(own_checkout: Path) -> None:
    for path in prepare(own_checkout, Stage.RUNTIME, "linux/amd64"):
        aged(path, WEEK + 1)
    before = set((own_checkout / ".build/pieces").iterdir())
    sets = own_checkout / ".build/os-packages"
    old, young = (aged(leave(sets / f"debian-dev-{age}", 0), age) for age in (WEEK + 1, WEEK))
    with (own_checkout / "constraints/frontend-debian-amd64.txt").open("a", encoding="utf-8") as lock:
        lock.write("# another one\n")
    gone = stale_files.stale_paths(load_catalogue(own_checkout), NOW)
    assert old in gone
    assert young not in gone
    pieces = sorted(path.name for path in gone if path in before)
    assert [name.rpartition("-")[0] for name in pieces] == ["frontend-debian-amd64"] * 2
    assert pieces[1] == f"{pieces[0]}.seal"


def root_image(store: Path, name: str, epoch: int) -> Path:
    """Add a root image of always the same tree; return its record."""
    (store / "root.tar").write_bytes(b"a tree")
    added = oci_layout.add(store, store / "root.tar", Platform.AMD64, epoch, ())
    record = store / f"debian-{name}-amd64-0123456789abcdef.json"
    record.write_text(json.dumps({"digest": added.digest}), encoding="utf-8")
    return record


def test_a_root_image_of_an_earlier_lock_is_removed_with_its_own_files(own_checkout: Path) -> None:
    store = own_checkout / ".build/roots"
    old = root_image(store, "old", 1)
    of_old = set((store / "blobs/sha256").iterdir())
    aged(root_image(store, "young", 2), 0)
    aged(old, WEEK + 1)
    layer = store / "blobs/sha256" / hashlib.sha256(b"a tree").hexdigest()
    assert layer in of_old
    gone = set(stale_files.stale_paths(load_catalogue(own_checkout), NOW))
    assert old in gone
    assert layer not in gone
    assert len(gone & of_old) == len({"manifest", "config"})


def test_measured_sizes_are_removed_after_a_week(own_checkout: Path) -> None:
    sizes = own_checkout / ".build/sizes"
    size_cache.remember(own_checkout, "sha256:old", ImageSize(layers=()))
    size_cache.remember(own_checkout, "sha256:young", ImageSize(layers=()))
    aged(sizes / "old.json", WEEK + 1)
    aged(sizes / "young.json", WEEK)
    assert stale_files.stale_paths(load_catalogue(own_checkout), NOW) == (sizes / "old.json",)
    assert size_cache.recall(own_checkout, "sha256:young") == ImageSize(layers=())
    assert size_cache.recall(own_checkout, "sha256:never") is None
