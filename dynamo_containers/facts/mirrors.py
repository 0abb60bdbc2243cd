"""Mirrors of a company for what is fetched from the Internet, from a file outside the checkout.

The addresses in images.toml and pins.toml stay the public ones, and so does every digest: a mirror is where bytes are
looked for, never what they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from dynamo_containers.facts import user_config
from dynamo_containers.toml_table import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

VARIABLE = "DYNAMO_CONTAINERS_MIRRORS"
"""The file's path; without it a file of the user's own is read, where there is one."""
USER_FILE = "mirrors.toml"
"""Its name among the user's own."""


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """What stands in for what."""

    registries: Mapping[str, str] = field(default_factory=dict)
    """`nvcr.io`, or `nvcr.io/nvidia` for a part of it -> `HOST[:PORT][/PATH]` of the mirror."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """The beginning of an address, up to a slash -> the beginning of the mirror's."""

    def image(self, reference: str) -> str:
        """Return where an image (HOST/NAME with its tag or digest) is pulled from."""
        slashed = {f"{public}/": f"{mirror}/" for public, mirror in self.registries.items()}
        return _exchanged(reference, slashed)

    def address(self, url: str) -> str:
        """Return where a file, a package index or a git repository is fetched from."""
        # The table's beginnings end in a slash, so that none is the beginning of another host's name.
        return _exchanged(url if url.endswith("/") else f"{url}/", self.addresses)[: None if url.endswith("/") else -1]


def _exchanged(text: str, table: Mapping[str, str]) -> str:
    """Exchange the longest beginning that stands in the table."""
    known = max((beginning for beginning in table if text.startswith(beginning)), key=len, default="")
    return table[known] + text.removeprefix(known) if known else text


@cache
def here() -> Mirrors:
    """Return the mirrors of this machine; none where no file says any.

    Raises:
        UsageError: the file that the variable names is missing, or its content is wrong.
    """
    return load(os.environ)


def load(environment: Mapping[str, str]) -> Mirrors:
    """Return the mirrors that an environment names; the same errors as `here`."""
    table = user_config.read(environment, VARIABLE, USER_FILE)
    return _read(table) if table else Mirrors()


def _read(table: Table) -> Mirrors:
    registries = _strings(table.table("registries", optional=True))
    addresses = _strings(table.table("addresses", optional=True))
    table.refuse_the_rest()
    for public, mirror in registries.items():
        if any("://" in name or "@" in name or name.endswith("/") for name in (public, mirror)):
            raise wrong(table.file, f"registries.{public}", f'"{mirror}"', '"HOST[:PORT][/PATH]" on both sides')
    for public, mirror in addresses.items():
        if not all("://" in name and name.endswith("/") for name in (public, mirror)):
            raise wrong(table.file, f"addresses.{public}", f'"{mirror}"', '"https://HOST/[PATH/]" on both sides')
    return Mirrors(registries=registries, addresses=addresses)


def _strings(row: Table) -> dict[str, str]:
    return {name: row.string(name) for name in row.keys_left()}


def said(public: str, used: str) -> str:
    """Return an address as a message says it: with the mirror that was asked in its place."""
    return public if public == used else f"{public} (at the mirror, {used})"
