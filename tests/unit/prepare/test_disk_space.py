"""Tests of the disk space of a build, computed from its locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers import state
from dynamo_containers.errors import NoSpaceError
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import disk_space
from tests.unit.conftest import leave_free

if TYPE_CHECKING:
    from pathlib import Path

HASH = f"--hash=sha256:{'0' * 64}"
SIZES = {"common-debian-amd64": {"torch==2": 1000}, "vllm-debian-amd64": {"torch==2": 1000, "vllm==1": 100}}
TEXTS = {
    "constraints/common-debian-amd64.txt": f"torch==2 {HASH}\n",
    "constraints/vllm-debian-amd64.txt": f"vllm==1 {HASH}\n",
    "constraints/vllm-debian-arm64.txt": f"vllm==1 {HASH}\n",
    "constraints/os-debian-runtime-amd64.txt": f"# head\nbash 5 amd64 debian pool/bash.deb 10 sha256:{'0' * 64}\n",
    "constraints/os-debian-runtime-arm64.txt": f"bash 5 arm64 debian pool/bash.deb 99 sha256:{'0' * 64}\n",
    "roots.cuda.runtime": "an image of a registry",
}


def test_a_build_writes_nine_times_its_wheels_and_seventeen_times_its_debs() -> None:
    assert disk_space.needed_bytes(TEXTS, SIZES, (Platform.AMD64,)) == 1100 * 9 + 10 * 17


def test_a_package_without_a_known_size_counts_nothing() -> None:
    assert disk_space.needed_bytes(TEXTS, SIZES, (Platform.ARM64,)) == 99 * 17


def test_the_error_of_a_full_disk_has_the_needed_and_the_free_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_free(monkeypatch, 9_940_000_000)
    disk_space.check(tmp_path, 9_940_000_000)
    with pytest.raises(NoSpaceError) as caught:
        disk_space.check(tmp_path, 10_000_000_000)
    assert str(caught.value) == (
        "There is not enough disk space: by its locks this build writes about 10.0 GB below "
        f"{tmp_path}, and 9.9 GB is free.\n"
        "Free some, for example with: docker system prune (your own engine), or invoke engine.down --purge (ours)"
    )
    assert caught.value.exit_code == 6


def test_the_disk_of_the_private_engine_counts_if_it_exists(tmp_path: Path) -> None:
    assert disk_space.images_folder(tmp_path) == tmp_path
    (tmp_path / ".engine/data").mkdir(parents=True)
    assert disk_space.images_folder(tmp_path) == tmp_path / ".engine/data"


def test_the_size_of_the_cache_is_the_total_of_buildx() -> None:
    assert disk_space.cache_bytes("ID\tSIZE\nabc\t9MB\nReclaimable:\t1.5kB\nTotal:\t\t5.989GB\n") == 5_989_000_000
    assert disk_space.cache_bytes("Total:\t\t0B\n") == 0
    assert disk_space.cache_bytes("no such command") == 0


def test_an_earlier_build_counts_while_the_cache_has_one_copy_of_it() -> None:
    # Four unpacked copies are 8 of 9 parts of the bytes, so one copy is 2 of 9.
    assert disk_space.remaining_bytes(10_000, 1_000, 2_000) == 1_000
    assert disk_space.remaining_bytes(10_000, 1_000, 1_999) == 10_000


def test_the_bytes_of_a_build_are_recorded(tmp_path: Path) -> None:
    file = disk_space.record_path(tmp_path, ("runtime",))
    assert disk_space.read_record(file) is None
    disk_space.write_record(file, 2_500)
    assert disk_space.read_record(file) == 2_500


def test_records_are_deleted_with_their_engine(tmp_path: Path) -> None:
    file = disk_space.record_path(tmp_path, ("runtime", "linux/amd64"))
    assert file != disk_space.record_path(tmp_path, ("ci", "linux/amd64"))
    disk_space.write_record(file)
    assert file.is_file()
    state.forget_builds(tmp_path)
    assert not file.exists()
