"""Text of `invoke explain`: contents of an image, their origin, and what would be rebuilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamo_containers.plan.target import TARGET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.dockerfile import Summary
    from dynamo_containers.prepare.input_digests import Inputs

LARGEST = 3
"""How many packages of a step are named."""
NAMED = 2
"""How many changed inputs of a step are named."""
UNCHANGED = "unchanged"
NEVER = "never built here"
RESTS = "unchanged; its layer is kept, on new ones below"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that a step adds."""

    name: str
    version: str
    size: int | None
    """In bytes, as it is downloaded; None where nobody states it."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a step adds, and the files that say so."""

    origin: str
    parts: tuple[Part, ...] = ()
    about: str = ""
    """What it is, where it is not parts."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row: a step of the graph."""

    name: str
    content: Content
    state: str


def states(
    steps: Mapping[str, Any], recipes: Mapping[str, Summary], now: Mapping[str, Inputs], before: Mapping[str, Inputs]
) -> dict[str, str]:
    """Return step -> whether it would be done again, and why.

    That is the most that can happen: a step whose result is the same bytes changes nothing above it.

    Args:
        steps: the targets of a bake document, each after those that it needs, or before.
        recipes: step -> what its Dockerfile says.
        now: step -> its inputs.
        before: step -> its inputs when it was done last.
    """
    found: dict[str, str] = {}

    def state(name: str) -> str:
        if name not in found:
            needed = {key: value.removeprefix(TARGET) for key, value in _needed(steps[name])}
            moved = {key for key, step in needed.items() if state(step) != UNCHANGED}
            found[name] = _state(now[name], before.get(name), moved, recipes[name], needed)
        return found[name]

    return {name: state(name) for name in steps}


def _needed(target: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in target["contexts"].items() if value.startswith(TARGET)]


def _state(now: Inputs, before: Inputs | None, moved: Collection[str], said: Summary, needed: Mapping[str, str]) -> str:
    if before is None:
        return NEVER
    changed = [key for key in (*now, *(key for key in before if key not in now)) if now.get(key) != before.get(key)]
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        return f"would rebuild: {', '.join(changed[:NAMED])}{more} changed"
    if not moved:
        return UNCHANGED
    if said.relocatable and moved == {said.based_on}:
        return RESTS
    return f"would rebuild: {', '.join(needed[key] for key in needed if key in moved)} below changed"


def chain(steps: Mapping[str, Any], recipes: Mapping[str, Summary], target: str) -> tuple[str, ...]:
    """Return the steps whose layers are in an image, from below."""
    names = [target]
    while (below := steps[names[-1]]["contexts"].get(recipes[names[-1]].based_on, "")).startswith(TARGET):
        names.append(below.removeprefix(TARGET))
    return tuple(reversed(names))


def text(title: str, root: Content, image: Iterable[Step], beside: Iterable[Step]) -> str:
    """Return the explanation of one image on one platform.

    Args:
        title: which image it is.
        root: the root image below.
        image: the steps whose layers are in it, from below.
        beside: the steps that only hand something on.
    """
    layers, others = tuple(image), tuple(beside)
    rows = [*_rows("root image", root, "")]
    rows += [line for step in layers for line in _rows(step.name, step.content, step.state)]
    rows += ["", "Beside it, for what the steps above take:"] if others else []
    rows += [line for step in others for line in _rows(step.name, step.content, step.state)]
    return "\n".join([title, "", *rows, "", _total((root, *(step.content for step in (*layers, *others))))])


def _rows(name: str, content: Content, state: str) -> list[str]:
    size = _size(content.parts) if content.parts else ""
    return [
        f"  {name:<22} {size:>10}  {_added(content)}",
        f"  {'':<22} {'':>10}  from {content.origin}",
        *([f"  {'':<22} {'':>10}  {state}"] if state else []),
    ]


def _added(content: Content) -> str:
    if not content.parts:
        return content.about
    largest = sorted(content.parts, key=lambda part: (-(part.size or 0), part.name))[:LARGEST]
    shown = ", ".join(f"{part.name} {part.version}{_sized(part)}" for part in largest)
    count = len(content.parts)
    return shown if count <= LARGEST else f"{count} packages, the largest: {shown}"


def _sized(part: Part) -> str:
    return "" if part.size is None else f" ({human(part.size)})"


def _size(parts: Iterable[Part]) -> str:
    known = [part.size for part in parts]
    total = human(sum(size for size in known if size is not None))
    return f">={total}" if None in known else total


def _total(contents: Iterable[Content]) -> str:
    parts = dict.fromkeys(part for content in contents for part in content.parts)
    unknown = sorted({part.name for part in parts if part.size is None})
    more = f", without {', '.join(unknown)}, whose size nobody states" if unknown else ""
    return f"A build that has nothing yet downloads {_size(part for part in parts if part.size is not None)}{more}."


def human(size: int) -> str:
    """Return a number of bytes for people, in powers of 1000."""
    if size >= 10**9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"


def images(catalogue: Catalogue, purposes: Mapping[str, str]) -> str:
    """Return the list of images: one line each, and for whom each stage is."""
    width = max(len(name) for name in catalogue.images)
    stages = {image.name: ", ".join(stage.value for stage in image.stages) for image in catalogue.images.values()}
    rows = [
        f"  {image.name:<{width}}  {stages[image.name] or 'no stage yet':<26}  {image.title}"
        for image in catalogue.images.values()
    ]
    whom = [f"  {stage:<8} {purpose}" for stage, purpose in purposes.items()]
    return "\n".join(["Images (containers/images.toml):", *rows, "", "For whom a stage is:", *whom])
