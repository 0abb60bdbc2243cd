"""Diagnosis of a failed build: which image or source could not be had.

What the engine says of it ends in a socket's error. Here is said which registry, why it is needed, and what to do.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import CommandFailedError, DownloadError, UnreachableError
from dynamo_containers.facts import image_inputs, image_reference, mirrors
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.platforms import native_platform
from dynamo_containers.upstream import git, registry
from dynamo_containers.upstream.registry import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dynamo_containers.plan.request import Request
    from dynamo_containers.plan.source_builds import Source

OTHER_BYTES = re.compile(r"unexpected digest: (sha256:[0-9a-f]{64})")
"""How buildx says what came instead of what was asked for by digest."""
GIT_SECONDS = 30
"""How long a repository may take to hand out one commit without its history."""
HOW = "Build where it can be reached, or name a mirror that has the same image: docs/how-to/mirrors.md"


@contextmanager
def explained(request: Request, buildx: Callable[[], tuple[str, ...]]) -> Iterator[None]:
    """Tell a build that failed from one whose root images no registry, or whose sources no repository handed out.

    Args:
        request: what is built.
        buildx: returns the words that call buildx; only called when something failed.

    Raises:
        DownloadError: a command failed, and an image or a commit is not to be had, or an image is not the pinned one.
    """
    try:
        yield
    except CommandFailedError as error:
        needed = images(request)
        faults = _faults(RegistryClient(buildx=buildx()), needed) if needed else []
        if faults:
            raise DownloadError("\n".join((str(error), *faults, HOW))) from None
        faults = source_faults(request.sources)
        if faults:
            raise DownloadError("\n".join((str(error), *faults))) from None
        raise


def _faults(client: RegistryClient, needed: Mapping[str, str]) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor  # a build that succeeds, even a no-op, shall not wait for it

    with ThreadPoolExecutor(len(needed)) as pool:
        return [fault for fault in pool.map(lambda name: _fault(client, name, needed[name]), needed) if fault]


def images(request: Request) -> Mapping[str, str]:
    """Return the images of registries that a request stands on (HOST/NAME@DIGEST), each with what it is for."""
    pins, bases = request.catalogue.pins, request.bases
    roles = {role for image in request.images for role in image_inputs.root_roles(image, request.stage)}
    pairs = [(role, each) for role in bases.registry_roots if role in roles for each in request.platforms]
    pairs += [("builder", native_platform())] if "builder" in bases.registry_roots else []
    needed = {
        image_reference.root_context(pins, bases, role, platform): f"the {role} root image of the {bases.name} bases"
        for role, platform in pairs
    }
    for image in request.images:
        if image.install_from is InstallFrom.IMAGE:
            needed |= {
                image_reference.engine_context(pins, image, each): f"the image that {image.name} stands on"
                for each in request.platforms
            }
    return {context.removeprefix("docker-image://"): what for context, what in needed.items()}


def _fault(client: RegistryClient, name: str, what: str) -> str:
    """Return why an image is not to be had; '' when it is."""
    shown = mirrors.describe(name, mirrors.configured().image(name))
    try:
        found = registry.inspect(client, name)
    except UnreachableError as error:
        other = OTHER_BYTES.search(str(error))
        if other:
            return f"The registry has other bytes for {shown}: {other[1]}.\nIt is {what}, and nothing of it was used."
        return f"No registry handed out {shown}: {error}.\nIt is {what}."
    return "" if found else f"The registry says that there is no {shown}.\nIt is {what}."


def source_faults(sources: Mapping[str, Source]) -> list[str]:
    """Return what is wrong with the repositories of some sources; nothing where each has its commit."""
    faults = (_source_fault(name, source) for name, source in sources.items() if not source.local)
    return [fault for fault in faults if fault]


def _source_fault(name: str, source: Source) -> str:
    public, _, commit = source.context.rpartition("#")
    used = mirrors.configured().address(public)
    shown = mirrors.describe(public, used)
    try:
        if git.has_commit(used, commit, GIT_SECONDS):
            return ""
    except process.TooSlowError:
        return f"{shown} did not hand out commit {commit} within {GIT_SECONDS} s, from which {name} is built."
    except UnreachableError as error:
        return (
            f"{shown} cannot be read, from which {name} is to be built: {error}.\n"
            f"Build where it can be reached, from a checkout (--{name}-source FOLDER), "
            "or name a mirror: docs/how-to/mirrors.md"
        )
    return (
        f"{shown} has no commit {commit}, from which {name} is to be built: it was never pushed there, or "
        f"it is of another repository.\nSee which commits it has: git ls-remote {public}\n"
        f"Then name one: --{name}-source {public}#COMMIT, or after a new tag: invoke lock --only archives"
    )
