"""Endpoint of the Docker Engine in use, chosen from variables, files and sockets.

Every task asks this before it calls docker, so it must cost next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from dynamo_containers.errors import NoEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.engine.paths import Place

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
    """An engine that could be used: the address it is known by and whether something answers there."""

    host: str
    answers: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a machine shows of engines. None: not set, or not there."""

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
        """Say whether it runs on this machine's own kernel, as far as its address tells."""
        return self.host.startswith(UNIX)


def choose(seen: Seen) -> Endpoint | None:
    """Return the engine to use: what the user named, the private one, the user's own by default; None: there is none.

    Raises:
        NoEngineError: the engine that the user named does not answer. Another one is never taken in its place.
    """
    for variable, named in (("DOCKER_HOST", seen.docker_host), ("DOCKER_CONTEXT", seen.docker_context)):
        if named:
            return _named(variable, named)
    for candidate, reason in (
        (seen.private, "the private engine of this checkout runs"),
        (seen.current_context, "the docker CLI's current context names it"),
        (seen.default, "it answers at the default address"),
    ):
        if candidate and candidate.answers:
            return Endpoint(host=candidate.host, private=candidate is seen.private, reason=reason)
    return None


def _named(variable: str, named: Candidate) -> Endpoint:
    if not named.answers:
        message = (
            f"{variable} names the Docker Engine at {named.host}, but nothing answers there.\n"
            f"Start that engine, or `unset {variable}` and run: invoke engine.up"
        )
        raise NoEngineError(message)
    return Endpoint(host=named.host, private=False, reason=f"{variable} names it")


def look(place: Place, variables: Mapping[str, str] = os.environ) -> Seen:
    """Look at the variables, the docker CLI's configuration and the sockets."""
    config = config_folder(variables)
    current = str(read_config(config).get("currentContext", ""))
    host, context = variables.get("DOCKER_HOST", ""), variables.get("DOCKER_CONTEXT", "")
    return Seen(
        # A shell in which our own `environment` was set names the private engine, which may have to be started again.
        docker_host=_candidate(host) if host not in ("", place.host) else None,
        docker_context=_candidate(context_host(config, context)) if context else None,
        private=_candidate(place.host),
        current_context=_candidate(context_host(config, current)) if current not in ("", DEFAULT_CONTEXT) else None,
        default=_candidate(f"{UNIX}{DEFAULT_SOCKET}"),
    )


def _candidate(host: str) -> Candidate:
    return Candidate(host=host, answers=answers(host))


def answers(host: str) -> bool:
    """Try an address; one that is no unix socket is taken to answer, since asking it could take seconds."""
    return not host.startswith(UNIX) or accepts(Path(host.removeprefix(UNIX)))


def accepts(path: Path) -> bool:
    """Say whether something listens at a unix socket and lets us in."""
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
    """Return the docker CLI's configuration; what is missing or broken is docker's to complain about, not ours."""
    try:
        content = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def context_host(config: Path, context: str) -> str:
    """Return the address that a docker context stands for (docker/cli: cli/context/store)."""
    if context == DEFAULT_CONTEXT:
        return f"{UNIX}{DEFAULT_SOCKET}"
    folder = config / "contexts/meta" / hashlib.sha256(context.encode()).hexdigest()
    try:
        return str(json.loads((folder / "meta.json").read_bytes())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"context {context}"


def required(endpoint: Endpoint | None, default: Path = DEFAULT_SOCKET) -> Endpoint:
    """Return the endpoint.

    Raises:
        NoEngineError: there is none.
    """
    if endpoint:
        return endpoint
    refused = f"{default} exists but does not let you in (is its daemon running, are you in the group docker?)"
    message = (
        "No Docker Engine answers: neither DOCKER_HOST nor a docker context names one, no private engine of this "
        f"checkout runs, and {refused if default.exists() else f'there is no {default}'}.\n"
        "Start a private engine (Debian, as root): invoke engine.up\n"
        f"Or install Docker: {INSTALL}"
    )
    raise NoEngineError(message)


def plugin_folders(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the plugin folders that a configuration of the docker CLI adds."""
    folders = config.get("cliPluginsExtraDirs")
    return tuple(map(str, folders)) if isinstance(folders, list) else ()


def has_tools(variables: Mapping[str, str]) -> bool:
    """Say whether the user's own docker CLI and buildx are installed."""
    return which("docker", path=variables.get("PATH")) is not None and buildx_plugin(variables) is not None


def buildx_plugin(variables: Mapping[str, str]) -> Path | None:
    """Return the buildx that the docker CLI would run as `docker buildx`."""
    config = config_folder(variables)
    folders = (config / "cli-plugins", *map(Path, plugin_folders(read_config(config))), *PLUGIN_FOLDERS)
    return next((it / BUILDX for it in folders if (it / BUILDX).exists()), None)


def buildx_call(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the beginning of a buildx call, given the variables of `environment`.

    It is the plugin itself where it can be found. The plugin is a binary of its own, and calling it is a third faster
    than `docker buildx`, where the docker CLI first queries every plugin.
    """
    plugin = buildx_plugin({**os.environ, **environment})
    return (str(plugin),) if plugin else ("docker", "buildx")


def private_tools(place: Place, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables under which `docker` and its buildx are the private ones."""
    programs, path = str(place.client / PRIVATE_PROGRAMS), variables.get("PATH", os.defpath)
    return {
        "DOCKER_CONFIG": str(place.docker_config),
        "PATH": path if path.split(os.pathsep)[0] == programs else f"{programs}{os.pathsep}{path}",
    }


def environment(place: Place, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what must be added to the environment of every docker call.

    Raises:
        NoEngineError: no engine answers, or there is no docker CLI with buildx to ask it.
    """
    endpoint = required(choose(look(place, variables)))
    if endpoint.private:
        return {"DOCKER_HOST": endpoint.host, **private_tools(place, variables)}
    if has_tools(variables):
        return {}
    if (place.client / PRIVATE_PLUGINS / BUILDX).exists():
        return private_tools(place, variables)
    message = (
        f"The Docker Engine at {endpoint.host} answers, but there is no `docker` command with buildx to ask it.\n"
        f"Get them privately (Debian): invoke engine.up\nOr install them: {INSTALL}"
    )
    raise NoEngineError(message)
