"""A machine reuses the compilation of another one from a shared storage; builds work without an unreachable storage.

The storage is the real Redis of Debian, unpacked privately, at the address of this machine, with a password. The other
machine is this one after all compiler caches were deleted. Takes minutes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts import sccache
from dynamo_containers.facts.catalogue import ROOT, Stage
from dynamo_containers.upstream import host_tools
from tests.lock.test_registry import free_port
from tests.source_builds.conftest import SourceBuild, build_log, docker, executed_steps, tag_of
from tests.stand_in.servers import host_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMPILING = ("dynamo-rust", "ucx", "nixl")
COUNT = re.compile(r"^#\d+ [\d.]+ (Cache (?:hits|misses)|Cache write errors)(?: \(([^)]+)\))? +(\d+)$", re.MULTILINE)
DIGESTS = """
import glob, hashlib, json, zipfile
wheels = map(zipfile.ZipFile, glob.glob("/opt/dynamo/wheelhouse/*.whl"))
print(json.dumps({name: hashlib.sha256(wheel.read(name)).hexdigest() for wheel in wheels for name in wheel.namelist()}))
"""
GOES_ON = 60
"""Time limit of a build without its storage: otherwise sccache would wait as long for each file."""


@dataclass(frozen=True, kw_only=True)
class Redis:
    """A running storage with a password."""

    host: str
    port: int
    password: str
    process: subprocess.Popen[bytes]

    def keys(self) -> int:
        """Return the number of keys."""
        with socket.create_connection((self.host, self.port), 1) as connection, connection.makefile("rb") as answers:
            connection.sendall(f"AUTH {self.password}\r\nDBSIZE\r\n".encode())
            answers.readline()
            return int(answers.readline()[1:])

    def configured(self, file: Path) -> str:
        """Write the configuration file of a machine that uses the storage; return its path."""
        text = (
            f'SCCACHE_REDIS_ENDPOINT = "redis://{self.host}:{self.port}"\nSCCACHE_REDIS_PASSWORD = "{self.password}"\n'
        )
        file.write_text(text, encoding="utf-8")
        return str(file)


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """Run a storage until the end of the block; it has no files on the disk."""
    password, host, port = secrets.token_hex(16), host_address(), free_port()
    settings = (f"bind {host}", f"port {port}", f"requirepass {password}", 'save ""', "maxmemory 256mb")
    (folder / "redis.conf").write_text("\n".join(settings), encoding="utf-8")
    program = {**os.environ, **host_tools.environment(ROOT, ("redis-server",))}
    argv = ("redis-server", str(folder / "redis.conf"))
    with subprocess.Popen(argv, env=program, cwd=folder, stdout=subprocess.DEVNULL) as process:
        server = Redis(host=host, port=port, password=password, process=process)
        try:
            deadline = time.monotonic() + 10
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    server.keys()
                except OSError:
                    time.sleep(0.05)
                else:
                    break
            else:
                pytest.fail("redis-server did not start")
            yield server
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def source_build(repositories: Callable[[str], Path]) -> SourceBuild:
    names = ("dynamo", "nixl", "ucx")
    return SourceBuild(stage=Stage.BASE, image="base", sources={name: str(repositories(name)) for name in names})


@pytest.fixture
def configured(storage: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configure this machine to share its compilations; return the password."""
    monkeypatch.setenv(sccache.VARIABLE, storage.configured(tmp_path / "sccache.toml"))
    return storage.password


def empty() -> None:
    """Delete the compiler caches of this machine: those of cargo, ccache and sccache."""
    docker("buildx", "prune", "--force", "--filter=type=exec.cachemount")


def cache_counts(log: str) -> dict[tuple[str, str], int]:
    """Return the sum of `sccache --show-stats` of all steps: (event, language) -> count."""
    counts: dict[tuple[str, str], int] = {}
    for event, language, count in COUNT.findall(log):
        counts[event, language] = counts.get((event, language), 0) + int(count)
    return counts


def wheels() -> dict[str, str]:
    """Return file -> digest of all built wheels, without files compiled by nvcc and the lists with their digests.

    nvcc writes its process number into names, so that two builds of the same code differ, even without sccache.
    """
    files = json.loads(docker("run", "--rm", tag_of("base"), "python3", "-c", DIGESTS))
    return {name: digest for name, digest in files.items() if not name.endswith(("libplugin_GPUNETIO.so", "/RECORD"))}


def test_an_emptied_machine_compiles_nothing_that_another_one_compiled(
    source_build: SourceBuild, configured: str
) -> None:
    empty()
    first = cache_counts(build_log(source_build, again=COMPILING))
    empty()
    log = build_log(source_build, again=COMPILING)
    second = cache_counts(log)
    print(first, second)
    for language in ("Rust", "C/C++", "CUDA"):
        assert first["Cache misses", language] > 0
        assert second["Cache hits", language] >= first["Cache misses", language]
    assert second["Cache misses", ""] == first["Cache write errors", ""] == 0
    assert configured not in log


def test_without_the_configuration_nothing_is_done_again_and_the_wheels_are_the_same(
    source_build: SourceBuild, configured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_log(source_build)
    shared = wheels()
    monkeypatch.delenv(sccache.VARIABLE)
    assert executed_steps(build_log(source_build)) == set()
    empty()
    assert cache_counts(build_log(source_build, again=COMPILING)) == {}
    assert wheels() == shared != {}
    assert configured not in docker("history", "--no-trunc", tag_of("base"))


def test_a_storage_that_is_down_is_said_and_done_without(
    source_build: SourceBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{host_address()}:{free_port()}"
    (tmp_path / "down.toml").write_text(f'SCCACHE_REDIS_ENDPOINT = "redis://{place}"\n', encoding="utf-8")
    monkeypatch.setenv(sccache.VARIABLE, str(tmp_path / "down.toml"))
    log = build_log(source_build, again=["dynamo-rust", "ucx"])
    assert (
        log.count(f"sccache: the storage at {place} is unreachable (Connection refused). This step compiles without it")
        == 2
    )
    assert cache_counts(log) == {}


def test_a_storage_that_dies_while_it_compiles_is_said_and_done_without(
    source_build: SourceBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[float] = []
    with redis(tmp_path) as dying:
        monkeypatch.setenv(sccache.VARIABLE, dying.configured(tmp_path / "dying.toml"))

        def kill() -> None:
            while dying.keys() < 5:
                time.sleep(0.1)
            dying.process.kill()
            killed.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        log = build_log(source_build, again=["ucx"])
        ended = time.monotonic()
        killer.join()
        assert dying.process.wait() < 0
    assert (
        f"sccache: the storage at {dying.host}:{dying.port} is unreachable (Connection refused). The rest of this step"
        in log
    )
    assert ended - killed[0] < GOES_ON
