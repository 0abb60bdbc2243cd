"""Cooldown: releases that are too young for a lock, by the upload time of their index (PEP 700).

pip can ignore releases that were uploaded after a given time, and refuses an index that states no time. It cannot
exempt packages, or keep releases that are locked already; this module does. Only the child process that runs
pip-compile imports it.
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

TIME_CHECKS = (LinkType.upload_too_late, LinkType.upload_time_missing)


@dataclass(frozen=True, kw_only=True)
class Cooldown:
    """Cooldown of one lock, and the releases that were too young."""

    uploaded_before: str
    """A time in ISO 8601; empty: every release is old enough."""
    exempt: frozenset[str] = frozenset()
    upgraded: frozenset[str] | None = frozenset()
    """Packages to upgrade; None: every package."""
    locked: set[tuple[str, str]] = field(default_factory=set)
    """(name, version) of releases that are locked already: they were old enough then."""
    too_young: set[tuple[str, str]] = field(default_factory=set)
    """(name, version) of releases that would have been candidates."""

    def arguments(self) -> list[str]:
        """Return the arguments for pip-compile."""
        return [f"--uploaded-prior-to={self.uploaded_before}"] if self.uploaded_before else []

    def allow_locked(self, text: str) -> None:
        """Allow the releases that the text of a lock pins."""
        self.locked.update((package.name, package.version) for package in requirements.read_if_valid(text))

    def evaluator(self, make: Callable[[str], LinkEvaluator], project_name: str) -> LinkEvaluator:
        """Return pip's evaluator of the files of one package; it also accepts exempt and locked releases."""
        evaluator, lenient = make(project_name), make(project_name)
        lenient._uploaded_prior_to = None  # noqa: SLF001 - pip has it for all packages or none
        name = canonicalize_name(project_name)
        if not self.uploaded_before or name in set(map(canonicalize_name, self.exempt)):
            return lenient
        strict = evaluator.evaluate_link

        def evaluate(link: Link) -> tuple[LinkType, str]:
            result, detail = strict(link)
            if result not in TIME_CHECKS:
                return result, detail
            kind, version = lenient.evaluate_link(link)
            if kind != LinkType.candidate or (name, version) in self.locked:
                return kind, version
            self.too_young.add((name, version))
            # An index that states no time is an error only for a package that has to move.
            return (LinkType.upload_too_late if self._is_fixed(name) else result), detail

        evaluator.evaluate_link = evaluate  # type: ignore[method-assign]
        return evaluator

    def _is_fixed(self, name: str) -> bool:
        locked_names = {locked for locked, _ in self.locked}
        return self.upgraded is not None and name not in self.upgraded and name in locked_names

    def explanation(self) -> str:
        """Return the releases that were too young, for the message of a lock that cannot be resolved."""
        if not self.too_young:
            return ""
        names = ", ".join(f"{name}=={version}" for name, version in sorted(self.too_young))
        return (
            f"Ignored, because their index does not state an upload before {self.uploaded_before}: {names}.\n"
            f"If one is needed now (a security floor), add it with a reason under [lock.cooldown-exempt] in "
            f"{IMAGES_FILE}."
        )
