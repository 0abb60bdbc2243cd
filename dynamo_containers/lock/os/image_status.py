"""Packages that a root image of a registry has installed, read in one build step.

What is installed in it and which keys its own apt trusts is read once: the image is named by digest, so that stays
true, and stands below .build under that digest. Its own dnf is asked each time (lock/os/rpm.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers import engine, process
from dynamo_containers.errors import LockError, NoEngineError, UnreachableError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.lock.images import UPGRADE
from dynamo_containers.plan import bake, source_policy
from dynamo_containers.platforms import native_platform
from dynamo_containers.upstream import host_tools, registry
from dynamo_containers.upstream.registry import Client
from dynamo_containers.upstream.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.platforms import Platform

STEP = "os-installed"
"""The folder of containers/ that reads them."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Files that were read of an image."""

    status: Path
    """dpkg's: every package that is installed."""
    keyring: Path


@dataclass(frozen=True, kw_only=True)
class Question:
    """A step of a build on an image, whose result is a folder of this machine."""

    step: str
    """The folder of containers/ that it is."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    runs: bool = False
    """Whether programs of the image answer: on its platform, and maybe another thing than last time."""
    hint: str
    """What to look at where the step fails."""


def read(folder: Path, lock: OsLock, pins: Pins) -> Installed:
    """Return what is installed in the root image of a lock, asking its registry unless that was done before.

    Raises:
        LockError: the image is not pinned, its pin is stale, or its registry says that there is none.
        UnreachableError: there is no engine, or the registry did not answer; why, in one line.
        CommandFailedError: the engine could not read it, or it has no such files.
    """
    image = named(lock, pins)
    question = Question(
        step=STEP,
        arguments={"KEYRING": lock.archive.keyring},
        hint=f"{lock.file} is made from what is installed in that image. Is it one of {lock.root.suite}?",
    )
    place = (
        folder
        / ".build"
        / STEP
        / f"{image.rpartition(':')[2][:32]}-{lock.platform.arch}-{_short(lock.archive.keyring)}"
    )
    host_tools.provide(place, lambda partial: ask(folder, lock, image, question, partial))
    return Installed(status=place / "status", keyring=place / "keyring.gpg")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def named(lock: OsLock, pins: Pins) -> str:
    """Return the root image of a lock as a registry knows it, by digest; LockError as in `read`."""
    return image_reference.source(pins, lock.bases, lock.role, lock.platform).removeprefix("docker-image://")


def ask(folder: Path, lock: OsLock, image: str, question: Question, target: Path) -> None:
    """Have the engine put the answer of a root image into a folder; the same errors as `read`."""
    shown = mirrors.said(image, mirrors.here().image(image))
    # Before the engine is: what it says of a registry ends in a socket's error.
    if registry.look(Client(buildx=engine.client_buildx(folder)), image) is None:
        message = f"The registry says that there is no {shown}.\nPin what its tag is now: {UPGRADE}"
        raise LockError(message)
    try:
        environment = engine.environment(folder)
    except NoEngineError:
        message = "no Docker Engine to read it with: invoke engine.up"
        raise UnreachableError(message) from None
    if question.runs and lock.platform is not native_platform():
        _emulate(folder, lock.platform)
    process.execute(planned(folder, lock, image, question, target, environment, engine.buildx(environment)))


def _emulate(folder: Path, platform: Platform) -> None:
    try:
        engine.emulate(folder, (platform,))
    except NoEngineError as error:
        raise UnreachableError(one_line(str(error))) from None


def planned(  # noqa: PLR0913, PLR0917 - what decides it
    folder: Path,
    lock: OsLock,
    image: str,
    question: Question,
    target: Path,
    environment: Mapping[str, str],
    buildx: tuple[str, ...],
) -> process.Plan:
    """Return the bake document that asks an image, its source policy, and the command."""
    path = folder / ".build" / f"bake-{question.step}-{lock.layer}.json"
    policy = path.with_name(f"policy-{path.name}")
    document = {
        "target": {
            "default": {
                "args": dict(question.arguments),
                "attest": ["type=provenance,disabled=true"],
                "context": str(folder / "containers" / question.step),
                "contexts": {"root": f"docker-image://{image}", **question.contexts},
                "no-cache": question.runs,
                "output": [f"type=local,dest={target}"],
                "platforms": [lock.platform.value],
                "secret": list(question.secrets),
            }
        }
    }
    rules = source_policy.of_image(image, mirrors.here().image(image))
    readable = (folder, *(secret.partition("src=")[2] for secret in question.secrets))
    allowed = (*(f"--allow=fs.read={path}" for path in readable), f"--allow=fs.write={target}")
    command = process.Command(
        argv=(*buildx, "bake", *allowed, "--file", str(path)),
        env={**environment, **bake.NO_PROVENANCE, source_policy.VARIABLE: str(policy)},
        hint=question.hint,
    )
    documents = ((path, document), (policy, rules))
    return process.Plan(
        documents=tuple(
            process.Document(path=file, text=json.dumps(content, indent=2, sort_keys=True) + "\n")
            for file, content in documents
        ),
        commands=(command,),
    )
