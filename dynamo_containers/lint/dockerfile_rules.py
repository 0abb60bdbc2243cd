"""Rules for Dockerfiles and scripts, as data.

They cover what hadolint, which runs first, has no rule for: checksums, layers, hashes and caches. Secrets (DL3064),
constant platforms (DL3029) and packages without a version (DL3008, DL3013, DL3016, ...) are hadolint's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.lint import dockerfile_checks
from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dynamo_containers.lint.dockerfile_checks import Fault
    from dynamo_containers.plan.dockerfile import Dockerfile


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Something that a file must not do."""

    name: str
    reason: str
    instead: str
    check: Callable[[Dockerfile], Iterator[Fault]]
    in_scripts: bool = False
    """Whether shell scripts are checked too: a script is parsed as one RUN."""


def as_run(text: str) -> Dockerfile:
    """Return a shell script as a Dockerfile with a single RUN."""
    body = dockerfile.script(text.splitlines())
    run = dockerfile.Instruction(line=1, keyword="RUN", body=body)
    stage = dockerfile.DockerfileStage(line=1, platform="", image="", name="", steps=(run,))
    return dockerfile.Dockerfile(directives=(), head=(), stages=(stage,))


def findings(file: Dockerfile, rules: Iterable[Rule]) -> Iterator[tuple[int, Rule, str]]:
    """Yield (line, rule, fault) for everything in a file that breaks a rule."""
    for rule in rules:
        yield from ((line, rule, fault) for line, fault in dict.fromkeys(rule.check(file)))


RULES = (
    Rule(
        name="registry-syntax",
        reason="a build would need that registry, which can serve another parser every day",
        instead="remove the line: the engine has a parser",
        check=dockerfile_checks.registry_syntax,
    ),
    Rule(
        name="changes-above-work",
        reason="everything below it is rebuilt for every commit",
        instead="move it below the last RUN, mount single files, or put the value into a label",
        check=dockerfile_checks.changing_above_work,
    ),
    Rule(
        name="unchecked-download",
        reason="the server decides what is in the image, and that can change between two builds",
        instead="pin it in containers/pins.toml, or ADD --checksum=sha256:..., or `sha256sum --check` in the same RUN",
        check=dockerfile_checks.unchecked_download,
        in_scripts=True,
    ),
    Rule(
        name="unpinned-install",
        reason="the same commit builds another image tomorrow",
        instead="name it in requirements/ or in a set of OS packages, run `invoke lock`, install the lock"
        " (--require-hashes, --no-index, install-locked, install-debs)",
        check=dockerfile_checks.unpinned_install,
        in_scripts=True,
    ),
    Rule(
        name="deleted-later",
        reason="a lower layer keeps what a later one hides, so everybody pulls it anyway",
        instead="remove it in the RUN that creates it, or mount it",
        check=dockerfile_checks.deleted_later,
    ),
    Rule(
        name="x86-only",
        reason="the image is built for arm64 too, where this is missing or wrong",
        instead="use ${TARGETARCH}, `uname -m` or a case with both architectures",
        check=dockerfile_checks.x86_only,
        in_scripts=True,
    ),
    Rule(
        name="root-without-digest",
        reason="the same commit builds another image once the tag moves",
        instead="use a context of the graph: containers/pins.toml pins root images by digest",
        check=dockerfile_checks.unpinned_root,
    ),
    Rule(
        name="cache-without-version",
        reason="two versions of a tool that share a cache cause failures that are hard to reproduce",
        instead="give it id=TOOL-${VERSION}; VERSIONED_CACHES in dockerfile_checks.py lists the tools that need none",
        check=dockerfile_checks.cache_without_version,
    ),
)
