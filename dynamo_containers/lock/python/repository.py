"""Package repository of pip-compile for a target, in place of its PyPIRepository."""

from __future__ import annotations

import contextlib
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from pip._internal.index.package_finder import LinkType
from pip._internal.models.link import Link
from pip._internal.utils.hashes import FAVORITE_HASH
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import InvalidVersion, Version
from piptools.repositories import PyPIRepository

from dynamo_containers.errors import LockError
from dynamo_containers.facts import mirrors
from dynamo_containers.lock.python import index_response
from dynamo_containers.lock.python.index_routing import routed
from dynamo_containers.lock.python.target import target_python, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pip._internal.index.collector import IndexContent
    from pip._internal.index.package_finder import LinkEvaluator
    from pip._internal.models.candidate import InstallationCandidate
    from pip._internal.req import InstallRequirement
    from pip._internal.resolution.base import BaseResolver

    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.facts.locks.requirements import LockedPackage
    from dynamo_containers.lock.python.cooldown import Cooldown

SIZES: dict[str, int] = {}
"""Address of a file -> its size in bytes, as the pages of the index state it (PEP 700)."""
_plain_link = Link.from_json.__func__  # type: ignore[attr-defined]


def sized_link(cls: type[Link], file_data: dict[str, Any], page_url: str) -> Link | None:
    """Return pip's link for an entry of an index page, and record the size, which pip drops."""
    link: Link | None = _plain_link(cls, file_data, page_url)
    if link is not None and isinstance(file_data.get("size"), int):
        SIZES[link.url] = file_data["size"]
    return link


def record_sizes() -> None:
    """Let pip's parser of index pages record the sizes in `SIZES`, in this process."""
    Link.from_json = classmethod(sized_link)  # type: ignore[assignment,method-assign]


def _without_extras(name: str) -> str:
    return canonicalize_name(name.partition("[")[0])


@cache
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _may_be_of(link: Link, version: Version) -> bool:
    """Return whether a file may belong to a release: pip evaluates every file whose name does not exclude it."""
    if link.egg_fragment or not link.is_wheel:
        return True
    stated = _version("".join(link.filename.split("-")[1:2]))
    return stated is None or stated == version


def _is_locked(link: Link, pin: LockedPackage) -> bool:
    """Return whether a lock pins a file; a file whose sha256 the index does not state may be any of them."""
    return link.hash_name != FAVORITE_HASH or f"{FAVORITE_HASH}:{link.hash}" in pin.hashes


