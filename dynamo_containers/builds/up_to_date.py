"""Check whether the engine has the image that a build would make now (docs/adr/0030).

An ordinary build writes a record of each image below .build/images: a file with the digest of the image, named by a
digest of all its inputs. An image is up to date if the engine has that digest under its tag. So removing the image,
moving its tag, or checking out another commit causes a build.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers import file_reader
from dynamo_containers.plan.target import build_order
from dynamo_containers.prepare import input_digests
from dynamo_containers.process import Document
from dynamo_containers.state import IMAGES
from dynamo_containers.value_types import DIGEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.target import Targets

    ImageRecord: TypeAlias = tuple[str, Path]
    """Tag of an image, and the file that has its digest once it was built."""


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that was built here from the present inputs."""

    tag: str
    digest: str


def existing_images(plan: BuildPlan) -> dict[str, BuiltImage] | None:
    """Return target -> image of a plan, if all images were built here from the present inputs; else None.

    They are up to date if the engine has each digest under its tag.
    """
    images = {}
    for target, (tag, file) in image_records(plan).items():
        digest = file_reader.cached_text(file)
        if not DIGEST.accepts(digest):  # there is no record, or a damaged one
            return None
        images[target] = BuiltImage(tag=tag, digest=str(digest))
    return images or None


def new_records(
    before: Mapping[str, ImageRecord], after: Mapping[str, ImageRecord], digests: Mapping[str, str]
) -> tuple[Document, ...]:
    """Return the records to write after a build.

    Args:
        before: target -> record, before the engine read any input.
        after: target -> record, after the build. If it changed, the inputs of the image are uncertain: no record.
        digests: target -> digest of its image.
    """
    same = {target: file for target, (_, file) in before.items() if after.get(target) == before[target]}
    return tuple(Document(path=file, text=digests[target]) for target, file in same.items() if digests.get(target))


def image_records(plan: BuildPlan) -> dict[str, ImageRecord]:
    """Return target -> tag and record of its image; {} for a source build, whose files BuildKit compares."""
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
    # Labels of a lower stage are not in the image, and depend on whether that stage is built as well.
    own = {image: targets[image]}
    bare = {
        name: own.get(name) or replace(targets[name], labels={}, outputs=(), tags=())
        for name in build_order(targets, image)
    }
    decides = {name: [target.document(), *(platform[name] for platform in inputs)] for name, target in bare.items()}
    # A strict build does not use the image of a build that was not strict.
    text = json.dumps([strict, decides], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
