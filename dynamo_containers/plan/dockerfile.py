"""Parser of Dockerfiles: instructions with their lines, and a summary of the inputs of a rebuild.

See https://docs.docker.com/reference/dockerfile/: directives, comments, continued lines, flags and here-documents.
dockerfile-parse, the parser on the package index, reads the lines of a here-document as instructions.
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
    """A line that is not a comment. Continued lines are joined, and have the number of the first of them."""

    number: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction; its keyword is in capitals."""

    line: int
    keyword: str
    flags: tuple[str, ...] = ()
    """`--mount=type=cache,id=uv`, as they are written."""
    arguments: str = ""
    body: tuple[Line, ...] = ()
    """The lines of its here-documents."""

    @property
    def script(self) -> tuple[Line, ...]:
        """Return the lines that a shell runs."""
        return (Line(number=self.line, text=self.arguments), *self.body)

    @property
    def text(self) -> str:
        """Return its flags, arguments and here-documents."""
        return "\n".join((*self.flags, self.arguments, *(line.text for line in self.body)))


@dataclass(frozen=True, kw_only=True)
class DockerfileStage:
    """A FROM, and the instructions after it."""

    line: int
    platform: str
    """The value of its --platform ('' for none)."""
    image: str
    name: str
    """The name after AS ('' for none)."""
    steps: tuple[Instruction, ...]


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """A parsed Dockerfile."""

    directives: tuple[tuple[int, str, str], ...]
    """(line, name, value), `syntax` among them."""
    head: tuple[Instruction, ...]
    """The instructions above the first FROM."""
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
    """The inputs that decide whether BuildKit runs the steps of a Dockerfile again.

    https://docs.docker.com/build/cache/invalidation/
    """

    about: str
    """Its first comment, which describes the target."""
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
    # The result of an earlier stage that is based on the same image may differ on another image.
    shares_base = any(stage.image == last.image for stage in earlier)
    return Summary(
        about=_first_sentence(text),
        arguments=frozenset(
            instruction.arguments.partition("=")[0] for instruction in instructions if instruction.keyword == "ARG"
        ),
        mounts=tuple(
            mount
            for step in instructions
            for flag in step.flags
            if flag.startswith(BIND_MOUNT) and (mount := _mount(flag.removeprefix(BIND_MOUNT))).context
        ),
        based_on=last.image,
        relocatable=not shares_base and not any(map(_depends_on_base, last.steps)),
    )


def _depends_on_base(instruction: Instruction) -> bool:
    return instruction.keyword in ("RUN", "ADD") or (
        instruction.keyword == "COPY" and "--link" not in instruction.flags
    )


def _first_sentence(text: str) -> str:
    lines = (line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def _mount(options: str) -> Mount:
    values = dict(option.partition("=")[::2] for option in options.split(","))
    return Mount(context=values.get("from", ""), source=values.get("source", ""))


def parse(text: str) -> Dockerfile:
    """Parse the text of a Dockerfile."""
    instructions = _instructions(text.splitlines())
    starts = [index for index, instruction in enumerate(instructions) if instruction.keyword == "FROM"]
    ends = [*starts[1:], len(instructions)]
    return Dockerfile(
        directives=_directives(text),
        head=instructions[: starts[0]] if starts else instructions,
        stages=tuple(
            _stage(instructions[start], instructions[start + 1 : end]) for start, end in zip(starts, ends, strict=True)
        ),
    )


def _directives(text: str) -> tuple[tuple[int, str, str], ...]:
    directives = []
    for number, line in enumerate(text.splitlines(), 1):
        match = DIRECTIVE.fullmatch(line.strip())
        if not match:  # directives end at the first other line
            break
        directives.append((number, match["name"].lower(), match["value"].strip()))
    return tuple(directives)


def _stage(start: Instruction, steps: tuple[Instruction, ...]) -> DockerfileStage:
    image, *rest = start.arguments.split()
    name = rest[1] if len(rest) > 1 and rest[0].upper() == "AS" else ""
    platform = next((flag.partition("=")[2] for flag in start.flags if flag.startswith("--platform=")), "")
    return DockerfileStage(line=start.line, platform=platform, image=image, name=name, steps=steps)


def _instructions(lines: list[str]) -> tuple[Instruction, ...]:
    instructions, index = [], 0
    while index < len(lines):
        joined, after = _joined(lines, index)
        if joined.text:
            keyword, _, rest = joined.text.partition(" ")
            body, after = _body(lines, after, rest if keyword.upper() in WITH_HEREDOC else "")
            flags, arguments = _flags(rest.strip())
            instructions.append(
                Instruction(line=joined.number, keyword=keyword.upper(), flags=flags, arguments=arguments, body=body)
            )
        index = after
    return tuple(instructions)


def _joined(lines: list[str], index: int) -> tuple[Line, int]:
    """Join a line with those that continue it ('' for a comment or an empty line); return also the index after them."""
    parts: list[str] = []
    first = index
    while index < len(lines):
        line = lines[index].strip()
        index += 1
        if line.startswith("#") or (not line and parts):
            if not parts:
                break
            continue  # comments and empty lines between continued lines are left out
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            break
    return Line(number=first + 1, text=" ".join(parts)), index


def _flags(text: str) -> tuple[tuple[str, ...], str]:
    flags = []
    while match := FLAG.match(text):
        flags.append(match[0].strip())
        text = text[match.end() :]
    return tuple(flags), text


def _body(lines: list[str], index: int, rest: str) -> tuple[tuple[Line, ...], int]:
    """Return the lines of the here-documents that an instruction opens, and the index after them."""
    body: list[Line] = []
    for heredoc in HEREDOC.finditer(rest):
        end = index
        while end < len(lines) and (lines[end].lstrip("\t") if heredoc["tabs"] else lines[end]) != heredoc["end"]:
            end += 1
        body += script(lines[index:end], index)
        index = end + 1
    return tuple(body), index


def script(lines: list[str], before: int = 0) -> tuple[Line, ...]:
    """Return the lines of a shell script without comments; `before` is the number of lines of its file above them."""
    joined_lines, index = [], 0
    while index < len(lines):
        joined, index = _joined(lines, index)
        joined_lines += [Line(number=joined.number + before, text=joined.text)] if joined.text else []
    return tuple(joined_lines)
