"""Where is a file of facts about this machine and its network? Outside the checkout: docs/adr/0016.

A variable names it; without that it is one of the user's own, below $XDG_CONFIG_HOME or ~/.config.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_FOLDER = "dynamo-containers"


def read(environment: Mapping[str, str], variable: str, name: str) -> Table | None:
    """Return the content of a file; None where there is none and none is named.

    Args:
        environment: the variables of the process.
        variable: the one that may name the file.
        name: the name of the user's own file.

    Raises:
        UsageError: the file that the variable names is missing, or one is no TOML.
    """
    if named := environment.get(variable, ""):
        file = Path(named).absolute()
        return Table.read(file.parent, file.name)
    folder = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / USER_FOLDER
    return Table.read(folder, name) if (folder / name).is_file() else None
