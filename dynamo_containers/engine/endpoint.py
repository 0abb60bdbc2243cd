"""Endpoint of the Docker Engine in use, chosen from variables, files and sockets.

Every task uses this module before it calls docker, so it must be fast.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.errors import NoEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.engine.paths import EnginePaths

DEFAULT_SOCKET = Path("/var/run/docker.sock")
INSTALL = "https://docs.docker.com/engine/install/"
UNIX = "unix://"
DEFAULT_CONTEXT = "default"
PLUGIN_FOLDERS = (  # where the docker CLI looks (docker/cli: cli-plugins/manager/manager_unix.go)
    Path("/usr/local/lib/docker/cli-plugins"),
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
)
BUILDX = "docker-buildx"
PRIVATE_PLUGINS = Path("usr/libexec/docker/cli-plugins")
PRIVATE_PROGRAMS = Path("usr/bin")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An engine that may be used: its address, and whether it answers there."""

    host: str
    answers: bool


@dataclass(frozen=True, kw_only=True)
class EngineCandidates:
    """The engines that a machine is configured for. None: not set, or not found."""

    private: Candidate
    default: Candidate
    docker_host: Candidate | None = None
    docker_context: Candidate | None = None
    current_context: Candidate | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The engine that is used."""

    host: str
    private: bool
    reason: str
    """Why this engine is used and not another one."""

    @property
    def local(self) -> bool:
        """Say whether its address is on this machine."""
        return self.host.startswith(UNIX)


def choose(candidates: EngineCandidates) -> Endpoint | None:
    """Return the engine to use: the one that the user named, the private one, or the default; None if there is none.

    Raises:
        NoEngineError: the engine that the user named does not answer. No other engine is used instead.
    """
    for variable, named in (("DOCKER_HOST", candidates.docker_host), ("DOCKER_CONTEXT", candidates.docker_context)):
        if named:
            return _named(variable, named)
    for candidate, reason in (
        (candidates.private, "the private engine of this checkout runs"),
        (candidates.current_context, "the docker CLI's current context names it"),
        (candidates.default, "it answers at the default address"),
    ):
        if candidate and candidate.answers:
            return Endpoint(host=candidate.host, private=candidate is candidates.private, reason=reason)
    return None


def _named(variable: str, named: Candidate) -> Endpoint:
    if not named.answers:
        message = (
            f"{variable} names the Docker Engine at {named.host}, but nothing answers there.\n"
            f"Start that engine, or `unset {variable}` and run: invoke engine.up"
        )
        raise NoEngineError(message)
    return Endpoint(host=named.host, private=False, reason=f"{variable} names it")


def detect(paths: EnginePaths, variables: Mapping[str, str] = os.environ) -> EngineCandidates:
    """Find engines in the variables, the configuration of the docker CLI, and the sockets."""
    config = config_folder(variables)
    current = str(read_config(config).get("currentContext", ""))
    host, context = variables.get("DOCKER_HOST", ""), variables.get("DOCKER_CONTEXT", "")
    return EngineCandidates(
        # After `invoke engine.environment` a shell names the private engine, which may have to be started again.
        docker_host=_candidate(host) if host not in ("", paths.host) else None,
        docker_context=_candidate(context_host(config, context)) if context else None,
        private=_candidate(paths.host),
        current_context=_candidate(context_host(config, current)) if current not in ("", DEFAULT_CONTEXT) else None,
        default=_candidate(f"{UNIX}{DEFAULT_SOCKET}"),
    )


def _candidate(host: str) -> Candidate:
    return Candidate(host=host, answers=answers(host))


def answers(host: str) -> bool:
    """Say whether an engine answers; other addresses than unix sockets are assumed to, as a query is slow."""
    return not host.startswith(UNIX) or accepts_connections(Path(host.removeprefix(UNIX)))


def accepts_connections(path: Path) -> bool:
    """Say whether a unix socket accepts our connections."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def config_folder(variables: Mapping[str, str]) -> Path:
    """Return the folder of the docker CLI's configuration."""
    return Path(variables.get("DOCKER_CONFIG") or Path.home() / ".docker")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of the docker CLI; empty if it is missing or invalid, which docker itself reports."""
    content = file_reader.cached_json(folder / "config.json")
    return content if isinstance(content, dict) else {}


def context_host(config: Path, context: str) -> str:
    """Return the address of a docker context (docker/cli: cli/context/store)."""
    if context == DEFAULT_CONTEXT:
        return f"{UNIX}{DEFAULT_SOCKET}"
    folder = config / "contexts/meta" / hashlib.sha256(context.encode()).hexdigest()
    try:
        return str(file_reader.cached_json(folder / "meta.json")["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError):
        return f"context {context}"


def require(endpoint: Endpoint | None, default: Path = DEFAULT_SOCKET) -> Endpoint:
    """Return the endpoint of the engine.

    Raises:
        NoEngineError: there is no engine.
    """
    if endpoint:
        return endpoint
    refused = (
        f"{default} does not accept connections (check that its daemon runs, and that you are in the group docker)"
    )
    message = (
        "No Docker Engine answers: neither DOCKER_HOST nor a docker context names one, the private engine of this "
        f"checkout does not run, and {refused if default.exists() else f'{default} does not exist'}.\n"
        "Start a private engine (Debian, as root): invoke engine.up\n"
        f"Or install Docker: {INSTALL}"
    )
    raise NoEngineError(message)


def plugin_folders(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the additional plugin folders in a configuration of the docker CLI."""
    folders = config.get("cliPluginsExtraDirs")
    return tuple(map(str, folders)) if isinstance(folders, list) else ()


