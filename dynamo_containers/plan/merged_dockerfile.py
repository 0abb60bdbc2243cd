"""One Dockerfile for a graph of targets, whose Dockerfiles become its stages.

BuildKit does not look in an external cache for what stands on a step that another build has done already in the same
graph (moby/buildkit issue 4674), and bake makes a build of each target. So with external caches there is one build:
the same steps, with the same keys and bytes, in one Dockerfile (docs/adr/0021).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers.plan.dockerfile import HEREDOC
from dynamo_containers.plan.target import LINK, build_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.plan.target import Target, Targets
    from dynamo_containers.platforms import Platform

EPOCH = "SOURCE_DATE_EPOCH"
"""The argument that BuildKit itself reads, the same one for every step: it stays an argument of the build."""
BY_ARCHITECTURE = re.compile(r"-(?:amd64|arm64|\$\{TARGETARCH\})$")
SEPARATOR = "--"
"""Between a step and what it calls a stage or a context."""
HERE = "here"
"""What a step's own build context is called: in one Dockerfile it is a named one like the others."""
FROM = re.compile(r"^FROM(?P<flags>(?: +--\S+)*) +(?P<image>\S+)(?: +AS +(?P<alias>\S+))?$")
ARG = re.compile(r"^ARG (?P<name>\w+)(?:=.*)?$")
FROM_FLAG = re.compile(r"(?P<before>^(?:COPY|ADD)\b.*? --from=)(?P<name>\S+)")
BIND = re.compile(r"--mount=type=bind(?P<words>,\S+)")
FROM_WORD = re.compile(r"(?<=,from=)[^,\s]+")


@dataclass(frozen=True, kw_only=True)
class MergedStage:
    """A stage of the one Dockerfile."""

    name: str
    based_on: str
    uses: frozenset[str]
    """The stages and contexts that it names; `-*` for one of each architecture."""
    text: str


def merge(
    targets: Targets, name: str, texts: Mapping[str, str], native: Platform, copies: Mapping[str, Path]
) -> tuple[Target, str]:
    """Return a target that builds by itself what a target of a graph and all that it needs build.

    Args:
        targets: the targets of the graph.
        name: the target that is wanted.
        texts: target -> the text of its Dockerfile.
        native: the platform of the machine that builds: that of the targets without platforms.
        copies: target -> the folder that its tree was copied to (plan/source_export.py).

    Returns:
        The target without its Dockerfile, and that.
    """
    contexts: dict[str, str] = {}
    stages: list[MergedStage] = []
    for link in build_order(targets, name):
        target = targets[link]
        if link in copies:
            contexts[link] = str(copies[link])
            continue
        own = {key: value for key, value in target.contexts.items() if not value.startswith(LINK)}
        contexts |= {f"{link}{SEPARATOR}{key}": value for key, value in own.items()}
        contexts[f"{link}{SEPARATOR}{HERE}"] = target.context
        stages += _MergedTarget(link, target, None if target.platforms else native).stages(texts[link])
    text = "".join(stage.text for stage in sort_stages(stages, name))
    names = frozenset[str]().union(*(stage.uses for stage in stages))
    used = {key: value for key, value in contexts.items() if {key, BY_ARCHITECTURE.sub("-*", key)} & names}
    top = targets[name]
    return replace(top, args={EPOCH: top.args[EPOCH]}, contexts=used, stage=name), text


def sort_stages(stages: list[MergedStage], target: str) -> list[MergedStage]:
    """Return the stages in an order in which each follows those that it uses, what the target stands on last.

    Of two stages on the same one BuildKit gives the first some of the history of the second: those that the target
    stands on are the second ones, whose history is the image's.
    """
    known = {stage.name: stage for stage in stages}
    chain = [target]
    while (below := known[chain[-1]].based_on) in known:
        chain.append(below)
    found: dict[str, MergedStage] = {}
    while left := [name for name in known if name not in found]:
        ready = [name for name in left if known[name].uses & set(known) <= set(found)]
        following = next((name for name in ready if name not in chain), ready[0])
        found[following] = known[following]
    return list(found.values())


