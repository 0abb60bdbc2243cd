"""Is what a build made within its budget? Asks the engine once per new image; a checked one is remembered by its id."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dynamo_containers import accepted_sizes, budgets, image_size, run
from dynamo_containers.build import metadata, tag
from dynamo_containers.errors import CheckFailedError
from dynamo_containers.model import IMAGES_FILE, Stage, Way
from dynamo_containers.run import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.build import Facts, Request
    from dynamo_containers.image_size import ImageSize
    from dynamo_containers.model import Image

BLOBS = "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
"""Where dockerd with the containerd image store has the manifests, below its data root (containerd: content store)."""
PACKAGES = "packages"
"""The folder of containers/ whose steps install Python packages that are not Dynamo."""
TREES = (PACKAGES, "wheels", "dynamo")
"""The folders of containers/ whose steps put a `/tree` on the image."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image of one platform that was measured."""

    name: str
    """Under which its sizes are accepted: image, stage, bases and architecture."""
    image: Image
    size: ImageSize
    numbers: Mapping[str, int]


def steps_of(targets: Mapping[str, Any], top: str) -> tuple[tuple[str, str], ...]:
    """Return (name, folder) of the steps of a bake document that put a `/tree` on an image, from below."""
    found: list[tuple[str, str]] = []
    name = top
    while name in targets:
        contexts, folder = targets[name]["contexts"], targets[name]["context"].rpartition("/")[2]
        found += [(name, folder)] if folder in TREES else []
        name = (contexts.get("below") or contexts.get("dynamo") or "").removeprefix("target:")
    return tuple(reversed(found))


def measure(request: Request, facts: Facts, environment: Mapping[str, str], text: str) -> tuple[Built, ...]:
    """Return the sizes of the images of a request that the private engine has; `text` is the bake document.

    An image whose manifest cannot be read, that of another engine or of several platforms, is named and left out.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    if len(request.platforms) > 1:
        _say("Budgets were NOT CHECKED: an image of several platforms is measured when one of them is built alone.")
        return ()
    targets = json.loads(text)["target"]
    found = (_measure(request, facts, image, environment, targets) for image in request.images)
    return tuple(built for built in found if built)


def _measure(
    request: Request, facts: Facts, image: Image, environment: Mapping[str, str], targets: Mapping[str, Any]
) -> Built | None:
    name = tag(image, request.stage, request.bases, request.platforms, facts.version)
    manifest = _manifest(request.catalogue.folder, _ask(environment, "image", "inspect", "--format={{.Id}}", name))
    if manifest is None:
        _say(f"The budget of {name} was NOT CHECKED: only the private engine shows the sizes of compressed layers.")
        return None
    if image.way is Way.IMAGE:
        _say(f"The budget of {name} was NOT CHECKED: whose engine publishes an image writes its history as it likes.")
        return None
    top = next(target for target, row in targets.items() if name in row.get("tags", ()))
    steps = steps_of(targets, top)
    size = image_size.measured(manifest, _history(environment, name), [step for step, _ in steps])
    packages = [step for step, folder in steps if folder == PACKAGES]
    bump = image_size.above(size, packages[-1]) if packages else None
    key = f"{image.name}-{request.stage.value}-{request.bases.name}-{request.platforms[0].arch}"
    return Built(name=key, image=image, size=size, numbers=budgets.numbers(size, bump=bump))


def _manifest(folder: Path, digest: str) -> dict[str, Any] | None:
    blob = folder / ".engine/data" / BLOBS / digest.strip().removeprefix("sha256:")
    content = json.loads(blob.read_bytes()) if blob.is_file() else {}
    return content if "layers" in content else None


def _history(environment: Mapping[str, str], name: str) -> tuple[tuple[int, str], ...]:
    """Return (bytes, created by) of every line of an image's history, from below."""
    words = ("history", "--no-trunc", "--human=false", "--format={{json .}}", name)
    rows = [json.loads(line) for line in _ask(environment, *words).splitlines()]
    return tuple((int(row["Size"]), row["CreatedBy"]) for row in reversed(rows))


def _ask(environment: Mapping[str, str], *words: str) -> str:
    return run.capture(run.Command(argv=("docker", *words), env=environment))


def check(request: Request, facts: Facts, environment: Mapping[str, str], document: Document) -> None:
    """Check what was built against the budgets of its rows; those are about runtime and base images.

    An image that was within its budget is not measured again: that costs a no-op the reading of one small file.

    Raises:
        CheckFailedError: one is over; with what grew.
    """
    platform = request.platforms[0]
    limited = tuple(image for image in request.images if image.budget.get(platform))
    record = _record(request, limited, metadata(document.path))
    if request.stage not in (Stage.BASE, Stage.RUNTIME) or not limited or (record and record.is_file()):
        return
    measured = measure(replace(request, images=limited), facts, environment, document.text)
    _judge(request, measured)
    if record and len(measured) == len(limited):
        run.write(Document(path=record, text=""))


def _record(request: Request, images: tuple[Image, ...], made: Path) -> Path | None:
    """Return the file that is there when these very images were within these budgets; None: bake did not say which."""
    if not made.is_file():
        return None
    digests = sorted(str(row.get("containerimage.digest")) for row in json.loads(made.read_bytes()).values())
    words = (*digests, *(repr(sorted(image.budget[request.platforms[0]].items())) for image in images))
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return request.catalogue.folder / ".build" / "within-budget" / key


def _judge(request: Request, measured: tuple[Built, ...]) -> None:
    faults = []
    for built in measured:
        budget = built.image.budget.get(request.platforms[0], {})
        rows = budgets.over(budget, built.numbers)
        if rows:
            accepted = accepted_sizes.read(request.catalogue.folder).get(built.name, {})
            faults.append(f"{built.name} is over its budget:\n{budgets.table(rows, built.size, accepted)}")
        elif budget:
            left = budgets.unmeasured(budget, built.numbers)
            _say(f"{built.name} is within its budget{' (not measured: ' + ', '.join(left) + ')' if left else ''}")
    if faults:
        remedy = f"Find out why; if it must be so, raise images.NAME.budget in {IMAGES_FILE}. The images are kept."
        raise CheckFailedError("\n".join((*faults, remedy)))


def accept(request: Request, facts: Facts, environment: Mapping[str, str], text: str) -> str:
    """Write the sizes of the images of a request down as the accepted ones; return the numbers for their rows."""
    folder = request.catalogue.folder
    measured = measure(request, facts, environment, text)
    sizes = {**accepted_sizes.read(folder), **{built.name: budgets.layers_of(built.size) for built in measured}}
    if measured:
        run.write(accepted_sizes.document(folder, sizes))
    return "\n".join(_row(built, request.platforms[0].value) for built in measured)


def _row(built: Built, platform: str) -> str:
    lines = (f"{key} = {number}" for key, number in built.numbers.items())
    return "\n".join((f'# {built.name}\n[images.{built.image.name}.budget."{platform}"]', *lines))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
