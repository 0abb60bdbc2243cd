"""Digests that pushed tags name, read from their registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, progress
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.value_types import DIGEST

if TYPE_CHECKING:
    from dynamo_containers.docker_cli import Docker


SECONDS = 60
"""How long the registry may take to answer."""


@dataclass(frozen=True, kw_only=True)
class PushedTag:
    """A tag in a registry, and its digest."""

    tag: str
    digest: str
    """'' where the registry did not return it."""


def read(tag: str, docker: Docker) -> PushedTag:
    """Return a pushed tag with its digest; a registry that does not answer fails nothing."""
    argv = (*docker.buildx, "imagetools", "inspect", "--format={{json .Manifest}}", tag)
    try:
        answer = process.query(process.Command(argv=argv, env=docker.environment), seconds=SECONDS, check=True)
        return PushedTag(tag=tag, digest=DIGEST.parse(file_reader.parse_json(answer.stdout)["digest"]))
    except (CommandFailedError, ValueError, KeyError, TypeError):
        progress.say(f"The registry did not return the digest of {tag}: the report of this build lacks it.")
        return PushedTag(tag=tag, digest="")
