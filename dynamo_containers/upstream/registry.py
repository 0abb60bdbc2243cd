"""Manifests of a registry, read through buildx: it needs no engine and has the user's credentials.

`docker buildx imagetools inspect` talks to the registry itself: HTTPS, or HTTP on loopback as every docker tool does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST = re.compile(r'^failed to do request: \w+ "[^"]*": ')
"""What buildx puts before the reason; the table has the reference beside it."""
SECONDS = 8
"""How long one question may take: a manifest is a few kilobytes."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What stands behind a reference."""

    digest: str
    platforms: Mapping[Platform, str]
    """The manifests of an index; empty for an image of one platform."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """How buildx is called, and for how long."""

    buildx: tuple[str, ...]
    seconds: float = SECONDS


def look(client: Client, reference: str) -> Found | None:
    """Return what a reference means now; None when its registry says that there is no such image.

    Raises:
        UnreachableError: the registry did not answer that question; why, in one line.
    """
    asked = mirrors.here().image(reference)
    argv = (*client.buildx, "imagetools", "inspect", "--format", "{{json .Manifest}}", asked)
    try:
        finished = process.query(process.Command(argv=argv), seconds=client.seconds)
    except process.TooSlowError:
        message = f"no answer within {client.seconds:.0f} s"
        raise UnreachableError(message) from None
    if finished.returncode == 0:
        return _read(finished.stdout)
    why = unreachable.one_line(finished.stderr)
    if why.endswith(f"{asked}: not found"):
        return None
    raise UnreachableError(REQUEST.sub("", why))


def _read(text: str) -> Found:
    try:
        return parse(text)
    except (ValueError, KeyError):
        message = "buildx answered something else than a manifest; is it 0.8 or newer?"
        raise UnreachableError(message) from None


def parse(text: str) -> Found:
    """Read a descriptor with its manifests (https://github.com/opencontainers/image-spec/blob/main/image-index.md)."""
    content = json.loads(text)
    known = {platform.value: platform for platform in Platform}
    platforms: dict[Platform, str] = {}
    for manifest in content.get("manifests", []):
        of = manifest.get("platform", {})  # attestations say unknown/unknown
        platform = known.get(f"{of.get('os')}/{of.get('architecture')}")
        if platform:
            platforms.setdefault(platform, str(manifest["digest"]))
    return Found(digest=str(content["digest"]), platforms=platforms)
