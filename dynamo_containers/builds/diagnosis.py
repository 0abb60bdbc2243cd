"""Diagnosis of a failed build: which image or source was unavailable.

The engine's own message ends in an error of a socket. The message here names the registry or repository, why the build
needs it, and what to do.
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
"""Error of buildx about content with another digest than the requested one."""
GIT_SECONDS = 30
"""Time limit for a fetch of one commit without its history."""
ADVICE = "Build where the registry can be reached, or name a mirror that has the same image: docs/how-to/mirrors.md"


@contextmanager
def explained(request: Request, buildx: Callable[[], tuple[str, ...]]) -> Iterator[None]:
    """Explain a failed build whose images no registry has, or whose commits no repository has.

    Args:
        request: what is built.
        buildx: returns the command line of buildx; it is called after a failure only.

    Raises:
        DownloadError: a command failed, and an image or commit is unavailable, or an image is not the pinned one.
    """
    try:
        yield
    except CommandFailedError as error:
        purposes = registry_images(request)
        faults = _faults(RegistryClient(buildx=buildx()), purposes) if purposes else []
        if faults:
            raise DownloadError("\n".join((str(error), *faults, ADVICE))) from None
        faults = source_faults(request.sources)
        if faults:
            raise DownloadError("\n".join((str(error), *faults))) from None
        raise


def _faults(client: RegistryClient, purposes: Mapping[str, str]) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor  # a no-op starts faster without it

    with ThreadPoolExecutor(len(purposes)) as pool:
        return [fault for fault in pool.map(lambda name: _fault(client, name, purposes[name]), purposes) if fault]


def registry_images(request: Request) -> Mapping[str, str]:
    """Return image of a registry (HOST/NAME@DIGEST) -> its purpose, for the images on which a request is based."""
    pins, bases = request.catalogue.pins, request.bases
    roles = {role for image in request.images for role in image_inputs.root_roles(image, request.stage)}
    pairs = [(role, platform) for role in bases.registry_roots if role in roles for platform in request.platforms]
    pairs += [("builder", native_platform())] if "builder" in bases.registry_roots else []
    purposes = {
        image_reference.root_context(pins, bases, role, platform): f"the {role} root image of the {bases.name} bases"
        for role, platform in pairs
    }
    for image in request.images:
        if image.install_from is InstallFrom.IMAGE:
            purposes |= {
                image_reference.engine_context(pins, image, platform): f"the image on which {image.name} is based"
                for platform in request.platforms
            }
    return {context.removeprefix("docker-image://"): purpose for context, purpose in purposes.items()}


def _fault(client: RegistryClient, name: str, purpose: str) -> str:
    """Return why an image is unavailable; '' for an available one."""
    shown = mirrors.describe(name, mirrors.configured().image(name))
    try:
        manifest = registry.inspect(client, name)
    except UnreachableError as error:
        other = OTHER_BYTES.search(str(error))
        if other:
            return f"The registry has other bytes for {shown}: {other[1]}.\nIt is {purpose}. Nothing of it was used."
        return f"No registry served {shown}: {error}.\nIt is {purpose}."
    return "" if manifest else f"The registry does not have {shown}.\nIt is {purpose}."


def source_faults(sources: Mapping[str, Source]) -> list[str]:
    """Return the faults of the repositories of sources; [] where each has its commit."""
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
        return f"{name} is built from commit {commit}, which {shown} did not serve within {GIT_SECONDS} s."
    except UnreachableError as error:
        return (
            f"{name} is built from {shown}, which cannot be read: {error}.\n"
            f"Build where it can be reached, build from a checkout (--{name}-source FOLDER), "
            "or name a mirror: docs/how-to/mirrors.md"
        )
    return (
        f"{name} is built from commit {commit}, which {shown} does not have: it was never pushed there, or "
        f"it belongs to another repository.\nSee which commits it has: git ls-remote {public}\n"
        f"Then name one: --{name}-source {public}#COMMIT, or after a new tag: invoke lock --only archives"
    )
