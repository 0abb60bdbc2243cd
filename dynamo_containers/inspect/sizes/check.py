"""Check of built images against their budgets; each new image is measured once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import CheckFailedError, CommandFailedError, UsageError, unknown_name
from dynamo_containers.facts.budget import SECOND
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import budget as sizes_budget
from dynamo_containers.inspect.sizes import contents as image_contents
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.measure import say
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.inspect.sizes.measure import Built
    from dynamo_containers.plan.bake import Facts, Request

STAGES = (Stage.RUNTIME, Stage.BASE)
"""The stages whose images have budgets: what people pull."""


def stage_of(word: str) -> Stage:
    """Return the stage that a word of the command line means.

    Raises:
        UsageError: it is none, or its images have no budgets.
    """
    known = {stage.value: stage for stage in STAGES}
    if word not in known:
        if any(word == stage.value for stage in Stage):
            message = f"{word} images have no budget (choose from: {', '.join(known)})"
            raise UsageError(message)
        what = "stage"
        raise unknown_name(what, word, known)
    return known[word]


def check(request: Request, facts: Facts, environment: Mapping[str, str], text: str, made: Mapping[str, str]) -> None:
    """Check what was built against the budgets of its rows; those are about runtime and base images.

    An image that was within its budget is not measured again: that costs a no-op the reading of one small file.

    Args:
        request: what was asked for.
        facts: what the world says.
        environment: what docker needs to find its engine.
        text: the bake document.
        made: target -> digest of its images, as far as they are known.

    Raises:
        CheckFailedError: one is over; with what grew.
    """
    platform = request.platforms[0]
    limited = tuple(image for image in request.images if image.budget.get(platform))
    record = _record(request, limited, made)
    if request.stage not in STAGES or not limited or (record and record.is_file()):
        return
    measured = size_measure.measure(replace(request, images=limited), facts, environment, text)
    whole = _judge(request, measured, environment)
    if record and whole and len(measured) == len(limited):
        process.write(Document(path=record, text=""))


def _record(request: Request, images: tuple[Image, ...], made: Mapping[str, str]) -> Path | None:
    """Return the file that is there when these images were within these budgets; None: bake did not say which."""
    if not made:
        return None
    words = (*sorted(made.values()), *(repr(sorted(image.budget[request.platforms[0]].items())) for image in images))
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return request.catalogue.folder / ".build" / "within-budget" / key


def _judge(request: Request, measured: tuple[Built, ...], environment: Mapping[str, str]) -> bool:
    """Say whether every number of the budgets was measured, where none is over."""
    faults, whole = [], True
    for built in measured:
        budget = built.image.budget[request.platforms[0]]
        left = unmeasured(budget, built)
        whole = whole and not left
        if rows := sizes_budget.over(budget, built.numbers):
            faults.append("\n".join((_fault(request, built, rows, environment), *left)))
        else:
            say("\n".join((f"{built.name} is within its budget{', as far as it was measured' if left else ''}", *left)))
    if faults:
        remedy = f"Find out why; if it must be so, raise images.NAME.budget in {IMAGES_FILE}. The images are kept."
        raise CheckFailedError("\n".join((*faults, remedy)))
    return whole


def unmeasured(budget: Mapping[str, int], built: Built) -> tuple[str, ...]:
    """Return a line for each number of a budget that was not measured, with the reason where one is known."""
    lines = [f"  {key} was NOT MEASURED" for key in sizes_budget.unmeasured(budget, built.numbers) if key != SECOND]
    if SECOND in budget:
        lines += [
            f"  {SECOND} was NOT MEASURED beside {each.name}: {each.said}" for each in built.besides if not each.layers
        ]
        lines += [] if built.besides else [f"  {SECOND} was NOT MEASURED: no other image shares its packages"]
    return tuple(lines)


def _fault(request: Request, built: Built, rows: tuple[sizes_budget.Over, ...], environment: Mapping[str, str]) -> str:
    accepted = accepted_sizes.read(request.catalogue.folder).get(built.name, Accepted())
    known = [f"{each.name} ({each.said})" for each in built.besides if each.layers]
    beside = [f"  {SECOND} is beside {', '.join(known)}"] if SECOND in {row.key for row in rows} else []
    try:
        contents = image_contents.table(size_measure.contents(request, built, environment), accepted.contents)
    except CommandFailedError as error:
        contents = f"What grew by package and file was NOT MEASURED: {error}"
    table = sizes_budget.table(rows, built.size, accepted.layers)
    return "\n".join((f"{built.name} is over its budget:", table, *beside, contents))


def accept(request: Request, facts: Facts, environment: Mapping[str, str], text: str) -> str:
    """Write the sizes of the images of a request down as the accepted ones; return the numbers for their rows.

    Raises:
        CheckFailedError: none could be measured.
        CommandFailedError: the engine has no such image, or cannot run it; nothing is written.
    """
    folder = request.catalogue.folder
    measured = size_measure.measure(request, facts, environment, text)
    if not measured:
        message = f"No sizes were accepted: the reason stands above, and {accepted_sizes.FILE} is as it was."
        raise CheckFailedError(message)
    accepted = {
        built.name: accepted_of(built, size_measure.contents(request, built, environment)) for built in measured
    }
    process.write(accepted_sizes.document(folder, {**accepted_sizes.read(folder), **accepted}))
    return "\n".join(row(built, request.platforms[0].value) for built in measured)


def accepted_of(built: Built, contents: Mapping[str, int]) -> Accepted:
    """Return what is kept of an image whose sizes are accepted."""
    return Accepted(
        layers=sizes_budget.layers_of(built.size),
        made_from=str(built.stored.origin),
        digests=built.stored.contents,
        contents=contents,
    )


def row(built: Built, platform: str) -> str:
    """Return what was measured as a row of images.toml to copy."""
    lines = (f"{key} = {number}" for key, number in built.numbers.items())
    lacking = (f"# {line.strip()}" for line in unmeasured({SECOND: 0}, built) if built.image.common_layer)
    return "\n".join((f'# {built.name}\n[images.{built.image.name}.budget."{platform}"]', *lines, *lacking))
