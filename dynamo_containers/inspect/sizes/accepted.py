"""Accepted sizes of images: containers/accepted-sizes.toml, written by `invoke build.accept-sizes`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError
from dynamo_containers.file_reader import Author
from dynamo_containers.process import Document
from dynamo_containers.toml_table import Table
from dynamo_containers.value_types import DIGEST, SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "containers/accepted-sizes.toml"
AUTHOR = Author(
    error=LockError,
    remedy=(
        "`invoke build.accept-sizes` writes this file. Restore it with: git checkout {file}\n"
        "Or delete it, and accept the sizes of every image again."
    ),
)
HEAD = (
    "# WRITTEN BY `invoke build.accept-sizes`: what images weighed. Do not edit.\n"
    "# layers: compressed bytes; contents: unpacked bytes of each package and file, small ones together.\n"
)
MADE_FROM, DIGESTS, LAYERS, CONTENTS = "made-from", "digests", "layers", "contents"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Accepted sizes of an image; empty for an image that was never accepted."""

    layers: Mapping[str, int] = field(default_factory=dict)
    """Layer -> compressed bytes."""
    made_from: str = ""
    """Its labels `ai.dynamo.lock` and, where it has one, `ai.dynamo.drift`; '' where they were not recorded."""
    digests: tuple[str, ...] = ()
    """Digests of its uncompressed layers, from the lowest on: a pull of another image can reuse them."""
    contents: Mapping[str, int] = field(default_factory=dict)
    """`KIND NAME` of a package or file -> unpacked bytes, the result of `contents.folded`."""


def read(folder: Path) -> dict[str, Accepted]:
    """Return image (`vllm-runtime-debian-amd64`) -> its accepted sizes; nothing where there is no file.

    Raises:
        LockError: the file breaks its rules.
    """
    if not os.path.lexists(folder / FILE):
        return {}
    return {name: _accepted(row) for name, row in Table.read(folder, FILE, AUTHOR).all_tables().items()}


def _accepted(row: Table) -> Accepted:
    accepted = Accepted(
        layers=_sizes(row.table(LAYERS)),
        made_from=row.string(MADE_FROM, optional=True),
        digests=row.texts(DIGESTS, DIGEST, optional=True),
        contents=_sizes(row.table(CONTENTS, optional=True)),
    )
    row.refuse_the_rest()
    return accepted


def _sizes(row: Table) -> dict[str, int]:
    return {name: row.number(name, SIZE) for name in row.keys_left()}


def document(folder: Path, accepted: Mapping[str, Accepted]) -> Document:
    """Return the file with these accepted sizes."""
    tables = (_table(name, sizes) for name, sizes in sorted(accepted.items()))
    return Document(path=folder / FILE, text="".join((HEAD, *tables)))


def _table(name: str, accepted: Accepted) -> str:
    made_from = f"{MADE_FROM} = {_quoted(accepted.made_from)}\n" if accepted.made_from else ""
    digests = "".join(f"    {_quoted(digest)},\n" for digest in accepted.digests)
    listed = f"{DIGESTS} = [\n{digests}]\n" if digests else ""
    contents = dict(sorted(accepted.contents.items()))
    return "".join(
        (
            f"\n[{name}]\n{made_from}{listed}",
            _rows(f"{name}.{LAYERS}", accepted.layers),
            _rows(f"{name}.{CONTENTS}", contents) if contents else "",
        )
    )


def _rows(name: str, sizes: Mapping[str, int]) -> str:
    return f"\n[{name}]\n" + "".join(f"{_quoted(key)} = {size}\n" for key, size in sizes.items())


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
