"""Packages that a root image of a registry has installed, read by one build.

The installed packages and the keys that its own apt trusts are read once and kept below .build: the image is pinned by
digest, so they cannot change. Its own dnf is queried each time (lock/os/rpm.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dynamo_containers import engine, integrity, process, spelling, state
from dynamo_containers.errors import LockError, NoEngineError, UnreachableError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.lock.images import UPGRADE
from dynamo_containers.plan import bake, source_policy
from dynamo_containers.platforms import native_platform
from dynamo_containers.upstream import registry
from dynamo_containers.upstream.registry import RegistryClient
from dynamo_containers.upstream.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

TARGET = "os-installed"
"""The folder of containers/ whose Dockerfile reads them."""


@dataclass(frozen=True, kw_only=True)
class InstalledPackages:
    """Files that were read from an image."""

    status: Path
    """dpkg's status file: every installed package."""
    keyring: Path
    """Keys that its apt trusts."""


@dataclass(frozen=True, kw_only=True)
class ImageQuery:
    """A build on an image whose result is a folder on this machine."""

    image: str
    """Reference of the image by digest."""
    target: str
    """The folder of containers/ with its Dockerfile."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    runs_binaries: bool = False
    """Whether it runs binaries of the image: on the image's platform, and never from the cache."""
    hint: str
    """Next step for a person when the build fails."""


def read(folder: Path, lock: OsLock, pins: Pins) -> InstalledPackages:
    """Return the packages that are installed in the root image of a lock; it is read once.

    Raises:
        LockError: the image is not pinned, its pin is stale, or its registry does not have it.
        UnreachableError: no engine runs, or the registry did not answer; the reason in one line.
        CommandFailedError: the engine cannot read the image, or the image lacks these files.
    """
    image = pinned_reference(lock, pins)
    query = ImageQuery(
        image=image,
        target=TARGET,
        arguments={"KEYRING": lock.archive.keyring},
        hint=f"{lock.file} depends on the packages in that image. Is it an image of {lock.root.suite}?",
    )
    output = (
        folder
        / state.INSTALLED_PACKAGES
        / f"{image.rpartition(':')[2][:32]}-{lock.platform.arch}-{_short(lock.archive.keyring)}"
    )
    integrity.provide(output, lambda partial: run_query(folder, lock, query, partial))
    return InstalledPackages(status=output / "status", keyring=output / "keyring.gpg")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def pinned_reference(lock: OsLock, pins: Pins) -> str:
    """Return the reference of a lock's root image by digest; LockError as in `read`."""
    return image_reference.root_context(pins, lock.bases, lock.role, lock.platform).removeprefix("docker-image://")


def run_query(folder: Path, lock: OsLock, query: ImageQuery, output: Path) -> None:
    """Build the answer of a root image into a folder; errors as in `read`."""
    shown = mirrors.describe(query.image, mirrors.configured().image(query.image))
    # Before the engine: its messages about a registry are errors of sockets.
    if registry.inspect(RegistryClient(buildx=engine.client_buildx(folder)), query.image) is None:
        message = f"The registry does not have {shown}.\nPin the current digest of its tag: {UPGRADE}"
        raise LockError(message)
    try:
        docker = engine.docker(folder)
    except NoEngineError:
        message = "no Docker Engine runs to read it: invoke engine.up"
        raise UnreachableError(message) from None
    if query.runs_binaries and lock.platform is not native_platform():
        _emulate(folder, lock.platform)
    process.execute(query_plan(folder, lock, query, output, docker))


def _emulate(folder: Path, platform: Platform) -> None:
    try:
        engine.emulate(folder, (platform,))
    except NoEngineError as error:
        raise UnreachableError(one_line(str(error))) from None


def query_plan(folder: Path, lock: OsLock, query: ImageQuery, output: Path, docker: Docker) -> process.Plan:
    """Return the bake document that queries an image, its source policy, and the command."""
    path = folder / state.query_document(query.target, lock.layer)
    policy = state.source_policy(path)
    document = {
        "target": {
            "default": {
                "args": dict(query.arguments),
                "attest": ["type=provenance,disabled=true"],
                "context": str(folder / "containers" / query.target),
                "contexts": {"root": f"docker-image://{query.image}", **query.contexts},
                "no-cache": query.runs_binaries,
                "output": [spelling.attributes(type="local", dest=str(output))],
                "platforms": [lock.platform.value],
                "secret": list(query.secrets),
            }
        }
    }
    rules = source_policy.image_policy(query.image, mirrors.configured().image(query.image))
    readable = (folder, *(spelling.attribute(secret, "src") for secret in query.secrets))
    allowed = (*(f"--allow=fs.read={path}" for path in readable), f"--allow=fs.write={output}")
    command = docker.buildx_command("bake", *allowed, "--file", str(path), hint=query.hint)
    command = replace(command, env={**command.env, **bake.NO_PROVENANCE, source_policy.VARIABLE: str(policy)})
    documents = ((path, bake.render(document)), (policy, json.dumps(rules, indent=2, sort_keys=True) + "\n"))
    return process.Plan(
        documents=tuple(process.Document(path=file, text=text) for file, text in documents),
        commands=(command,),
    )
