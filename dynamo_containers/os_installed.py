"""What is installed in a root image of a registry, and which keys does its own apt trust? Read by the engine, once.

The image is named by digest, so what was read of it stays true; it stands below .build under that digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import build, engine, host_tools, mirrors, pulled, registry, run, source_policy
from dynamo_containers.errors import LockError, NoEngineError, UnreachedError
from dynamo_containers.image_refresh import UPGRADE
from dynamo_containers.registry import Client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.os_lock import OsLock
    from dynamo_containers.pins import Pins

STEP = "os-installed"
"""The folder of containers/ that reads them."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Files that were read of an image."""

    status: Path
    """dpkg's: every package that is installed."""
    keyring: Path


def read(folder: Path, lock: OsLock, pins: Pins) -> Installed:
    """Return what is installed in the root image of a lock, asking its registry unless that was done before.

    Raises:
        LockError: the image is not pinned, its pin is stale, or its registry says that there is none.
        UnreachedError: there is no engine, or the registry did not answer; why, in one line.
        CommandFailedError: the engine could not read it, or it has no such files.
    """
    image = pulled.source(pins, lock.bases, lock.role, lock.platform).removeprefix("docker-image://")
    place = (
        folder
        / ".build"
        / STEP
        / f"{image.rpartition(':')[2][:32]}-{lock.platform.arch}-{_short(lock.archive.keyring)}"
    )
    host_tools.provide(place, lambda partial: _read(folder, lock, image, partial))
    return Installed(status=place / "status", keyring=place / "keyring.gpg")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read(folder: Path, lock: OsLock, image: str, partial: Path) -> None:
    shown = mirrors.said(image, mirrors.here().image(image))
    # Before the engine is: what it says of a registry ends in a socket's error.
    if registry.look(Client(buildx=engine.client_buildx(folder)), image) is None:
        message = f"The registry says that there is no {shown}.\nPin what its tag is now: {UPGRADE}"
        raise LockError(message)
    try:
        environment = engine.environment(folder)
    except NoEngineError:
        message = "no Docker Engine to read it with: invoke engine.up"
        raise UnreachedError(message) from None
    run.execute(planned(folder, lock, image, partial, environment, engine.buildx(environment)))


def planned(  # noqa: PLR0913, PLR0917 - what decides it
    folder: Path, lock: OsLock, image: str, target: Path, environment: Mapping[str, str], buildx: tuple[str, ...]
) -> run.Plan:
    """Return the bake document that reads an image into a folder, its source policy, and the command."""
    path = folder / ".build" / f"bake-{STEP}-{lock.layer}.json"
    policy = path.with_name(f"policy-{path.name}")
    document = {
        "target": {
            "default": {
                "args": {"KEYRING": lock.archive.keyring},
                "attest": ["type=provenance,disabled=true"],
                "context": str(folder / "containers" / STEP),
                "contexts": {"root": f"docker-image://{image}"},
                "output": [f"type=local,dest={target}"],
                "platforms": [lock.platform.value],
            }
        }
    }
    rules = source_policy.of_image(image, mirrors.here().image(image))
    allowed = (f"--allow=fs.read={folder}", f"--allow=fs.write={target}")
    command = run.Command(
        argv=(*buildx, "bake", *allowed, "--file", str(path)),
        env={**environment, **build.NO_PROVENANCE, source_policy.VARIABLE: str(policy)},
        hint=f"{lock.file} is made from what is installed in that image. Is it one of {lock.root.suite}?",
    )
    documents = ((path, document), (policy, rules))
    return run.Plan(
        documents=tuple(
            run.Document(path=file, text=json.dumps(content, indent=2, sort_keys=True) + "\n")
            for file, content in documents
        ),
        commands=(command,),
    )