class TargetRepository(PyPIRepository):
    """pip-compile's view of the index, for a target."""

    def __init__(
        self,
        pip_args: list[str],
        cache_dir: str,
        *,
        lock: LockFile,
        cooldown: Cooldown,
        pages: dict[str, IndexContent | None] | None = None,
    ) -> None:
        """Build pip-compile's repository, then replace the parts that depend on the running interpreter.

        `pages` is a cache of index pages; new pages are added to it.
        """
        super().__init__(pip_args, cache_dir)
        self._best_wheel_only = lock.layer.named_only
        self._options.ignore_dependencies = lock.layer.named_only
        self._finder = self._command._build_package_finder(  # noqa: SLF001 - as pip-compile does
            options=self._options, session=self._session, target_python=target_python(lock.target)
        )
        self._files_seen: dict[str, dict[Link, None]] = {}
        self.yanked: dict[tuple[str, str], str] = {}
        make = partial(cooldown.evaluator, self._finder.make_link_evaluator)
        self._finder.make_link_evaluator = partial(self._evaluator, make)  # type: ignore[method-assign]
        indexes = {name: mirrors.configured().address(address) for name, address in lock.indexes}
        fetch = partial(index_response.fetch, self._session, indexes)
        self._finder._link_collector.fetch_response = (  # type: ignore[method-assign]  # noqa: SLF001
            fetch if pages is None else index_response.cached(fetch, pages)
        )
        self._finder.search_scope = routed(self._finder.search_scope, indexes)
        self._resolver: BaseResolver | None = None
        self._make_resolver = partial(self._command.make_resolver, py_version_info=version(lock.target))
        self._command.make_resolver = self._make_and_keep_resolver  # type: ignore[method-assign]

    def _make_and_keep_resolver(self, *args: Any, **options: Any) -> BaseResolver:  # noqa: ANN401 - pip's own
        self._resolver = self._make_resolver(*args, **options)
        return self._resolver

    @property
    def result(self) -> Any:  # noqa: ANN401 - resolvelib's Result of pip's own types
        """Return the result of pip's resolver: the chosen packages, and which requirements led to each."""
        return self._resolver._result  # type: ignore[union-attr]  # noqa: SLF001 - pip has no other way to it

    def requirements(self) -> dict[str, list[str]]:
        """Return package -> the requirements that resolved packages have of it, each with the requiring package."""
        requirements: dict[str, set[str]] = {}
        for name, criterion in self.result.criteria.items():
            package = _without_extras(name)
            requirements.setdefault(package, set()).update(
                f"{_without_extras(edge.parent.name)}=={edge.parent.version} requires {edge.requirement}"
                for edge in criterion.information
                if edge.parent is not None and _without_extras(edge.parent.name) != package
            )
        return {name: sorted(rows) for name, rows in sorted(requirements.items()) if rows}

    @contextlib.contextmanager
    def allow_all_wheels(self) -> Iterator[None]:
        """Consider the wheels of every platform for hashes, like pip-compile; for named wheels only the target's."""
        if self._best_wheel_only:
            yield
            return
        candidates = dict(self._finder._all_candidates)  # noqa: SLF001 - pip-compile replaces them with all platforms'
        with super().allow_all_wheels():
            yield
        self._finder._all_candidates = candidates  # noqa: SLF001
        self._finder._best_candidates.clear()  # noqa: SLF001

    def _get_matching_candidates(self, ireq: InstallRequirement) -> set[InstallationCandidate]:
        if not self._best_wheel_only:
            (pin,) = ireq.specifier
            return set(self._files(str(ireq.name), pin.version))
        best = self._finder.find_best_candidate(str(ireq.name), ireq.specifier).best_candidate
        if best is None or not best.link.is_wheel:
            message = f"{ireq} has no wheel for the target, and a lock of named wheels cannot hold a source archive."
            raise LockError(message)
        return {best}

    def _get_hashes_from_pypi(self, ireq: InstallRequirement) -> dict[str, str]:  # noqa: ARG002 - see the module
        return {}

    def _get_file_hash(self, link: Link) -> str:
        if link.hash_name == FAVORITE_HASH:
            return f"{FAVORITE_HASH}:{link.hash}"
        return super()._get_file_hash(link)

    def _files(self, name: str, version: str) -> list[InstallationCandidate]:
        """Return the files of a release, for the target, or for every platform while hashes are collected.

        pip-compile requests the page again and evaluates each file of each release. Most files are wheels, and the name
        of a wheel states its release.
        """
        key, release = canonicalize_name(name), Version(version)
        if key not in self._files_seen:
            self._finder.find_all_candidates(name)
        links = [link for link in self._files_seen.get(key, ()) if _may_be_of(link, release)]
        candidates = self._finder.evaluate_links(self._finder.make_link_evaluator(name), links)
        return [candidate for candidate in candidates if candidate.version == release]

    def _evaluator(self, make: Callable[[str], LinkEvaluator], project_name: str) -> LinkEvaluator:
        """Return an evaluator that records every file, and the releases that were yanked (PEP 592)."""
        evaluator = make(project_name)
        evaluate_link = evaluator.evaluate_link
        seen = self._files_seen.setdefault(canonicalize_name(project_name), {})

        def evaluate(link: Link) -> tuple[LinkType, str]:
            seen[link] = None
            kind, version = evaluate_link(link)
            if kind == LinkType.candidate and link.is_yanked:
                self.yanked[canonicalize_name(project_name), version] = link.yanked_reason or "no reason given"
            return kind, version

        evaluator.evaluate_link = evaluate  # type: ignore[method-assign]
        return evaluator

    def best_file(self, pin: LockedPackage, *, compiled: bool = False) -> Link | None:
        """Return the file that the target downloads for a pin; None where the index has none of the locked files.

        It is the best locked file, because the index may have better ones by now; of a compiled package it is the
        source archive.
        """
        files = [
            candidate
            for candidate in self._files(pin.name, pin.version)
            if _is_locked(candidate.link, pin) and not (compiled and candidate.link.is_wheel)
        ]
        best = self._finder.make_candidate_evaluator(pin.name).compute_best_candidate(files).best_candidate
        return best.link if best else None

    def size(self, pin: LockedPackage, *, compiled: bool = False) -> int | None:
        """Return the bytes that the target downloads for a pin; None when the index does not state them."""
        link = self.best_file(pin, compiled=compiled)
        return SIZES.get(link.url) if link else None