def has_tools(variables: Mapping[str, str]) -> bool:
    """Say whether the docker CLI and buildx of the user are installed."""
    return which("docker", path=variables.get("PATH")) is not None and buildx_plugin(variables) is not None


def buildx_plugin(variables: Mapping[str, str]) -> Path | None:
    """Return the path of the buildx plugin that `docker buildx` runs; None if there is none."""
    config = config_folder(variables)
    folders = (config / "cli-plugins", *map(Path, plugin_folders(read_config(config))), *PLUGIN_FOLDERS)
    return next((folder / BUILDX for folder in folders if (folder / BUILDX).exists()), None)


def buildx_call(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the beginning of a buildx call, given the variables of `environment`.

    It is the plugin itself where it can be found. The plugin is a binary of its own, and calling it is a third faster
    than `docker buildx`, where the docker CLI first queries every plugin.
    """
    plugin = buildx_plugin({**os.environ, **environment})
    return (str(plugin),) if plugin else ("docker", "buildx")


def private_tools(paths: EnginePaths, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make `docker` the private CLI with the private buildx."""
    programs, path = str(paths.client / PRIVATE_PROGRAMS), variables.get("PATH", os.defpath)
    return {
        "DOCKER_CONFIG": str(paths.docker_config),
        "PATH": path if path.split(os.pathsep)[0] == programs else f"{programs}{os.pathsep}{path}",
    }


def environment(paths: EnginePaths, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to add to the environment of every docker call.

    Raises:
        NoEngineError: no engine answers, or there is no docker CLI with buildx.
    """
    endpoint = require(choose(detect(paths, variables)))
    if endpoint.private:
        return {"DOCKER_HOST": endpoint.host, **private_tools(paths, variables)}
    if has_tools(variables):
        return {}
    if (paths.client / PRIVATE_PLUGINS / BUILDX).exists():
        return private_tools(paths, variables)
    message = (
        f"The Docker Engine at {endpoint.host} answers, but `docker` with buildx is not installed.\n"
        f"Install them for this checkout only (Debian): invoke engine.up\nOr for all: {INSTALL}"
    )
    raise NoEngineError(message)


def connect(paths: EnginePaths) -> Docker:
    """Return docker and buildx for the engine in use.

    Raises:
        NoEngineError: there is no engine, or no docker CLI with buildx; the message names the command to run.
    """
    from dynamo_containers.docker_cli import Docker  # who only needs the variables starts no process

    variables = environment(paths)
    return Docker(environment=variables, buildx=buildx_call(variables))
