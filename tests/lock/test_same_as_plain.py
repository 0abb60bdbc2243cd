"""The lock for the platform of the host equals that of plain pip-compile, which downloads and hashes, byte for byte."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import locks
from dynamo_containers import process
from dynamo_containers.lock.python import schedule as python_schedule
from dynamo_containers.platforms import native_platform
from tests.lock.conftest import NOW

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from dynamo_containers.facts.locks.python_lock import LockFile
    from tests.lock.conftest import IndexContent, ToolsProject

CPYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
MACHINES = ("x86_64", "aarch64")
EVERY_TAG = tuple(
    f"{python}-{python}-{system}"
    for python in (CPYTHON, "cp39")
    for system in (*(f"manylinux_2_17_{machine}" for machine in MACHINES), "macosx_11_0_arm64", "win_amd64")
)
EXTRA = "Provides-Extra: fast"
NEVER: dict[str, Any] = {"requires-python": ">=3.99"}


def offer(
    index: IndexContent, name: str, version: str, *requires: str, tags: tuple[str, ...] = ("py3-none-any",)
) -> None:
    """Offer a release with a source archive and several wheels."""
    for tag in tags:
        index.add(name, version, requires=requires, tag=tag)
    index.add_source(name, version)


def fill(index: IndexContent) -> None:
    """Offer packages whose dependencies and files differ by platform, and releases that must not be chosen."""
    speed = f'speed; extra == "fast"\n{EXTRA}'
    by_machine = [f'only-{machine.replace("_", "-")}; platform_machine == "{machine}"' for machine in MACHINES]
    elsewhere = ('never; sys_platform == "win32"', 'never; python_version < "3.0"')
    offer(index, "app", "1.0", "Lib_Native[fast]>=1,<3", "speed", *by_machine, *elsewhere)
    offer(index, "lib-native", "1.0", speed, tags=EVERY_TAG)
    offer(index, "lib-native", "1.1", speed, "plain-one", tags=EVERY_TAG)
    index.add("lib-native", "1.1", requires=(speed, "plain-one"), tag=f"1-{EVERY_TAG[0]}")  # a build number
    index.add(
        "lib-native", "1.1.0", requires=(speed,), tag="cp312-cp312-win_amd64"
    )  # the same release, spelled differently
    index.add("lib-native", "1.1", tag="cp399-cp399-win_amd64", **NEVER)
    index.add("lib-native", "1.2", tag="cp39-cp39-win_amd64")
    index.add("lib-native", "1.3", yanked="loses data")
    index.add("lib-native", "2.0rc1")
    index.add("lib-native", "2.0", **NEVER)
    index.add("lib-native", "2.1", uploaded="2026-11-19T00:00:00Z")
    offer(index, "speed", "0.9")
    offer(index, "speed", "1.0.post1", "plain-one>=1")
    offer(index, "plain-one", "2.0")
    for machine in MACHINES:
        offer(index, f"only-{machine.replace('_', '-')}", "3.1", tags=EVERY_TAG)


def ours(lock: LockFile, folder: Path, before: datetime) -> str:
    """Return the body of the lock of this project."""
    options = python_schedule.UpgradeOptions(uploaded_before=before)
    process.execute(process.Plan(commands=(python_schedule.compile_command(lock, folder, options),)))
    return locks.body((folder / lock.path).read_text(encoding="utf-8"))


def test_the_lock_for_the_hosts_own_platform_is_byte_for_byte_that_of_plain_pip_compile(
    index: IndexContent, project: ToolsProject, tmp_path: Path
) -> None:
    fill(index)
    folder, before = project.catalogue.folder, python_schedule.cooldown_limit(project.catalogue, NOW)
    lock = locks.like_this_machine(folder)
    (folder / lock.layer.requirements).write_text("app\n", encoding="utf-8")
    lock_text = ours(lock, folder, before)
    foreign = f"/files/lib_native-1.1-{CPYTHON}-{CPYTHON}-win_amd64.whl"
    assert foreign not in index.requests
    process.run(locks.plain(lock, folder, tmp_path / "plain.txt", before))
    assert lock_text == (tmp_path / "plain.txt").read_text(encoding="utf-8")
    assert foreign in index.requests  # plain pip-compile reads the file to hash it
    machine = native_platform().machine.replace("_", "-")
    assert re.findall(r"^\S+==\S+", lock_text, re.MULTILINE) == [
        "app==1.0",
        "lib-native==1.1",
        f"only-{machine}==3.1",
        "plain-one==2.0",
        "speed==1.0.post1",
    ]
    # Eight wheels and the source archive, one wheel with a build number, one whose version is spelled differently.
    assert lock_text.partition("lib-native==")[2].partition("# via")[0].count("--hash=") == 11
