"""Report of `invoke engine.status`: the engine in use, its versions, platforms and disk space."""

from __future__ import annotations

from dataclasses import dataclass
from shutil import disk_usage
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.engine import daemon, emulation, endpoint
from dynamo_containers.engine.endpoint import connect
from dynamo_containers.platforms import Platform, native_platform
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.engine.paths import EnginePaths

CONTAINERD_STORE = "io.containerd.snapshotter.v1"
HINT = "The engine answers, but this call failed. See: invoke engine.status"
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
"""Units of `docker system df` (docker/go-units: HumanSize)."""


@dataclass(frozen=True, kw_only=True)
class PlatformSupport:
    """Whether and how the engine runs binaries of a platform."""

    platform: str
    """Such as linux/arm64."""
    support: str
    """native, emulated or none."""
    emulator: str
    """The emulator that the kernel has registered; '' if there is none, or if only the engine knows it."""

    def __str__(self) -> str:
        """Return the words of the report."""
        if self.support == "none":
            return f"{self.platform} not supported (run: invoke engine.up --platform {self.platform})"
        if self.support == "emulated":
            return f"{self.platform} emulated ({self.emulator or 'by the engine'})"
        return f"{self.platform} {self.support}"


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Disk space of one kind of data in the engine."""

    kind: str
    """Images, Containers, Local Volumes or Build Cache."""
    bytes: int
    """As `docker system df` rounds it, to about four digits."""


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """The Docker Engine that every command of this checkout uses."""

    private: bool
    """Whether it is the private engine of this checkout."""
    endpoint: str
    """Its address, as in DOCKER_HOST."""
    reason: str
    """Why this engine is used and not another one."""
    engine_version: str
    """Version of the Docker Engine."""
    client_version: str
    """Version of the docker CLI."""
    buildx_version: str
    """Version of buildx."""
    storage_driver: str
    """The storage driver of the engine, such as overlayfs or overlay2."""
    containerd_image_store: bool
    """Whether images are in containerd's image store, which images of several platforms need."""
    platforms: tuple[PlatformSupport, ...]
    """The platforms that this project builds for."""
    data_folder: str
    """The folder of images and build cache on the machine of the engine."""
    disk: tuple[DiskUse, ...]
    """The disk space in use."""
    free_bytes: int | None
    """The free disk space for the private engine; null for another engine."""
    log: str | None
    """The log of the private engine; null for another engine."""
    network_command: tuple[str, ...]
    """The words before a command that has to reach published ports; empty where ports are on localhost."""

    def __str__(self) -> str:
        """Return the report for the terminal."""
        rows = {
            "engine": "private engine of this checkout" if self.private else "your own engine",
            "reason": self.reason,
            "endpoint": self.endpoint,
            "versions": f"engine {self.engine_version}, client {self.client_version}, buildx {self.buildx_version}",
            "images": self._image_store(),
            "platforms": ", ".join(map(str, self.platforms)),
            "data": self.data_folder,
            "disk": self._disk(),
        }
        if self.log:
            rows["log"] = self.log
        if self.network_command:
            command = " ".join(self.network_command)
            rows["ports"] = f"in the network of the engine, not on localhost; reach them with: {command} curl URL"
        return "".join(f"{name:<10} {text}\n" for name, text in rows.items()).rstrip()

    def _image_store(self) -> str:
        if self.containerd_image_store:
            return f"containerd image store, driver {self.storage_driver}; multi-platform images are supported"
        return (
            f"classic image store, driver {self.storage_driver}; multi-platform images are not supported "
            "(enable the feature containerd-snapshotter)"
        )

    def _disk(self) -> str:
        uses = [f"{use.kind} {use.bytes / 1e9:.1f} GB" for use in self.disk]
        return ", ".join([*uses, *([] if self.free_bytes is None else [f"{self.free_bytes / 1e9:.0f} GB free"])])


def status(paths: EnginePaths) -> Result:
    """Query the engine in use and report it."""
    daemon.sweep_dead(paths)
    used = endpoint.require(endpoint.choose(endpoint.detect(paths)))
    docker = connect(paths)
    info = file_reader.parse_json(docker.capture("info", "--format", "{{json .}}", hint=HINT))
    report = EngineStatus(
        private=used.private,
        endpoint=used.host,
        reason=used.reason,
        engine_version=info["ServerVersion"],
        client_version=info["ClientInfo"]["Version"],
        buildx_version=docker.capture_buildx("version", hint=HINT).split()[1],
        storage_driver=info["Driver"],
        containerd_image_store=is_containerd_store(info),
        platforms=platform_support(engine_platforms(docker), emulation.entries()),
        data_folder=info["DockerRootDir"],
        disk=disk_uses(docker.capture("system", "df", "--format", "{{.Type}}\t{{.Size}}", hint=HINT)),
        free_bytes=disk_usage(paths.data).free if used.private else None,
        log=str(paths.log) if used.private else None,
        network_command=daemon.network(paths) if used.private else (),
    )
    return Result(text=str(report), data=report)


def is_containerd_store(info: Mapping[str, Any]) -> bool:
    """Say whether the engine has containerd's image store, given `docker info`."""
    return ["driver-type", CONTAINERD_STORE] in (info.get("DriverStatus") or [])


def supports_multi_platform_images(docker: Docker) -> bool:
    """Say whether the engine can store an image of several platforms."""
    return CONTAINERD_STORE in docker.capture("info", "--format", "{{json .DriverStatus}}", hint=HINT)


def engine_platforms(docker: Docker) -> tuple[str, ...]:
    """Return the platforms that the engine lists for builds."""
    lines = docker.capture_buildx("inspect", hint=HINT).splitlines()
    platforms = next((line.partition(":")[2] for line in lines if line.startswith("Platforms:")), "")
    return tuple(name.strip(" *") for name in platforms.split(","))


def platform_support(buildable: tuple[str, ...], handlers: Mapping[str, str]) -> tuple[PlatformSupport, ...]:
    """Return how binaries of each platform run.

    Args:
        buildable: the platforms that the engine lists for builds.
        handlers: the emulators that the kernel of this machine has registered.
    """
    return tuple(_support(platform, buildable, handlers) for platform in Platform)


def _support(platform: Platform, buildable: tuple[str, ...], handlers: Mapping[str, str]) -> PlatformSupport:
    if platform is native_platform():
        return PlatformSupport(platform=platform.value, support="native", emulator="")
    emulator = emulation.handler(handlers, platform) or ""
    support = "emulated" if emulator or platform.value in buildable else "none"
    return PlatformSupport(platform=platform.value, support=support, emulator=emulator)


def disk_uses(text: str) -> tuple[DiskUse, ...]:
    """Return the disk space in use, given lines of `docker system df`: the kind, a tab and a size such as 1.5GB."""
    rows = (line.partition("\t")[::2] for line in text.splitlines())
    return tuple(DiskUse(kind=kind, bytes=_bytes(size)) for kind, size in rows)


def _bytes(size: str) -> int:
    number = size.rstrip("BkMGTP")
    return round(float(number) * UNITS[size.removeprefix(number)])
