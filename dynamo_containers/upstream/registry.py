"""Manifests of a registry, read through buildx: it needs no engine and has the user's credentials.

`docker buildx imagetools inspect` talks to the registry itself: HTTPS, or HTTP on loopback as every docker tool does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process
from dynamo_containers.errors import UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import unreachable
from dynamo_containers.value_types import DIGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST = re.compile(r'^failed to do request: \w+ "[^"]*": ')
"""What buildx writes before the reason; it repeats the reference, which our message already has."""
SECONDS = 8
"""Timeout of a query: a manifest is only a few kilobytes."""


@dataclass(frozen=True, kw_only=True)
class RemoteImage:
    """An image of a registry."""

    digest: str
    """The digest of its index, or of its manifest where it has one platform."""
    platforms: Mapping[Platform, str]
    """The digests of the manifests in its index; empty for an image of one platform."""


@dataclass(frozen=True, kw_only=True)
class RegistryClient:
    """The call of buildx, which talks to registries."""

    buildx: tuple[str, ...]
    """The beginning of the command line."""
    seconds: float = SECONDS
    """Timeout of a query."""


def inspect(client: RegistryClient, reference: str) -> RemoteImage | None:
    """Return the image that a reference names now; None if its registry has no such image.

    Raises:
        UnreachableError: the registry did not answer; with the reason in one line.
    """
    source = mirrors.configured().image(reference)
    argv = (*client.buildx, "imagetools", "inspect", "--format", "{{json .Manifest}}", source)
    try:
        finished = process.query(process.Command(argv=argv), seconds=client.seconds)
    except process.TooSlowError:
        message = f"no answer within {client.seconds:.0f} s"
        raise UnreachableError(message) from None
    if finished.returncode == 0:
        return _read(finished.stdout)
    reason = unreachable.one_line(finished.stderr)
    if reason.endswith(f"{source}: not found"):
        return None
    raise UnreachableError(REQUEST.sub("", reason))


def _read(text: str) -> RemoteImage:
    try:
        return parse(text)
    except (ValueError, KeyError, TypeError, AttributeError):
        message = "buildx did not return a manifest; it must be version 0.8 or newer"
        raise UnreachableError(message) from None


def parse(text: str) -> RemoteImage:
    """Read a descriptor with its manifests (https://github.com/opencontainers/image-spec/blob/main/image-index.md)."""
    content = file_reader.parse_json(text)
    supported = {platform.value: platform for platform in Platform}
    platforms: dict[Platform, str] = {}
    for manifest in content.get("manifests", []):
        described = manifest.get("platform", {})  # of an attestation it is unknown/unknown
        platform = supported.get(f"{described.get('os')}/{described.get('architecture')}")
        if platform:
            platforms.setdefault(platform, DIGEST.parse(manifest["digest"]))
    return RemoteImage(digest=DIGEST.parse(content["digest"]), platforms=platforms)
