"""Budget of an image: the rows `images.NAME.budget.PLATFORM` of images.toml, key -> limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

LAYERS = "layers"
SECOND = "second-backend-mb"
BUMP = "dynamo-bump-mb"
KEYS = ("compressed-mb", "uncompressed-mb", "largest-layer-mb", LAYERS, SECOND, BUMP)


def read(row: Table) -> Mapping[str, int]:
    """Read a row `images.NAME.budget.PLATFORM`; return key -> limit.

    Raises:
        UsageError: a key is unknown, or a value is not a whole number.
    """
    budget = {key: row.integer(key) for key in KEYS if key in row.keys_left()}
    row.refuse_the_rest()
    return budget
