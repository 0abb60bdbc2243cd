"""Check of built images against their budgets; each new image is measured once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers import engine, process, state
from dynamo_containers.errors import CheckFailedError, CommandFailedError, UsageError, unknown_name
from dynamo_containers.facts.budget import SECOND
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import budget as sizes_budget
from dynamo_containers.inspect.sizes import contents as image_contents
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.measure import say
from dynamo_containers.plan import bake
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.prepare import inputs
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.inspect.sizes.measure import SizedImage
    from dynamo_containers.plan.bake import BakeGraph
    from dynamo_containers.plan.options import ImageSelection
    from dynamo_containers.plan.request import Request

STAGES = (Stage.RUNTIME, Stage.BASE)
"""The stages whose images have budgets, because people pull them."""


def stage_of(name: str) -> Stage:
    """Return the stage of a name on the command line.

    Raises:
        UsageError: there is no such stage, or its images have no budgets.
    """
    stages = {stage.value: stage for stage in STAGES}
    if name not in stages:
        if any(name == stage.value for stage in Stage):
            message = f"{name} images have no budget (choose from: {', '.join(stages)})"
            raise UsageError(message)
        kind = "stage"
        raise unknown_name(kind, name, stages)
    return stages[name]


def check(part: BuildPart, graph: BakeGraph, docker: Docker, digests: Mapping[str, str]) -> None:
    """Compare runtime and base images with their budgets.

    An image that was within its budget is not measured again: a no-op only reads a small file.

    Args:
        part: the stage that was built.
        graph: its graph.
        docker: the docker CLI of the engine in use.
        digests: target -> digest of its image, as far as it is known.

    Raises:
        CheckFailedError: an image is over its budget; the message has its growth.
    """
    request = part.request
    platform = request.platforms[0]
    limited = tuple(image for image in request.images if image.budget.get(platform))
    record = _record(request, limited, digests)
    if request.stage not in STAGES or not limited or (record and record.is_file()):
        return
    measured = size_measure.measure(part._replace(request=replace(request, images=limited)), graph, docker)
    is_complete = _compare(request, measured, docker)
    if record and is_complete and len(measured) == len(limited):
        process.write(Document(path=record, text=""))


def _record(request: Request, images: tuple[Image, ...], digests: Mapping[str, str]) -> Path | None:
    """Return the file that exists once these images were within these budgets; None where the digests are unknown."""
    if not digests:
        return None
    budgets = (repr(sorted(image.budget[request.platforms[0]].items())) for image in images)
    key = hashlib.sha256("\n".join((*sorted(digests.values()), *budgets)).encode()).hexdigest()
    return request.catalogue.folder / state.WITHIN_BUDGET / key


def _compare(request: Request, measured: tuple[SizedImage, ...], docker: Docker) -> bool:
    """Return whether every number of the budgets was measured.

    Raises:
        CheckFailedError: an image is over its budget.
    """
    faults, is_complete = [], True
    for sized in measured:
        budget = sized.image.budget[request.platforms[0]]
        gaps = unmeasured(budget, sized)
        is_complete = is_complete and not gaps
        if rows := sizes_budget.over(budget, sized.numbers):
            faults.append("\n".join((_fault(request, sized, rows, docker), *gaps)))
        else:
            say("\n".join((f"{sized.name} is within its budget{', as far as it was measured' if gaps else ''}", *gaps)))
    if faults:
        remedy = f"Find the reason, or raise images.NAME.budget in {IMAGES_FILE}. The images were kept."
        raise CheckFailedError("\n".join((*faults, remedy)))
    return is_complete


def unmeasured(budget: Mapping[str, int], sized: SizedImage) -> tuple[str, ...]:
    """Return a line for each number of a budget that was not measured, with the reason where it is known."""
    lines = [f"  {key} was NOT MEASURED" for key in sizes_budget.unmeasured(budget, sized.numbers) if key != SECOND]
    if SECOND in budget:
        unknown = (other for other in sized.backends if not other.layers)
        lines += [f"  {SECOND} was NOT MEASURED against {other.name}: {other.source}" for other in unknown]
        lines += [] if sized.backends else [f"  {SECOND} was NOT MEASURED: no other image shares its packages"]
    return tuple(lines)


def _fault(request: Request, sized: SizedImage, rows: tuple[sizes_budget.Excess, ...], docker: Docker) -> str:
    accepted = accepted_sizes.read(request.catalogue.folder).get(sized.name, Accepted())
    backends = [f"{other.name} ({other.source})" for other in sized.backends if other.layers]
    second = [f"  {SECOND} is measured against {', '.join(backends)}"] if SECOND in {row.key for row in rows} else []
    try:
        contents = image_contents.table(size_measure.contents(request, sized, docker), accepted.contents)
    except CommandFailedError as error:
        contents = f"The growth by package and file was NOT MEASURED: {error}"
    table = sizes_budget.table(rows, sized.size, accepted.layers)
    return "\n".join((f"{sized.name} is over its budget:", table, *second, contents))


def accept_sizes(catalogue: Catalogue, stage: str, selection: ImageSelection) -> str:
    """Write the sizes of built images as the accepted ones; return their rows of images.toml.

    Raises:
        UsageError: a name is unknown, or images of the stage have no budget.
        CheckFailedError: no image could be measured.
        CommandFailedError: the engine has no such image, or cannot run it; nothing is written.
    """
    request = request_for(catalogue, stage_of(stage), selection)
    part = BuildPart(request, inputs.build_inputs(request, dry_run=True))
    return accept(part, engine.docker(catalogue.folder))


def accept(part: BuildPart, docker: Docker) -> str:
    """Write the sizes of the images of a request as the accepted ones; return their rows of images.toml.

    Raises:
        CheckFailedError: no image could be measured.
        CommandFailedError: the engine has no such image, or cannot run it; nothing is written.
    """
    request = part.request
    folder = request.catalogue.folder
    measured = size_measure.measure(part, bake.bake_graph(part), docker)
    if not measured:
        message = f"No sizes were accepted, for the reason above. {accepted_sizes.FILE} was not changed."
        raise CheckFailedError(message)
    accepted = {sized.name: accepted_of(sized, size_measure.contents(request, sized, docker)) for sized in measured}
    process.write(accepted_sizes.document(folder, {**accepted_sizes.read(folder), **accepted}))
    return "\n".join(row(sized, request.platforms[0].value) for sized in measured)


def accepted_of(sized: SizedImage, contents: Mapping[str, int]) -> Accepted:
    """Return the accepted sizes of a measured image."""
    return Accepted(
        layers=sizes_budget.layers_of(sized.size),
        made_from=str(sized.stored.origin),
        digests=sized.stored.contents,
        contents=contents,
    )


def row(sized: SizedImage, platform: str) -> str:
    """Return the measured numbers as a row of images.toml to copy."""
    lines = (f"{key} = {number}" for key, number in sized.numbers.items())
    lacking = (f"# {line.strip()}" for line in unmeasured({SECOND: 0}, sized) if sized.image.common_layer)
    return "\n".join((f'# {sized.name}\n[images.{sized.image.name}.budget."{platform}"]', *lines, *lacking))
