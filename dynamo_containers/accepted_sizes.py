"""Which sizes of images were accepted last? containers/accepted-sizes.toml, written by `invoke build.accept-sizes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.run import Document
from dynamo_containers.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "containers/accepted-sizes.toml"
HEAD = "# WRITTEN BY `invoke build.accept-sizes`: compressed bytes of each layer of an image. Do not edit.\n"


def read(folder: Path) -> dict[str, dict[str, int]]:
    """Return image (`vllm-runtime-debian-amd64`) -> layer -> compressed bytes; nothing where there is no file.

    Raises:
        UsageError: the file breaks its rules.
    """
    if not (folder / FILE).is_file():
        return {}
    rows = Table.read(folder, FILE).all_tables()
    return {name: {layer: row.integer(layer) for layer in row.keys_left()} for name, row in rows.items()}


def document(folder: Path, sizes: Mapping[str, Mapping[str, int]]) -> Document:
    """Return the file with these sizes."""
    tables = (
        f"\n[{name}]\n" + "".join(f"{_quoted(layer)} = {size}\n" for layer, size in row.items())
        for name, row in sorted(sizes.items())
    )
    return Document(path=folder / FILE, text="".join((HEAD, *tables)))


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
