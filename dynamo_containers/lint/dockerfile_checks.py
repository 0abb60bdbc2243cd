"""Checks of Dockerfiles, behind the rules of dockerfile_rules.py."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.plan.dockerfile import Dockerfile, Instruction, Line, Stage

    Found = tuple[int, str]
    """The line, and what is wrong there."""

PER_COMMIT = re.compile(
    r"(?:(?:GIT|VCS|CI|BUILD|SOURCE)_)?(?:COMMIT|REVISION|SHA|REF|TIMESTAMP|CREATED)(?:_SHA)?|BUILD_(?:DATE|TIME|NUMBER|ID)"
)
"""Names of arguments that have another value at every commit or build; UCX_COMMIT is a pin, which has not."""
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
    "uv": "each folder of uv's cache has the version of its format, and several uv may share one"
    " (https://docs.astral.sh/uv/concepts/cache/#cache-versioning)",
}
"""Tools whose cache needs no version in its id, and why."""
REMOVED = re.compile(r"(?:^|[\s;&|])rm\s+(?P<words>(?:-\S+\s+)+[^;&|\n]+)")
FILLED = {
    "/var/lib/apt/lists": r"\bapt(?:-get)?\s",
    "/var/cache/apt": r"\bapt(?:-get)?\s",
    "/root/.cache": r"\b(?:pip|uv)\s",
}


def _runs(file: Dockerfile) -> Iterator[Instruction]:
    yield from (each for each in file.instructions if each.word == "RUN")


def _commands(line: Line) -> Iterator[list[str]]:
    text = INNER.sub("", line.text)
    yield from (words for part in COMMANDS.split(text) if (words := part.replace('"', " ").split()))


def registry_syntax(file: Dockerfile) -> Iterator[Found]:
    """Find a parser that would come from a registry."""
    for number, name, value in file.directives:
        if name == "syntax":
            yield number, f"the parser {value} is fetched from a registry"


def changing_above_work(file: Dockerfile) -> Iterator[Found]:
    """Find what has another value at every commit above a RUN of the same stage."""
    for stage in file.stages:
        for place, step in enumerate(stage.steps):
            later = [each for each in stage.steps[place + 1 :] if each.word in WORK]
            if later and (what := _per_commit(step)):
                yield (
                    step.line,
                    f"{what} changes at every commit, and the {later[0].word} of line {later[0].line} is below it",
                )


def _per_commit(step: Instruction) -> str:
    """Return what in a step changes at every commit, '' for nothing."""
    words = step.arguments.split()
    if step.word == "ARG":
        names = (word.partition("=")[0] for word in words)
        return next((f"ARG {name}" for name in names if PER_COMMIT.fullmatch(name)), "")
    own = step.word in ("COPY", "ADD") and not any(flag.startswith("--from=") for flag in step.flags)
    return f"the whole context of this {step.word}" if own and set(words[:-1]) & {*WHOLE_CONTEXT} else ""


def unchecked_download(file: Dockerfile) -> Iterator[Found]:
    """Find downloads of which nobody looks at a checksum."""
    for step in file.instructions:
        if step.word == "ADD":
            yield from _unchecked_add(step)
        if step.word != "RUN":
            continue
        checked, at_commit = CHECKED.search(step.text), AT_COMMIT.search(step.text)
        for line in step.script:
            if SCRIPT_PIPE.search(line.text) or (FETCHING.search(line.text) and not checked):
                yield line.number, "a file is downloaded and no checksum of it is looked at"
            if CLONING.search(line.text) and not at_commit:
                yield line.number, "sources are cloned and no commit is named"


def _unchecked_add(step: Instruction) -> Iterator[Found]:
    if any(flag.startswith("--checksum=") for flag in step.flags):
        return
    cloned = GIT_ADD.search(step.arguments)
    if cloned and not COMMIT.fullmatch(cloned["ref"] or ""):
        yield step.line, "sources are cloned and no commit is named"
    elif not cloned and REMOTE_ADD.search(step.arguments):
        yield step.line, "a file is downloaded and no checksum of it is looked at"


def unpinned_install(file: Dockerfile) -> Iterator[Found]:
    """Find installs that no lock decides."""
    for step in _runs(file):
        for line in step.script:
            for words in _commands(line):
                if what := _unpinned(words):
                    yield line.number, f"`{what}` takes what its source has at that moment"


def _unpinned(words: list[str]) -> str:
    """Return the installing words of a command whose result is not decided by hashes, '' for none."""
    names = [word.rpartition("/")[2] for word in words if not word.startswith("-")]
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    pairs = list(pairwise(names))
    if {("pip", "install"), ("pip3", "install"), ("pip", "wheel"), ("pip", "download")} & {*pairs}:
        # A script that hands on its own words (install-locked) is judged where it is called.
        return (
            ""
            if flags & {*HASHED} or "$@" in words
            else "pip " + names[names.index("pip" if "pip" in names else "pip3") + 1]
        )
    if "install-locked" in names:
        return "" if flags & {"--requirement", "--no-index"} else "install-locked"
    if ("cargo", "install") in pairs:
        return "" if {"--locked", "--version"} <= flags else "cargo install"
    others = (("uv", "add"), ("tool", "install"), ("pipx", "install"), ("npm", "install"), ("go", "install"))
    system = (("apt-get", "install"), ("apt", "install"), ("apk", "add"), ("dnf", "install"), ("yum", "install"))
    return next((" ".join(pair) for pair in (*others, *system) if pair in pairs), "")


def deleted_later(file: Dockerfile) -> Iterator[Found]:
    """Find files that a RUN removes and an earlier layer has."""
    for stage in file.stages:
        below = _below(file, stage)
        for place, step in enumerate(stage.steps):
            for line in step.script if step.word == "RUN" else ():
                for path in _removed(line.text):
                    made = next((each for each in (*below, *stage.steps[:place]) if _makes(each, path)), None)
                    if made and not _makes(step, path):
                        yield line.number, f"{path} stays in the layer of line {made.line}"


def _below(file: Dockerfile, stage: Stage) -> tuple[Instruction, ...]:
    """Return the steps of the stages of the same file that a stage stands on."""
    under = next(
        (each for each in file.stages if each.name and each.name == stage.image and each.line < stage.line), None
    )
    return (*_below(file, under), *under.steps) if under else ()


def _removed(text: str) -> Iterator[str]:
    for found in REMOVED.finditer(text):
        paths = (word.strip("\"'") for word in found["words"].split())
        yield from (path.removesuffix("/*").rstrip("/") for path in paths if path.startswith("/"))


def _makes(step: Instruction, path: str) -> bool:
    """Say whether a step puts something at a path: it copies to it, or names it, or runs what fills it."""
    if step.word in ("COPY", "ADD"):
        to = step.arguments.split()[-1].rstrip("/")
        return bool(to) and (path == to or path.startswith(f"{to}/"))
    if step.word != "RUN":
        return False
    said = REMOVED.sub(" ", step.text)
    filled = next((tool for folder, tool in FILLED.items() if path.startswith(folder)), "")
    return bool(re.search(rf"{re.escape(path)}(?![\w.-])", said) or (filled and re.search(filled, said)))


def x86_only(file: Dockerfile) -> Iterator[Found]:
    """Find what names the one architecture and not the other."""
    for step in file.instructions:
        if not ARM.search(step.text):
            for line in (dockerfile.Line(number=step.line, text=" ".join(step.flags)), *step.script):
                if found := X86.search(line.text):
                    yield line.number, f"{found[0]} is named, and nothing for arm64"
    for stage in file.stages:
        if X86.search(stage.platform) or X86.search(stage.image):
            yield stage.line, f"{stage.platform or stage.image} is for one architecture"


def unpinned_root(file: Dockerfile) -> Iterator[Found]:
    """Find images of a registry by tag."""
    named = {stage.name for stage in file.stages}
    for stage in file.stages:
        image = stage.image
        if image not in named and re.search(r"[:/]", re.sub(r"\$\{[^}]*\}", "", image)) and "@sha256:" not in image:
            yield stage.line, f"{image} is a tag, which may be moved"


def cache_without_version(file: Dockerfile) -> Iterator[Found]:
    """Find cache mounts that two versions of a tool would share."""
    for step in _runs(file):
        for flag in step.flags:
            if not flag.startswith("--mount=") or "type=cache" not in flag:
                continue
            found = ID.search(flag.partition("=")[2])
            if not found:
                yield step.line, "a cache mount has no id: its path is its name, shared with whatever mounts the same"
            elif found["id"] not in VERSIONED_CACHES and not re.search(r"\$\{?\w|\d", found["id"]):
                yield step.line, f"the id of the cache mount {found['id']} does not name the version of its tool"
