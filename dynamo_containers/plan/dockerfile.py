"""Parser of Dockerfiles: instructions with their lines, and a summary of what decides a rebuild.

After https://docs.docker.com/reference/dockerfile/: directives, comments, continued lines, flags and here-documents.
dockerfile-parse, the parser on the package index, takes the lines of a here-document for instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

DIRECTIVE = re.compile(r"#\s*(?P<name>[a-z]+)\s*=\s*(?P<value>\S.*)", re.IGNORECASE)
HEREDOC = re.compile(r"(?<!<)<<(?P<tabs>-?)(?P<quote>[\"']?)(?P<end>[A-Za-z_][\w.]*)(?P=quote)")
FLAG = re.compile(r"--[a-z][a-z-]*(?:=\S*)?(?:\s+|$)")
BIND_MOUNT = "--mount=type=bind,"
WITH_HEREDOC = ("RUN", "COPY", "ADD")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line that means something, continued ones joined, by the number of the first of them."""

    number: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction; `word` in capitals."""

    line: int
    word: str
    flags: tuple[str, ...] = ()
    """`--mount=type=cache,id=uv`, as they stand there."""
    arguments: str = ""
    body: tuple[Line, ...] = ()
    """The lines of its here-documents."""

    @property
    def script(self) -> tuple[Line, ...]:
        """Return the lines that a shell runs."""
        return (Line(number=self.line, text=self.arguments), *self.body)

    @property
    def text(self) -> str:
        """Return all that it says."""
        return "\n".join((*self.flags, self.arguments, *(line.text for line in self.body)))


@dataclass(frozen=True, kw_only=True)
class DockerfileStage:
    """A FROM and what follows it."""

    line: int
    platform: str
    """The value of its --platform; '' where it has none."""
    image: str
    name: str
    """What it is called; '' where it is not."""
    steps: tuple[Instruction, ...]


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """What a Dockerfile says."""

    directives: tuple[tuple[int, str, str], ...]
    """(line, name, value), `syntax` among them."""
    head: tuple[Instruction, ...]
    """What stands above the first FROM."""
    stages: tuple[DockerfileStage, ...]

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """Return every instruction but the FROMs."""
        return (*self.head, *(step for stage in self.stages for step in stage.steps))


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A path of a named context that a RUN reads."""

    context: str
    source: str
    """Below the context, with the build's arguments still as `${NAME}`; '' for all of it."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What decides whether BuildKit runs the steps of a Dockerfile again.

    https://docs.docker.com/build/cache/invalidation/
    """

    about: str
    """Its first comment: what the target is."""
    arguments: frozenset[str]
    mounts: tuple[Mount, ...]
    based_on: str
    """The name in its last FROM."""
    relocatable: bool
    """Whether its layers are the same bytes on any base: a linked copy is moved onto another one as it is."""


def summary(text: str) -> Summary:
    """Return the summary of a Dockerfile that has a FROM."""
    dockerfile = parse(text)
    *earlier, last = dockerfile.stages
    instructions = dockerfile.instructions
    # What an earlier stage runs on the same image may come out differently on another one.
    also_below = any(stage.image == last.image for stage in earlier)
    return Summary(
        about=_first_sentence(text),
        arguments=frozenset(
            instruction.arguments.partition("=")[0]
            for instruction in dockerfile.instructions
            if instruction.word == "ARG"
        ),
        mounts=tuple(
            mount
            for step in instructions
            for flag in step.flags
            if flag.startswith(BIND_MOUNT) and (mount := _mount(flag.removeprefix(BIND_MOUNT))).context
        ),
        based_on=last.image,
        relocatable=not also_below and not any(map(_depends_on_base, last.steps)),
    )


def _depends_on_base(instruction: Instruction) -> bool:
    return instruction.word in ("RUN", "ADD") or (instruction.word == "COPY" and "--link" not in instruction.flags)


def _first_sentence(text: str) -> str:
    lines = (line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def _mount(options: str) -> Mount:
    values = dict(option.partition("=")[::2] for option in options.split(","))
    return Mount(context=values.get("from", ""), source=values.get("source", ""))


def parse(text: str) -> Dockerfile:
    """Return what a Dockerfile says."""
    every = _instructions(text.splitlines())
    places = [place for place, each in enumerate(every) if each.word == "FROM"]
    ends = [*places[1:], len(every)]
    return Dockerfile(
        directives=_directives(text),
        head=every[: places[0]] if places else every,
        stages=tuple(_stage(every[place], every[place + 1 : end]) for place, end in zip(places, ends, strict=True)),
    )


def _directives(text: str) -> tuple[tuple[int, str, str], ...]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = DIRECTIVE.fullmatch(line.strip())
        if not said:  # they end at the first line that is none
            break
        found.append((number, said["name"].lower(), said["value"].strip()))
    return tuple(found)


def _stage(start: Instruction, steps: tuple[Instruction, ...]) -> DockerfileStage:
    image, *rest = start.arguments.split()
    named = rest[1] if len(rest) > 1 and rest[0].upper() == "AS" else ""
    platform = next((flag.partition("=")[2] for flag in start.flags if flag.startswith("--platform=")), "")
    return DockerfileStage(line=start.line, platform=platform, image=image, name=named, steps=steps)


def _instructions(lines: list[str]) -> tuple[Instruction, ...]:
    found, place = [], 0
    while place < len(lines):
        joined, after = _joined(lines, place)
        if joined.text:
            word, _, rest = joined.text.partition(" ")
            bodies, after = _bodies(lines, after, rest if word.upper() in WITH_HEREDOC else "")
            flags, arguments = _flags(rest.strip())
            found.append(
                Instruction(line=joined.number, word=word.upper(), flags=flags, arguments=arguments, body=bodies)
            )
        place = after
    return tuple(found)


def _joined(lines: list[str], place: int) -> tuple[Line, int]:
    """Return the meaning of the lines from `place` on that belong together ('' for none), and the place after them."""
    words: list[str] = []
    first = place
    while place < len(lines):
        line = lines[place].strip()
        place += 1
        if line.startswith("#") or (not line and words):
            if not words:
                break
            continue  # between continued lines comments and empty ones are left out
        words.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            break
    return Line(number=first + 1, text=" ".join(words)), place


def _flags(text: str) -> tuple[tuple[str, ...], str]:
    flags = []
    while found := FLAG.match(text):
        flags.append(found[0].strip())
        text = text[found.end() :]
    return tuple(flags), text


def _bodies(lines: list[str], place: int, rest: str) -> tuple[tuple[Line, ...], int]:
    """Return the lines of the here-documents that an instruction opens, and the place after them."""
    found: list[Line] = []
    for opened in HEREDOC.finditer(rest):
        end = place
        while end < len(lines) and (lines[end].lstrip("\t") if opened["tabs"] else lines[end]) != opened["end"]:
            end += 1
        found += script(lines[place:end], place)
        place = end + 1
    return tuple(found), place


def script(lines: list[str], before: int = 0) -> tuple[Line, ...]:
    """Return the lines of a shell script that mean something; `before` is how many lines of its file precede them."""
    found, place = [], 0
    while place < len(lines):
        joined, place = _joined(lines, place)
        found += [Line(number=joined.number + before, text=joined.text)] if joined.text else []
    return tuple(found)
