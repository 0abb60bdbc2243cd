"""What in a Dockerfile or a script makes a build slow, unsafe or different elsewhere? Rules as data.

Only what hadolint, which runs first, does not see: it has rules for secrets (DL3064), constant platforms (DL3029) and
packages without a version (DL3008, DL3013, DL3016, ...), but none about checksums, layers, hashes or caches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dynamo_containers import dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dynamo_containers.dockerfile import Dockerfile, Instruction, Line, Stage

    Found = tuple[int, str]
    """The line, and what is wrong there."""

PER_COMMIT = re.compile(
    r"(?:.*_)?(?:COMMIT|REVISION|GIT_?SHA|SHA|GIT_?REF|BUILD_(?:DATE|TIME|NUMBER|ID)|TIMESTAMP|CREATED)(?:_.*)?"
)
"""Names of arguments that have another value at every commit or build."""
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


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that no file may do."""

    name: str
    why: str
    instead: str
    check: Callable[[Dockerfile], Iterator[Found]]
    in_scripts: bool = False
    """Whether it is asked of shell scripts too: a script is read as one RUN."""


def as_run(text: str) -> Dockerfile:
    """Return a shell script as a Dockerfile with one RUN would have it."""
    body = dockerfile.script(text.splitlines())
    run = dockerfile.Instruction(line=1, word="RUN", body=body)
    stage = dockerfile.Stage(line=1, platform="", image="", name="", steps=(run,))
    return dockerfile.Dockerfile(directives=(), head=(), stages=(stage,))


def _runs(file: Dockerfile) -> Iterator[Instruction]:
    yield from (each for each in file.instructions if each.word == "RUN")


def _commands(line: Line) -> Iterator[list[str]]:
    text = INNER.sub("", line.text)
    yield from (words for part in COMMANDS.split(text) if (words := part.replace('"', " ").split()))


def _registry_syntax(file: Dockerfile) -> Iterator[Found]:
    for number, name, value in file.directives:
        if name == "syntax":
            yield number, f"the parser {value} is fetched from a registry"


def _changing_above_work(file: Dockerfile) -> Iterator[Found]:
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


def _unchecked_download(file: Dockerfile) -> Iterator[Found]:
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


def _unpinned_install(file: Dockerfile) -> Iterator[Found]:
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


def _deleted_later(file: Dockerfile) -> Iterator[Found]:
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


def _x86_only(file: Dockerfile) -> Iterator[Found]:
    for step in file.instructions:
        if not ARM.search(step.text):
            for line in (dockerfile.Line(number=step.line, text=" ".join(step.flags)), *step.script):
                if found := X86.search(line.text):
                    yield line.number, f"{found[0]} is named, and nothing for arm64"
    for stage in file.stages:
        if X86.search(stage.platform) or X86.search(stage.image):
            yield stage.line, f"{stage.platform or stage.image} is for one architecture"


def _unpinned_root(file: Dockerfile) -> Iterator[Found]:
    named = {stage.name for stage in file.stages}
    for stage in file.stages:
        image = stage.image
        if image not in named and re.search(r"[:/]", re.sub(r"\$\{[^}]*\}", "", image)) and "@sha256:" not in image:
            yield stage.line, f"{image} is a tag, which may be moved"


def _cache_without_version(file: Dockerfile) -> Iterator[Found]:
    for step in _runs(file):
        for flag in step.flags:
            if not flag.startswith("--mount=") or "type=cache" not in flag:
                continue
            found = ID.search(flag.partition("=")[2])
            if not found:
                yield step.line, "a cache mount has no id: its path is its name, shared with whatever mounts the same"
            elif found["id"] not in VERSIONED_CACHES and not re.search(r"\$\{?\w|\d", found["id"]):
                yield step.line, f"the id of the cache mount {found['id']} does not name the version of its tool"


def findings(file: Dockerfile, rules: Iterable[Rule]) -> Iterator[tuple[int, Rule, str]]:
    """Return (line, rule, what is wrong there) of everything that a file does and may not."""
    for rule in rules:
        yield from ((line, rule, what) for line, what in dict.fromkeys(rule.check(file)))


RULES = (
    Rule(
        name="registry-syntax",
        why="a build would need that registry, and another parser may come from it every day",
        instead="leave the line out: the engine's own parser is used",
        check=_registry_syntax,
    ),
    Rule(
        name="changes-above-work",
        why="everything below it is done again for every commit",
        instead="move it below the last RUN, mount single files, or put the value into a label",
        check=_changing_above_work,
    ),
    Rule(
        name="unchecked-download",
        why="whoever holds that server decides what is in the image, and it may change from one build to the next",
        instead="pin it in containers/pins.toml, or ADD --checksum=sha256:..., or `sha256sum --check` in the same step",
        check=_unchecked_download,
        in_scripts=True,
    ),
    Rule(
        name="unpinned-install",
        why="the same commit gives another image tomorrow",
        instead="name it in requirements/ or in a set of OS packages, run `invoke lock`, install the lock"
        " (--require-hashes, --no-index, install-locked, install-debs)",
        check=_unpinned_install,
        in_scripts=True,
    ),
    Rule(
        name="deleted-later",
        why="a layer below keeps what a later one hides, so everybody pulls it all the same",
        instead="remove it in the step that makes it, or mount it",
        check=_deleted_later,
    ),
    Rule(
        name="x86-only",
        why="the image is made for arm64 too, where this is missing or wrong",
        instead="use ${TARGETARCH}, `uname -m` or a case with both architectures",
        check=_x86_only,
        in_scripts=True,
    ),
    Rule(
        name="root-without-digest",
        why="the same commit gives another image when the tag is moved",
        instead="name a context of the graph: root images are pinned by digest in containers/pins.toml",
        check=_unpinned_root,
    ),
    Rule(
        name="cache-without-version",
        why="two versions of a tool that read each other's cache break builds that are hard to repeat",
        instead="give it id=TOOL-${VERSION}; VERSIONED_CACHES in file_rules.py has the tools that need none",
        check=_cache_without_version,
    ),
)
