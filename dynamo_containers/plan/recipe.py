"""What does the Dockerfile of a step use? Pure: a text gives its arguments, its mounts and what it stands on.

Only what decides whether BuildKit does a step again (https://docs.docker.com/build/cache/invalidation/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

FROM = re.compile(r"^FROM(?: +--\S+)* +(?P<image>\S+)(?: +AS +(?P<alias>\S+))?$", re.MULTILINE)
ARG = re.compile(r"^ARG (?P<name>\w+)", re.MULTILINE)
BIND = re.compile(r"--mount=type=bind,(?P<words>\S+)")
OWN_LAYER = re.compile(r"^(?:RUN|ADD|COPY(?! --link))", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A path of a named context that a step reads."""

    context: str
    source: str
    """Below the context, with the build's arguments still as `${NAME}`; '' for all of it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a Dockerfile says."""

    about: str
    """Its first comment: what the step is."""
    arguments: frozenset[str]
    mounts: tuple[Mount, ...]
    stands_on: str
    """The name in its last FROM."""
    rests: bool
    """Whether its layers are the same bytes whatever they rest on: a linked copy is moved onto another as it is."""


def parse(text: str) -> Recipe:
    """Return what a Dockerfile of this project says."""
    stages = list(FROM.finditer(text))
    last = stages[-1]
    # What an earlier stage runs on the same image may come out differently on another one.
    also_below = any(stage["image"] == last["image"] for stage in stages[:-1])
    return Recipe(
        about=_first_sentence(text),
        arguments=frozenset(found["name"] for found in ARG.finditer(text)),
        mounts=tuple(mount for found in BIND.finditer(text) if (mount := _mount(found["words"])).context),
        stands_on=last["image"],
        rests=not also_below and not OWN_LAYER.search(text, last.end()),
    )


def _first_sentence(text: str) -> str:
    lines = (line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def _mount(words: str) -> Mount:
    said = dict(word.partition("=")[::2] for word in words.split(","))
    return Mount(context=said.get("from", ""), source=said.get("source", ""))
