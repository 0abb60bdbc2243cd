"""Index of a package: the machine's own, or the index that images.toml names for it.

A package with an index of its own is asked for there and nowhere else, so that nobody can slip another one in under its
name at the other index. Imported only by the process that runs pip-compile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pip._internal.models.search_scope import SearchScope
from pip._vendor.packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=False)
class RoutedScope(SearchScope):
    """pip's places to search, where a package may have its own."""

    own: Mapping[str, str]
    """Package -> address of its index."""

    def get_index_urls_locations(self, project_name: str) -> list[str]:
        """Return the addresses of a package's page: what pip's own class does, for one index."""
        address = self.own.get(canonicalize_name(project_name))
        if address is None:
            return SearchScope.get_index_urls_locations(self, project_name)
        return SearchScope([], [address], no_index=False).get_index_urls_locations(project_name)


def routed(scope: SearchScope, own: Mapping[str, str]) -> RoutedScope:
    """Return pip's places to search, with the indexes that packages have of their own."""
    return RoutedScope(scope.find_links, scope.index_urls, scope.no_index, own=own)
