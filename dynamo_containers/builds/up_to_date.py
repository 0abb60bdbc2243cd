"""Whether the image in the engine is the one that a build would make now (docs/adr/0030).

What an ordinary build made is remembered below .build/images: a file named after everything that decides an image, with
the image's digest in it. So an image is up to date only where the engine has, under its tag, the very bytes that were
made from what is there now: whoever removes it, tags another one so, or goes back to an older commit gets a build.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.plan.target import build_order
from dynamo_containers.prepare import input_digests
from dynamo_containers.process import Document
from dynamo_containers.state import IMAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.target import Targets

    Record: TypeAlias = tuple[str, Path]
    """Tag of an image, and the file that has its digest once it was made."""


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that a build here made of what is there now."""

    tag: str
    digest: str


def made(plan: BuildPlan) -> dict[str, BuiltImage] | None:
    """Return target -> image of a plan all of whose images were made here; None where one was not.

    They are up to date if the engine has each digest under its tag.
    """
    images = {}
    for target, (tag, file) in records(plan).items():
        if not file.is_file():
            return None
        images[target] = BuiltImage(tag=tag, digest=file.read_text(encoding="utf-8"))
    return images or None


def remembered(
    before: Mapping[str, Record], after: Mapping[str, Record], digests: Mapping[str, str]
) -> tuple[Document, ...]:
    """Return what is to be remembered of a request that was built.

    Args:
        before: its records before the engine read anything.
        after: its records when it was done: of what changed meanwhile nobody knows what the image was made of.
        digests: target -> digest of what was made.
    """
    same = {target: file for target, (_, file) in before.items() if after.get(target) == before[target]}
    return tuple(Document(path=file, text=digests[target]) for target, file in same.items() if digests.get(target))


def records(plan: BuildPlan) -> dict[str, Record]:
    """Return target -> tag and record of each image of a plan; none of one built from sources.

    What changed in a checkout of sources is BuildKit's to find out, file by file.
    """
    request, targets = plan.request, plan.graph.targets
    if request.sources:
        return {}
    digests = input_digests.Digests()
    inputs = [input_digests.target_inputs(plan, platform, digests) for platform in request.platforms]
    folder = request.catalogue.folder / IMAGES
    strict = request.bases.strict
    return {
        image.target: (image.tag, folder / _key(targets, inputs, image.target, strict=strict))
        for image in plan.graph.images
    }


def _key(targets: Targets, inputs: Sequence[Mapping[str, Any]], image: str, *, strict: bool) -> str:
    # The labels of a lower stage are not in the image, and only there where that stage is built as well.
    own = {image: targets[image]}
    bare = {
        name: own.get(name) or replace(targets[name], labels={}, outputs=(), tags=())
        for name in build_order(targets, image)
    }
    decides = {name: [target.document(), *(platform[name] for platform in inputs)] for name, target in bare.items()}
    # Where nothing may drift, an image that was made when something might is another one.
    text = json.dumps([strict, decides], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
