"""Which of the commits that a build wants has its repository not? Asked with git, when a build has failed.

BuildKit fetches a commit and, without it, ends with git's words for that among a page of its own.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.facts import mirrors
from dynamo_containers.lock.git_sources import ENVIRONMENT, why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.plan.source_builds import Source

SECONDS = 30
"""How long a repository may take to hand out one commit without its history."""
LACKS = ("not our ref", "couldn't find remote ref")
"""How git says that a repository answers and has no such commit."""


def faults(sources: Mapping[str, Source]) -> list[str]:
    """Return what is wrong with the repositories of some sources; nothing where each has its commit."""
    found = (_fault(name, source) for name, source in sources.items() if not source.local)
    return [fault for fault in found if fault]


def _fault(name: str, source: Source) -> str:
    public, _, commit = source.context.rpartition("#")
    used = mirrors.here().address(public)
    shown = mirrors.said(public, used)
    with TemporaryDirectory() as folder:
        git = ("git", "-C", folder)
        process.capture(process.Command(argv=(*git, "init", "--quiet", "--bare")))
        fetch = (*git, "fetch", "--quiet", "--depth=1", "--filter=tree:0", "--", used, commit)
        try:
            finished = process.ask(process.Command(argv=fetch, env=ENVIRONMENT), seconds=SECONDS)
        except process.TooSlowError:
            return f"{shown} did not hand out commit {commit} within {SECONDS} s, from which {name} is built."
    if not finished.returncode:
        return ""
    if any(word in finished.stderr for word in LACKS):
        return (
            f"{shown} has no commit {commit}, from which {name} is to be built: it was never pushed there, or "
            f"it is of another repository.\nSee which commits it has: git ls-remote {public}\n"
            f"Then name one: --{name}-source {public}#COMMIT, or after a new tag: invoke lock --only archives"
        )
    return (
        f"{shown} cannot be read, from which {name} is to be built: {why(finished.stderr)}.\n"
        f"Build where it can be reached, from a checkout (--{name}-source FOLDER), or name a mirror: docs/mirrors.md"
    )
