"""Index of a package: the machine's own, or the index that images.toml names for it.

pip queries the own index of a package and no other, so that nobody can publish another package of that name on the
other index. Only the child process that runs pip-compile imports this module.
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
    """pip's search scope, with an own index for some packages."""

    indexes: Mapping[str, str]
    """Package -> address of its index."""

    def get_index_urls_locations(self, project_name: str) -> list[str]:
        """Return the addresses of a package's page, like pip's own class, but of one index."""
        address = self.indexes.get(canonicalize_name(project_name))
        if address is None:
            return SearchScope.get_index_urls_locations(self, project_name)
        return SearchScope([], [address], no_index=False).get_index_urls_locations(project_name)


def routed(scope: SearchScope, indexes: Mapping[str, str]) -> RoutedScope:
    """Return pip's search scope with the own indexes of packages: package -> address."""
    return RoutedScope(scope.find_links, scope.index_urls, scope.no_index, indexes=indexes)
