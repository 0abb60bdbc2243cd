"""Configuration files of this machine and its network, outside the checkout (docs/adr/0016).

A variable names it; without that it is one of the user's own, below $XDG_CONFIG_HOME or ~/.config.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_FOLDER = "dynamo-containers"
CACHES = ("DYNAMO_CONTAINERS_CACHES", "caches.toml")
"""Where build caches are (plan/caches.py): the variable that may name the file, and the name of the user's own."""
BUILDERS = ("DYNAMO_CONTAINERS_BUILDERS", "builders.toml")
"""Which builder builds what (plan/builders.py)."""
SCCACHE = ("DYNAMO_CONTAINERS_SCCACHE", "sccache.toml")
"""Where is shared what compilers made (facts/sccache.py)."""
BUILDX_BUILDER = "BUILDX_BUILDER"
"""buildx's own variable: the builder of every platform without a row."""


def read(environment: Mapping[str, str], variable: str, name: str) -> Table | None:
    """Return the content of a file; None where there is none and none is named.

    Args:
        environment: the variables of the process.
        variable: the one that may name the file.
        name: the name of the user's own file.

    Raises:
        UsageError: the file that the variable names is missing, or one is no TOML.
    """
    file = path(environment, variable, name)
    return Table.read(file.parent, file.name) if file else None


def there(environment: Mapping[str, str], variable: str, name: str) -> bool:
    """Say whether there is a file, or one is named."""
    return path(environment, variable, name) is not None


def path(environment: Mapping[str, str], variable: str, name: str) -> Path | None:
    """Return where the file is; None where there is none and none is named."""
    if named := environment.get(variable, ""):
        return Path(named).absolute()
    file = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / USER_FOLDER / name
    return file if file.is_file() else None
