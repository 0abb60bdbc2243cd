"""Whether the image in the engine is the one that a build would make now (docs/adr/0030).

What an ordinary build made is remembered below .build/images: a file named after everything that decides an image, with
the image's digest in it. So an image is up to date only where the engine has, under its tag, the very bytes that were
made from what is there now: whoever removes it, tags another one so, or goes back to an older commit gets a build.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.plan import bake
from dynamo_containers.plan.target import needed
from dynamo_containers.prepare import input_digests
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.target import Steps

    Record: TypeAlias = tuple[str, Path]
    """Tag of an image, and the file that has its digest once it was made."""

FOLDER = ".build/images"


@dataclass(frozen=True, kw_only=True)
class Made:
    """An image that a build here made of what is there now."""

    tag: str
    digest: str


def made(request: Request, facts: Facts) -> dict[str, Made] | None:
    """Return target -> image of a request all of whose images were made here; None where one was not.

    They are up to date if the engine has each digest under its tag.
    """
    found = {}
    for target, (tag, file) in records(request, facts).items():
        if not file.is_file():
            return None
        found[target] = Made(tag=tag, digest=file.read_text(encoding="utf-8"))
    return found or None


def remembered(
    before: Mapping[str, Record], after: Mapping[str, Record], digests: Mapping[str, str]
) -> tuple[Document, ...]:
    """Return what is to be remembered of a request that was built.

    Args:
        before: its records before the engine read anything.
        after: its records when it was done: of what changed meanwhile nobody knows what the image was made of.
        digests: target -> digest of what was made.
    """
    known = {target: file for target, (_, file) in before.items() if after.get(target) == before[target]}
    return tuple(Document(path=file, text=digests[target]) for target, file in known.items() if digests.get(target))


def records(request: Request, facts: Facts) -> dict[str, Record]:
    """Return target -> tag and record of each image of a request; none of one built from sources.

    What changed in a checkout of sources is BuildKit's to find out, file by file.
    """
    if request.sources:
        return {}
    content = bake.bake(request, facts)
    steps = content["target"]
    digests = input_digests.Digests()
    inputs = [input_digests.now(request, facts, steps, platform, digests) for platform in request.platforms]
    folder = request.catalogue.folder / FOLDER
    return {
        target: (steps[target]["tags"][0], folder / _key(request, steps, inputs, target))
        for target in content["group"]["default"]["targets"]
    }


def _key(request: Request, steps: Steps, inputs: list[dict[str, Any]], target: str) -> str:
    decides = {name: [steps[name], *(each[name] for each in inputs)] for name in needed(steps, target)}
    # Where nothing may drift, an image that was made when something might is another one.
    words = json.dumps([request.bases.strict, decides], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()
