"""Report of `engine.status`: its text for a person and its data for a machine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from dynamo_containers.docker_cli import Docker
from dynamo_containers.engine import emulation, status_report
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.engine.status_report import DiskUse, EngineStatus, PlatformSupport
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from pathlib import Path

QEMU = """\
enabled
interpreter /usr/bin/qemu-aarch64-static
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
REPORT = EngineStatus(
    private=True,
    endpoint="unix:///run/dynamo-containers/0123456789ab/docker.sock",
    reason="the private engine of this checkout runs",
    engine_version="28.2.2",
    client_version="28.2.1",
    buildx_version="0.24.0",
    storage_driver="overlayfs",
    containerd_image_store=True,
    platforms=(
        PlatformSupport(platform="linux/amd64", support="native", emulator=""),
        PlatformSupport(platform="linux/arm64", support="emulated", emulator="qemu-aarch64"),
    ),
    data_folder="/checkout/.engine/data",
    disk=(DiskUse(kind="Images", bytes=12_340_000_000), DiskUse(kind="Build Cache", bytes=500_000_000)),
    free_bytes=81_000_000_000,
    log="/checkout/.engine/dockerd.log",
    network_command=("nsenter", "--net=/proc/1/root/net"),
)
TEXT = """\
engine     private engine of this checkout
reason     the private engine of this checkout runs
endpoint   unix:///run/dynamo-containers/0123456789ab/docker.sock
versions   engine 28.2.2, client 28.2.1, buildx 0.24.0
images     containerd image store, driver overlayfs; multi-platform images are supported
platforms  linux/amd64 native, linux/arm64 emulated (qemu-aarch64)
data       /checkout/.engine/data
disk       Images 12.3 GB, Build Cache 0.5 GB, 81 GB free
log        /checkout/.engine/dockerd.log
ports      in the network of the engine, not on localhost; reach them with: nsenter --net=/proc/1/root/net curl URL"""
DOCKER = """\
#!/bin/sh
case "$1" in
info) echo '{"ServerVersion": "29.1", "ClientInfo": {"Version": "29.0"}, "Driver": "overlay2", "DockerRootDir": "/d"}'
    ;;
system) printf 'Images\\t1.5GB\\n' ;;
esac
"""
BUILDX = """\
#!/bin/sh
case "$1" in
version) echo "github.com/docker/buildx 0.24.0 abc" ;;
inspect) printf 'Name: default\\nPlatforms: linux/amd64*, linux/arm64\\n' ;;
esac
"""


def test_the_text_for_a_private_engine() -> None:
    assert str(REPORT) == TEXT


def test_the_text_for_an_engine_of_the_user() -> None:
    report = replace(REPORT, private=False, containerd_image_store=False, free_bytes=None, log=None, network_command=())
    lines = str(report).splitlines()
    assert lines[0] == "engine     your own engine"
    assert lines[4].endswith("multi-platform images are not supported (enable the feature containerd-snapshotter)")
    assert lines[-1] == "disk       Images 12.3 GB, Build Cache 0.5 GB"


def test_the_data_is_json_with_a_schema_that_explains_each_field() -> None:
    row = json.loads(Result(text="", data=REPORT).json())
    assert row["platforms"][1] == {"platform": "linux/arm64", "support": "emulated", "emulator": "qemu-aarch64"}
    assert row["disk"][0] == {"kind": "Images", "bytes": 12_340_000_000}
    schema = msgspec.json.schema(EngineStatus)["$defs"]["EngineStatus"]
    assert set(schema["required"]) == set(row)


def test_each_platform_is_native_emulated_or_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    native, foreign = status_report.platform_support((), {"qemu-aarch64": QEMU})
    assert (str(native), str(foreign)) == ("linux/amd64 native", "linux/arm64 emulated (qemu-aarch64)")
    assert str(status_report.platform_support(("linux/arm64",), {})[1]) == "linux/arm64 emulated (by the engine)"
    assert str(status_report.platform_support((), {})[1]) == (
        "linux/arm64 not supported (run: invoke engine.up --platform linux/arm64)"
    )


@pytest.mark.parametrize(
    ("size", "count"), [("0B", 0), ("12.34kB", 12_340), ("1.5GB", 1_500_000_000), ("2TB", 2_000_000_000_000)]
)
def test_a_size_of_docker_is_a_number_of_bytes(size: str, count: int) -> None:
    assert status_report.disk_uses(f"Build Cache\t{size}\n") == (DiskUse(kind="Build Cache", bytes=count),)


def test_an_engine_is_queried_through_docker_and_buildx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cli, plugin = tmp_path / "docker", tmp_path / "docker-buildx"
    for program, script in ((cli, DOCKER), (plugin, BUILDX)):
        program.write_text(script)
        program.chmod(0o755)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("DOCKER_HOST", "tcp://builder:2375")
    docker = Docker(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}, buildx=(str(plugin),))
    monkeypatch.setattr(status_report, "connect", lambda _: docker)
    monkeypatch.setattr(emulation, "entries", dict)
    report = status_report.status(EnginePaths(folder=tmp_path, runtime=tmp_path)).data
    assert report == replace(
        REPORT,
        private=False,
        endpoint="tcp://builder:2375",
        reason="DOCKER_HOST names it",
        engine_version="29.1",
        client_version="29.0",
        storage_driver="overlay2",
        containerd_image_store=False,
        platforms=(REPORT.platforms[0], PlatformSupport(platform="linux/arm64", support="emulated", emulator="")),
        data_folder="/d",
        disk=(DiskUse(kind="Images", bytes=1_500_000_000),),
        free_bytes=None,
        log=None,
        network_command=(),
    )
