"""Text of `invoke engine.status`: which engine is used, and what it can run."""

from __future__ import annotations

import json
from shutil import disk_usage
from typing import TYPE_CHECKING, Any

from dynamo_containers import process
from dynamo_containers.engine import daemon, emulation, endpoint
from dynamo_containers.platforms import Platform, native_platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.engine.paths import Place

CONTAINERD_STORE = "io.containerd.snapshotter.v1"


def status(place: Place) -> str:
    """Ask the engine and describe it."""
    daemon.sweep_dead(place)
    used = endpoint.required(endpoint.choose(endpoint.look(place)))
    variables = endpoint.environment(place)
    info = json.loads(_docker(variables, "info", "--format", "{{json .}}"))
    rows = {
        "engine": f"{'private' if used.private else 'your own'}, because {used.why}",
        "address": used.host,
        "versions": _versions(info, variables),
        "images": images(info),
        "platforms": ", ".join(platform_lines(engine_platforms(variables), emulation.entries())),
        "data": str(info["DockerRootDir"]),
        "disk": _disk(place, used, variables),
    }
    if used.private:
        rows["log"] = str(place.log)
        rows["ports"] = f"published in the engine's own network: {' '.join(daemon.network(place))} curl localhost:PORT"
    return "".join(f"{name:<10} {text}\n" for name, text in rows.items()).rstrip()


def _docker(variables: Mapping[str, str], *arguments: str) -> str:
    hint = "The engine answers but does not do what is asked. See: invoke engine.status"
    return process.capture(process.Command(argv=("docker", *arguments), env=variables, hint=hint)).strip()


def _versions(info: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    client, buildx = info["ClientInfo"]["Version"], _docker(variables, "buildx", "version").split()[1]
    return f"engine {info['ServerVersion']}, client {client}, buildx {buildx}"


def images(info: Mapping[str, Any]) -> str:
    """Say which image store the engine has."""
    if ["driver-type", CONTAINERD_STORE] in (info.get("DriverStatus") or []):
        return "containerd image store (images of several platforms can be kept)"
    return "classic store (images of several platforms cannot be kept; see the feature containerd-snapshotter)"


def keeps_several_platforms(variables: Mapping[str, str]) -> bool:
    """Say whether the engine uses containerd's image store."""
    return CONTAINERD_STORE in _docker(variables, "info", "--format", "{{json .DriverStatus}}")


def engine_platforms(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the platforms that the engine says it can build for."""
    lines = _docker(variables, "buildx", "inspect").splitlines()
    listed = next((line.partition(":")[2] for line in lines if line.startswith("Platforms:")), "")
    return tuple(name.strip(" *") for name in listed.split(","))


def platform_lines(able: tuple[str, ...], handlers: Mapping[str, str]) -> tuple[str, ...]:
    """Say of each platform whether, and how, its programs run."""
    return tuple(f"{platform.value} {_how(platform, able, handlers)}" for platform in Platform)


def _how(platform: Platform, able: tuple[str, ...], handlers: Mapping[str, str]) -> str:
    if platform is native_platform():
        return "native"
    name = emulation.handler(handlers, platform)
    if name:
        return f"emulated ({name})"
    if platform.value in able:
        return "emulated by the engine"
    return f"no (invoke engine.up --platform {platform.value})"


def _disk(place: Place, used: endpoint.Endpoint, variables: Mapping[str, str]) -> str:
    sizes = _docker(variables, "system", "df", "--format", "{{.Type}} {{.Size}}").splitlines()
    free = f", {disk_usage(place.data).free / 1e9:.0f} GB free" if used.private else ""
    return ", ".join(sizes) + free