class _MergedTarget:
    """The Dockerfile of one target, with its names exchanged."""

    def __init__(self, name: str, target: Target, native: Platform | None) -> None:
        self.name = name
        self.args: dict[str, str] = dict(target.args)
        self.contexts = target.contexts
        self.native = native
        self.aliases: set[str] = set()
        self.names: set[str] = set()

    def stages(self, text: str) -> Iterator[MergedStage]:
        """Return its stages; what stands above the first one is about architectures, and general."""
        lines = _without_comments(text)
        begins = [place for place, (line, whole) in enumerate(lines) if whole and line.startswith("FROM ")]
        for begin, end in zip(begins, (*begins[1:], len(lines)), strict=True):
            self.names = set()
            first, *rest = (
                self._line(line, final=end == len(lines)) if whole else line for line, whole in lines[begin:end]
            )
            *_, below, _, name = first.split()
            text = "".join(f"{line}\n" for line in (first, *rest))
            yield MergedStage(name=name, based_on=below, uses=frozenset(self.names), text=text)

    def _line(self, line: str, *, final: bool) -> str:
        if said := FROM.match(line):
            return self._from(said, final=final)
        if (said := ARG.match(line)) and (value := self._value(said["name"])) is not None:
            return f"ARG {said['name']}={_quoted(value)}"
        if line.startswith(("COPY ", "ADD ")):
            return self._copy(line)
        return BIND.sub(self._mount, line)

    def _from(self, said: re.Match[str], *, final: bool) -> str:
        image, flags = self._named(said["image"]), said["flags"]
        if self.native:  # for the machine that builds, whatever is built
            image, flags = image.replace("${TARGETARCH}", self.native.arch), " --platform=${BUILDPLATFORM}"
        if final:
            return f"FROM{flags} {image} AS {self.name}"
        self.aliases.add(said["alias"])
        return f"FROM{flags} {image} AS {self.name}{SEPARATOR}{said['alias']}"

    def _value(self, argument: str) -> str | None:
        if argument == "TARGETARCH" and self.native:
            return self.native.arch
        return None if argument == EPOCH else self.args.get(argument)

    def _copy(self, line: str) -> str:
        if FROM_FLAG.match(line):
            return FROM_FLAG.sub(lambda found: found["before"] + self._named(found["name"]), line)
        word, rest = line.split(" ", 1)
        return line if HEREDOC.search(rest) else f"{word} --from={self._own(HERE)} {rest}"

    def _mount(self, found: re.Match[str]) -> str:
        words = found["words"]
        if not FROM_WORD.search(words):
            return f"--mount=type=bind,from={self._own(HERE)}{words}"
        return "--mount=type=bind" + FROM_WORD.sub(lambda name: self._named(name[0]), words)

    def _named(self, name: str) -> str:
        """Return what a name of the step is called: a context goes before a stage, as BuildKit has it."""
        known = self.contexts.get(name, "")
        if known.startswith(LINK):
            self.names.add(known.removeprefix(LINK))
            return known.removeprefix(LINK)
        if known or name in self.aliases or BY_ARCHITECTURE.search(name):
            return self._own(name)
        return name  # scratch

    def _own(self, name: str) -> str:
        made = f"{self.name}{SEPARATOR}{name}"
        self.names.add(BY_ARCHITECTURE.sub("-*", made))
        return made


def _without_comments(text: str) -> list[tuple[str, bool]]:
    """Return the lines of a Dockerfile without its comments, and whether each is more than the line of a script."""
    found: list[tuple[str, bool]] = []
    ends: list[str] = []
    for line in text.splitlines():
        if ends:
            found.append((line, False))
            if line == ends[0]:
                ends.pop(0)
            continue
        if line.lstrip().startswith("#"):
            continue
        found.append((line, True))
        ends = [each["end"] for each in HEREDOC.finditer(line)]
    return found


def _quoted(value: str) -> str:
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
