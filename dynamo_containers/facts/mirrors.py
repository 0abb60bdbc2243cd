"""Mirrors of a company for downloads from the Internet, configured in a file outside the checkout.

images.toml and pins.toml have the public addresses, and digests do not depend on mirrors: a mirror changes where a file
is downloaded from, never its content.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from dynamo_containers.facts import user_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

VARIABLE = "DYNAMO_CONTAINERS_MIRRORS"
"""The variable with the path of the file; without it the file of the user is read, if there is one."""
USER_FILE = "mirrors.toml"
"""The name of the file of the user."""


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """Mirrors by the public address that they replace."""

    registries: Mapping[str, str] = field(default_factory=dict)
    """`nvcr.io`, or `nvcr.io/nvidia` for a part of the registry -> `HOST[:PORT][/PATH]` of the mirror."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """The beginning of a public address, up to a slash -> the beginning of the address on the mirror."""

    def image(self, reference: str) -> str:
        """Return the reference to pull an image by, given its public one (HOST/NAME with a tag or digest)."""
        slashed = {f"{public}/": f"{mirror}/" for public, mirror in self.registries.items()}
        return _replace_prefix(reference, slashed)

    def address(self, url: str) -> str:
        """Return the address to download a file, a package index or a git repository from, given its public one."""
        # The table's beginnings end in a slash, so that none is the beginning of another host's name.
        if url.endswith("/"):
            return _replace_prefix(url, self.addresses)
        return _replace_prefix(f"{url}/", self.addresses)[:-1]


def _replace_prefix(text: str, table: Mapping[str, str]) -> str:
    """Replace the longest prefix that is in the table."""
    prefix = max((prefix for prefix in table if text.startswith(prefix)), key=len, default="")
    return table[prefix] + text.removeprefix(prefix) if prefix else text


@cache
def configured() -> Mirrors:
    """Return the mirrors of this machine; none if there is no file.

    Raises:
        UsageError: the file that the variable names is missing, or its content is invalid.
    """
    return load(os.environ)


def load(environment: Mapping[str, str]) -> Mirrors:
    """Return the mirrors for an environment; the same errors as `configured`."""
    table = user_config.read(environment, VARIABLE, USER_FILE)
    return _read(table) if table else Mirrors()


def _read(table: Table) -> Mirrors:
    registries = _strings(table.table("registries", optional=True))
    addresses = _strings(table.table("addresses", optional=True))
    table.refuse_the_rest()
    return Mirrors(registries=registries, addresses=addresses)


def _strings(row: Table) -> dict[str, str]:
    return {name: row.string(name) for name in row.keys_left()}


def describe(public: str, used: str) -> str:
    """Return an address as messages have it: with the mirror that was used, if any."""
    return public if public == used else f"{public} (at the mirror, {used})"
