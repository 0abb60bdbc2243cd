"""Configuration files of this machine and its network, outside the checkout (docs/adr/0016).

A variable has the path of each file; without it the file of the user is read, below $XDG_CONFIG_HOME or ~/.config.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts import data_check
from dynamo_containers.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_FOLDER = "dynamo-containers"
CACHES = ("DYNAMO_CONTAINERS_CACHES", "caches.toml")
"""The build caches (plan/caches.py): the variable with the path of the file, and the name of the file of the user."""
BUILDERS = ("DYNAMO_CONTAINERS_BUILDERS", "builders.toml")
"""The builder of each platform (plan/builders.py)."""
SCCACHE = ("DYNAMO_CONTAINERS_SCCACHE", "sccache.toml")
"""The cache of compilers (facts/sccache.py)."""
BUILDX_BUILDER = "BUILDX_BUILDER"
"""Variable of buildx: the builder of every platform that has no row in builders.toml."""


def read(environment: Mapping[str, str], variable: str, name: str) -> Table | None:
    """Return the content of a file; None if there is no file and the variable is not set.

    Args:
        environment: the variables of the process.
        variable: the variable with the path of the file.
        name: the name of the file of the user.

    Raises:
        UsageError: the file that the variable names is missing, or the file is not TOML, or has a value that is not
            allowed.
    """
    file = path(environment, variable, name)
    if file is None:
        return None
    table = Table.read(file.parent, file.name)
    table.is_secret = name == SCCACHE[1]
    data_check.check(table, name)
    return table


def exists(environment: Mapping[str, str], variable: str, name: str) -> bool:
    """Say whether there is a file, or the variable is set."""
    return path(environment, variable, name) is not None


def path(environment: Mapping[str, str], variable: str, name: str) -> Path | None:
    """Return the path of a file; None if there is no file and the variable is not set."""
    if named := environment.get(variable, ""):
        return Path(named).absolute()
    file = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / USER_FOLDER / name
    return file if os.path.lexists(file) else None  # a folder of that name is refused, not ignored
