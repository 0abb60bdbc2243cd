"""Cooldown: releases that are too young for a lock, by the upload time of their index (PEP 700).

pip can leave out what was uploaded after a given time, and refuses an index that states no time. What it has no words
for is said here: the exempt packages, and the releases that are locked already and stay. Imported only by the process
that runs pip-compile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pip._internal.index.package_finder import LinkType
from pip._vendor.packaging.utils import canonicalize_name

from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks import requirements

if TYPE_CHECKING:
    from collections.abc import Callable

    from pip._internal.index.package_finder import LinkEvaluator
    from pip._internal.models.link import Link

JUDGED = (LinkType.upload_too_late, LinkType.upload_time_missing)


@dataclass(frozen=True, kw_only=True)
class Cooldown:
    """What pip is told for one lock, and what it passed over."""

    uploaded_before: str
    """A time as ISO 8601 has it; empty: every release is old enough."""
    exempt: frozenset[str] = frozenset()
    moving: frozenset[str] | None = frozenset()
    """What an upgrade is asked for; None: everything."""
    kept: set[tuple[str, str]] = field(default_factory=set)
    """(name, version) that is locked already: it was old enough then."""
    passed_over: set[tuple[str, str]] = field(default_factory=set)
    """(name, version) that would have been a candidate."""

    def arguments(self) -> list[str]:
        """Return what pip-compile is told."""
        return [f"--uploaded-prior-to={self.uploaded_before}"] if self.uploaded_before else []

    def keep(self, lock: str) -> None:
        """Keep what a lock has."""
        self.kept.update((each.name, each.version) for each in requirements.readable(lock))

    def evaluator(self, make: Callable[[str], LinkEvaluator], project_name: str) -> LinkEvaluator:
        """Return pip's judge of the files of one package, who lets pass what is exempt or kept."""
        judge, lenient = make(project_name), make(project_name)
        lenient._uploaded_prior_to = None  # noqa: SLF001 - pip has it for all packages or none
        name = canonicalize_name(project_name)
        if not self.uploaded_before or name in {canonicalize_name(each) for each in self.exempt}:
            return lenient
        strict = judge.evaluate_link

        def evaluate(link: Link) -> tuple[LinkType, str]:
            result, detail = strict(link)
            if result not in JUDGED:
                return result, detail
            kind, version = lenient.evaluate_link(link)
            if kind != LinkType.candidate or (name, version) in self.kept:
                return kind, version
            self.passed_over.add((name, version))
            # The error about an index that states no time is only due where it must state one.
            return (LinkType.upload_too_late if self._stays(name) else result), detail

        judge.evaluate_link = evaluate  # type: ignore[method-assign]
        return judge

    def _stays(self, name: str) -> bool:
        return self.moving is not None and name not in self.moving and name in {kept for kept, _ in self.kept}

    def explanation(self) -> str:
        """Say what was too young, for the message of a lock that could not be made."""
        if not self.passed_over:
            return ""
        names = ", ".join(f"{name}=={version}" for name, version in sorted(self.passed_over))
        return (
            f"Not taken, since their index does not say that they came before {self.uploaded_before}: {names}.\n"
            f"If one is needed at once (a security floor), write it and the reason under [lock.cooldown-exempt] in "
            f"{IMAGES_FILE}."
        )
