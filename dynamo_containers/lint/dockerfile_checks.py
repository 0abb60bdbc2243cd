"""Checks of Dockerfiles, behind the rules of dockerfile_rules.py."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.plan.dockerfile import Dockerfile, DockerfileStage, Instruction, Line

    Fault = tuple[int, str]
    """The line, and what is wrong in it."""

PER_COMMIT = re.compile(
    r"(?:(?:GIT|VCS|CI|BUILD|SOURCE)_)?(?:COMMIT|REVISION|SHA|REF|TIMESTAMP|CREATED)(?:_SHA)?|BUILD_(?:DATE|TIME|NUMBER|ID)"
)
"""Names of arguments whose value changes with every commit or build; UCX_COMMIT is a pin, so it is not one."""
WORK = ("RUN",)
WHOLE_CONTEXT = (".", "./", "./.")
FETCHING = re.compile(r"(?:^|[\s;&|($])(?:curl|wget)\s+(?!--version)")
CHECKED = re.compile(r"(?:sha(?:256|384|512)sum|shasum|b2sum)\b[^\n]*\s(?:-c|--check)|\bgpgv?\b[^\n]*--verify")
CLONING = re.compile(r"\bgit\s+(?:\S+\s+)*?(?:clone|pull|submodule\s+update)\b")
AT_COMMIT = re.compile(r"\bgit\s[^\n]*(?:checkout|reset|fetch)\b[^\n]*(?:[0-9a-f]{40}|\$)")
SCRIPT_PIPE = re.compile(r"\b(?:curl|wget)\b[^|\n]*\|\s*(?:sudo\s+)?(?:ba|da)?sh\b")
REMOTE_ADD = re.compile(r"(?:https?|ftp)://")
GIT_ADD = re.compile(r"(?:git@|git://|https?://)\S+\.git(?:#(?P<ref>[^\s:]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
INNER = re.compile(r"\$\([^()]*\)")
COMMANDS = re.compile(r"&&|\|\||[;|\n]|(?:^|\s)(?:then|do|else)\s")
HASHED = ("--require-hashes", "--no-index")
X86 = re.compile(r"(?<![A-Za-z0-9])(?:x86[_-]64|amd64|linux-x64)(?![A-Za-z0-9])")
ARM = re.compile(r"aarch64|arm64")
ID = re.compile(r"(?:^|,)id=(?P<id>[^,\s]+)")
VERSIONED_CACHES = {
    "uv": "each folder of uv's cache has the version of its format in its name, so versions of uv can share it"
    " (https://docs.astral.sh/uv/concepts/cache/#cache-versioning)",
}
"""Tool whose cache needs no version in its id -> why not."""
REMOVED = re.compile(r"(?:^|[\s;&|])rm\s+(?P<arguments>(?:-\S+\s+)+[^;&|\n]+)")
FILLED = {
    "/var/lib/apt/lists": r"\bapt(?:-get)?\s",
    "/var/cache/apt": r"\bapt(?:-get)?\s",
    "/root/.cache": r"\b(?:pip|uv)\s",
}


def _runs(file: Dockerfile) -> Iterator[Instruction]:
    yield from (instruction for instruction in file.instructions if instruction.keyword == "RUN")


def _commands(line: Line) -> Iterator[list[str]]:
    text = INNER.sub("", line.text)
    yield from (argv for command in COMMANDS.split(text) if (argv := command.replace('"', " ").split()))


def registry_syntax(file: Dockerfile) -> Iterator[Fault]:
    """Find parsers of Dockerfiles that a registry serves."""
    for number, name, value in file.directives:
        if name == "syntax":
            yield number, f"a registry serves the parser {value}"


def changing_above_work(file: Dockerfile) -> Iterator[Fault]:
    """Find values that change with every commit above a RUN of the same stage."""
    for stage in file.stages:
        for index, instruction in enumerate(stage.steps):
            later = next((step for step in stage.steps[index + 1 :] if step.keyword in WORK), None)
            if later and (changing := _per_commit(instruction)):
                fault = (
                    f"{changing} changes with every commit, and the {later.keyword} in line {later.line} is below it"
                )
                yield instruction.line, fault


def _per_commit(instruction: Instruction) -> str:
    """Return what in an instruction changes with every commit, '' for nothing."""
    arguments = instruction.arguments.split()
    if instruction.keyword == "ARG":
        names = (argument.partition("=")[0] for argument in arguments)
        return next((f"ARG {name}" for name in names if PER_COMMIT.fullmatch(name)), "")
    copies = instruction.keyword in ("COPY", "ADD") and not any(
        flag.startswith("--from=") for flag in instruction.flags
    )
    return (
        f"the whole context of this {instruction.keyword}" if copies and set(arguments[:-1]) & {*WHOLE_CONTEXT} else ""
    )


def unchecked_download(file: Dockerfile) -> Iterator[Fault]:
    """Find downloads whose checksum is not verified."""
    for step in file.instructions:
        if step.keyword == "ADD":
            yield from _unchecked_add(step)
        if step.keyword != "RUN":
            continue
        checked, at_commit = CHECKED.search(step.text), AT_COMMIT.search(step.text)
        for line in step.script:
            if SCRIPT_PIPE.search(line.text) or (FETCHING.search(line.text) and not checked):
                yield line.number, "a file is downloaded and its checksum is not verified"
            if CLONING.search(line.text) and not at_commit:
                yield line.number, "sources are cloned without a commit"


def _unchecked_add(step: Instruction) -> Iterator[Fault]:
    if any(flag.startswith("--checksum=") for flag in step.flags):
        return
    cloned = GIT_ADD.search(step.arguments)
    if cloned and not COMMIT.fullmatch(cloned["ref"] or ""):
        yield step.line, "sources are cloned without a commit"
    elif not cloned and REMOTE_ADD.search(step.arguments):
        yield step.line, "a file is downloaded and its checksum is not verified"


def unpinned_install(file: Dockerfile) -> Iterator[Fault]:
    """Find installations that no lock pins."""
    for step in _runs(file):
        for line in step.script:
            for argv in _commands(line):
                if command := _unpinned(argv):
                    yield line.number, f"`{command}` installs whatever its source has at that moment"


def _unpinned(argv: list[str]) -> str:
    """Return the name of an installing command whose result no hashes decide, '' for another command."""
    names = [argument.rpartition("/")[2] for argument in argv if not argument.startswith("-")]
    flags = {argument.partition("=")[0] for argument in argv if argument.startswith("-")}
    pairs = list(pairwise(names))
    if {("pip", "install"), ("pip3", "install"), ("pip", "wheel"), ("pip", "download")} & {*pairs}:
        # A script that passes on its arguments (install-locked) is checked where it is called.
        return (
            ""
            if flags & {*HASHED} or "$@" in argv
            else "pip " + names[names.index("pip" if "pip" in names else "pip3") + 1]
        )
    if "install-locked" in names:
        return "" if flags & {"--requirement", "--no-index"} else "install-locked"
    if ("cargo", "install") in pairs:
        return "" if {"--locked", "--version"} <= flags else "cargo install"
    others = (("uv", "add"), ("tool", "install"), ("pipx", "install"), ("npm", "install"), ("go", "install"))
    system = (("apt-get", "install"), ("apt", "install"), ("apk", "add"), ("dnf", "install"), ("yum", "install"))
    return next((" ".join(pair) for pair in (*others, *system) if pair in pairs), "")


def deleted_later(file: Dockerfile) -> Iterator[Fault]:
    """Find files that a RUN removes although an earlier layer has them."""
    for stage in file.stages:
        base = _base(file, stage)
        for index, step in enumerate(stage.steps):
            for line in step.script if step.keyword == "RUN" else ():
                for path in _removed(line.text):
                    source = next((lower for lower in (*base, *stage.steps[:index]) if _creates(lower, path)), None)
                    if source and not _creates(step, path):
                        yield line.number, f"{path} stays in the layer of line {source.line}"


def _base(file: Dockerfile, stage: DockerfileStage) -> tuple[Instruction, ...]:
    """Return the instructions of the stages of the same file that a stage is based on."""
    earlier = (lower for lower in file.stages if lower.name and lower.line < stage.line)
    base = next((lower for lower in earlier if lower.name == stage.image), None)
    return (*_base(file, base), *base.steps) if base else ()


def _removed(text: str) -> Iterator[str]:
    for match in REMOVED.finditer(text):
        paths = (argument.strip("\"'") for argument in match["arguments"].split())
        yield from (path.removesuffix("/*").rstrip("/") for path in paths if path.startswith("/"))


def _creates(step: Instruction, path: str) -> bool:
    """Return whether an instruction creates a path: it copies to it, names it, or runs a tool that fills it."""
    if step.keyword in ("COPY", "ADD"):
        target = step.arguments.split()[-1].rstrip("/")
        return bool(target) and (path == target or path.startswith(f"{target}/"))
    if step.keyword != "RUN":
        return False
    commands = REMOVED.sub(" ", step.text)
    tool = next((tool for folder, tool in FILLED.items() if path.startswith(folder)), "")
    return bool(re.search(rf"{re.escape(path)}(?![\w.-])", commands) or (tool and re.search(tool, commands)))


def x86_only(file: Dockerfile) -> Iterator[Fault]:
    """Find what names x86-64 and not arm64."""
    for step in file.instructions:
        if not ARM.search(step.text):
            for line in (dockerfile.Line(number=step.line, text=" ".join(step.flags)), *step.script):
                if match := X86.search(line.text):
                    yield line.number, f"{match[0]} is named, and nothing for arm64"
    for stage in file.stages:
        if X86.search(stage.platform) or X86.search(stage.image):
            yield stage.line, f"{stage.platform or stage.image} is for a single architecture"


def unpinned_root(file: Dockerfile) -> Iterator[Fault]:
    """Find images of a registry without a digest."""
    stages = {stage.name for stage in file.stages}
    for stage in file.stages:
        image = stage.image
        if image not in stages and re.search(r"[:/]", re.sub(r"\$\{[^}]*\}", "", image)) and "@sha256:" not in image:
            yield stage.line, f"{image} is a tag, which can move"


def cache_without_version(file: Dockerfile) -> Iterator[Fault]:
    """Find cache mounts that two versions of a tool would share."""
    for step in _runs(file):
        for flag in step.flags:
            if not flag.startswith("--mount=") or "type=cache" not in flag:
                continue
            match = ID.search(flag.partition("=")[2])
            if not match:
                yield step.line, "a cache mount without an id is shared with every mount of the same path"
            elif match["id"] not in VERSIONED_CACHES and not re.search(r"\$\{?\w|\d", match["id"]):
                yield step.line, f"the id of the cache mount {match['id']} does not have the version of its tool"
