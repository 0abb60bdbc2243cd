"""Rules for Dockerfiles and scripts, as data.

Only what hadolint, which runs first, does not see: it has rules for secrets (DL3064), constant platforms (DL3029) and
packages without a version (DL3008, DL3013, DL3016, ...), but none about checksums, layers, hashes or caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.lint import dockerfile_checks
from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dynamo_containers.lint.dockerfile_checks import Found
    from dynamo_containers.plan.dockerfile import Dockerfile


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


def findings(file: Dockerfile, rules: Iterable[Rule]) -> Iterator[tuple[int, Rule, str]]:
    """Return (line, rule, what is wrong there) of everything that a file does and may not."""
    for rule in rules:
        yield from ((line, rule, what) for line, what in dict.fromkeys(rule.check(file)))


RULES = (
    Rule(
        name="registry-syntax",
        why="a build would need that registry, and another parser may come from it every day",
        instead="leave the line out: the engine's own parser is used",
        check=dockerfile_checks.registry_syntax,
    ),
    Rule(
        name="changes-above-work",
        why="everything below it is done again for every commit",
        instead="move it below the last RUN, mount single files, or put the value into a label",
        check=dockerfile_checks.changing_above_work,
    ),
    Rule(
        name="unchecked-download",
        why="whoever holds that server decides what is in the image, and it may change from one build to the next",
        instead="pin it in containers/pins.toml, or ADD --checksum=sha256:..., or `sha256sum --check` in the same step",
        check=dockerfile_checks.unchecked_download,
        in_scripts=True,
    ),
    Rule(
        name="unpinned-install",
        why="the same commit gives another image tomorrow",
        instead="name it in requirements/ or in a set of OS packages, run `invoke lock`, install the lock"
        " (--require-hashes, --no-index, install-locked, install-debs)",
        check=dockerfile_checks.unpinned_install,
        in_scripts=True,
    ),
    Rule(
        name="deleted-later",
        why="a layer below keeps what a later one hides, so everybody pulls it all the same",
        instead="remove it in the step that makes it, or mount it",
        check=dockerfile_checks.deleted_later,
    ),
    Rule(
        name="x86-only",
        why="the image is made for arm64 too, where this is missing or wrong",
        instead="use ${TARGETARCH}, `uname -m` or a case with both architectures",
        check=dockerfile_checks.x86_only,
        in_scripts=True,
    ),
    Rule(
        name="root-without-digest",
        why="the same commit gives another image when the tag is moved",
        instead="name a context of the graph: root images are pinned by digest in containers/pins.toml",
        check=dockerfile_checks.unpinned_root,
    ),
    Rule(
        name="cache-without-version",
        why="two versions of a tool that read each other's cache break builds that are hard to repeat",
        instead="give it id=TOOL-${VERSION}; VERSIONED_CACHES in dockerfile_checks.py has the tools that need none",
        check=dockerfile_checks.cache_without_version,
    ),
)
