"""One Dockerfile for a graph of targets, whose Dockerfiles become its stages.

BuildKit reads no external cache for a step that is based on a step of another build in the same graph (moby/buildkit
issue 4674), and bake makes a build of each target. So with external caches there is one build: the same steps, with the
same keys and bytes, in one Dockerfile (docs/adr/0021).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from dynamo_containers.plan.dockerfile import HEREDOC
from dynamo_containers.plan.target import LINK, build_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.plan.target import Target, Targets
    from dynamo_containers.platforms import Platform

EPOCH = "SOURCE_DATE_EPOCH"
"""The argument that BuildKit itself reads. It is the same for every step, so it stays an argument of the build."""
BY_ARCHITECTURE = re.compile(r"-(?:amd64|arm64|\$\{TARGETARCH\})$")
SEPARATOR = "--"
"""Between the name of a target and that of its stage or context."""
HERE = "here"
"""The name of a target's own build context, which is a named context like the others in one Dockerfile."""
FROM = re.compile(r"^FROM(?P<flags>(?: +--\S+)*) +(?P<image>\S+)(?: +AS +(?P<alias>\S+))?$")
ARG = re.compile(r"^ARG (?P<name>\w+)(?:=.*)?$")
FROM_FLAG = re.compile(r"(?P<before>^(?:COPY|ADD)\b.*? --from=)(?P<name>\S+)")
BIND = re.compile(r"--mount=type=bind(?P<options>,\S+)")
FROM_OPTION = re.compile(r"(?<=,from=)[^,\s]+")


@dataclass(frozen=True, kw_only=True)
class MergedStage:
    """A stage of the merged Dockerfile."""

    name: str
    based_on: str
    uses: frozenset[str]
    """The stages and contexts that it names; `-*` stands for each architecture."""
    text: str


def merge(
    targets: Targets, name: str, texts: Mapping[str, str], native: Platform, copies: Mapping[str, Path]
) -> tuple[Target, str]:
    """Return one target that builds a target of a graph together with all that it is based on.

    Args:
        targets: the targets of the graph.
        name: the target that is built.
        texts: target -> the text of its Dockerfile.
        native: the platform of the machine that builds: that of the targets without platforms.
        copies: target -> the folder that its files were copied to (plan/source_export.py).

    Returns:
        The target without its Dockerfile, and the text of that.
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
    used = frozenset[str]().union(*(stage.uses for stage in stages))
    contexts = {key: value for key, value in contexts.items() if {key, BY_ARCHITECTURE.sub("-*", key)} & used}
    top = targets[name]
    return replace(top, args={EPOCH: top.args[EPOCH]}, contexts=contexts, stage=name), text


def sort_stages(stages: list[MergedStage], target: str) -> list[MergedStage]:
    """Return the stages so that each follows those that it uses; those that the target is based on come last.

    Of two stages that are based on the same one, BuildKit gives the first a part of the second's history. The image's
    history is that of the second, so that must be the stage that the target is based on.
    """
    by_name = {stage.name: stage for stage in stages}
    chain = [target]
    while (parent := by_name[chain[-1]].based_on) in by_name:
        chain.append(parent)
    order: dict[str, MergedStage] = {}
    while remaining := [name for name in by_name if name not in order]:
        ready = [name for name in remaining if by_name[name].uses & set(by_name) <= set(order)]
        following = next((name for name in ready if name not in chain), ready[0])
        order[following] = by_name[following]
    return list(order.values())


class _MergedTarget:
    """The Dockerfile of one target, renamed for the merged Dockerfile."""

    def __init__(self, name: str, target: Target, native: Platform | None) -> None:
        self.name = name
        self.args: dict[str, str] = dict(target.args)
        self.contexts = target.contexts
        self.native = native
        self.aliases: set[str] = set()
        self.names: set[str] = set()

    def stages(self, text: str) -> Iterator[MergedStage]:
        """Yield its stages without the ARGs above the first FROM: BuildKit predefines those."""
        lines = _without_comments(text)
        begins = [number for number, line in enumerate(lines) if line.instruction and line.text.startswith("FROM ")]
        for begin, end in zip(begins, (*begins[1:], len(lines)), strict=True):
            self.names = set()
            first, *rest = (
                self._line(line.text, final=end == len(lines)) if line.instruction else line.text
                for line in lines[begin:end]
            )
            *_, parent, _, name = first.split()
            text = "".join(f"{line}\n" for line in (first, *rest))
            yield MergedStage(name=name, based_on=parent, uses=frozenset(self.names), text=text)

    def _line(self, line: str, *, final: bool) -> str:
        if match := FROM.match(line):
            return self._from(match, final=final)
        if (match := ARG.match(line)) and (value := self._value(match["name"])) is not None:
            return f"ARG {match['name']}={_quoted(value)}"
        if line.startswith(("COPY ", "ADD ")):
            return self._copy(line)
        return BIND.sub(self._mount, line)

    def _from(self, match: re.Match[str], *, final: bool) -> str:
        image, flags = self._renamed(match["image"]), match["flags"]
        if self.native:  # built for the machine that builds, whatever the platforms of the image are
            image, flags = image.replace("${TARGETARCH}", self.native.arch), " --platform=${BUILDPLATFORM}"
        if final:
            return f"FROM{flags} {image} AS {self.name}"
        self.aliases.add(match["alias"])
        return f"FROM{flags} {image} AS {self.name}{SEPARATOR}{match['alias']}"

    def _value(self, argument: str) -> str | None:
        if argument == "TARGETARCH" and self.native:
            return self.native.arch
        return None if argument == EPOCH else self.args.get(argument)

    def _copy(self, line: str) -> str:
        if FROM_FLAG.match(line):
            return FROM_FLAG.sub(lambda match: match["before"] + self._renamed(match["name"]), line)
        keyword, rest = line.split(" ", 1)
        return line if HEREDOC.search(rest) else f"{keyword} --from={self._own(HERE)} {rest}"

    def _mount(self, match: re.Match[str]) -> str:
        options = match["options"]
        if not FROM_OPTION.search(options):
            return f"--mount=type=bind,from={self._own(HERE)}{options}"
        return "--mount=type=bind" + FROM_OPTION.sub(lambda name: self._renamed(name[0]), options)

    def _renamed(self, name: str) -> str:
        """Return the new name of a stage or context; as in BuildKit, a context wins over a stage of the same name."""
        context = self.contexts.get(name, "")
        if context.startswith(LINK):
            self.names.add(context.removeprefix(LINK))
            return context.removeprefix(LINK)
        if context or name in self.aliases or BY_ARCHITECTURE.search(name):
            return self._own(name)
        return name  # scratch

    def _own(self, name: str) -> str:
        own = f"{self.name}{SEPARATOR}{name}"
        self.names.add(BY_ARCHITECTURE.sub("-*", own))
        return own


class _RawLine(NamedTuple):
    """A line of a Dockerfile, as it is written."""

    text: str
    instruction: bool
    """Whether it belongs to an instruction; else it is a line of a here-document."""


def _without_comments(text: str) -> list[_RawLine]:
    """Return the lines of a Dockerfile without its comments."""
    lines: list[_RawLine] = []
    ends: list[str] = []
    for line in text.splitlines():
        if ends:
            lines.append(_RawLine(line, instruction=False))
            if line == ends[0]:
                ends.pop(0)
            continue
        if line.lstrip().startswith("#"):
            continue
        lines.append(_RawLine(line, instruction=True))
        ends = [match["end"] for match in HEREDOC.finditer(line)]
    return lines


def _quoted(value: str) -> str:
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
