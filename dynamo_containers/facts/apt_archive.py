"""Apt archive for packages that are installed on root images of registries: a row of images.toml.

Bootstrapped root images use the archives of the apt configuration of this machine. A root image of a registry may be
based on another distribution, whose archive is not configured here; so images.toml has its public address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

SUITE = "{suite}"


@dataclass(frozen=True, kw_only=True)
class AptArchive:
    """The archive of a distribution with .deb packages."""

    addresses: Mapping[Platform, str]
    """Platform -> its public address, without a slash at the end."""
    suites: tuple[str, ...]
    """The suites to read, with {suite} for that of the root image: itself, its updates, its security fixes."""
    components: tuple[str, ...]
    keyring: str
    """The file in the root image with the keys that sign the archive; the apt of the image trusts the same keys."""

    def name(self, platform: Platform) -> str:
        """Return its name in locks: the end of its address, as for the archives of Debian."""
        return _name(self.addresses[platform])

    @property
    def by_name(self) -> dict[str, str]:
        """Return name in locks -> address."""
        return {_name(address): address for address in self.addresses.values()}

    def suites_of(self, suite: str) -> tuple[str, ...]:
        """Return the suites to read for the suite of a root image."""
        return tuple(template.replace(SUITE, suite) for template in self.suites)


def _name(address: str) -> str:
    return address.rpartition("/")[2]


def read(row: Table) -> AptArchive:
    """Read a row `bases.NAME.archive`."""
    suites, components, keyring = row.strings("suites"), row.strings("components"), row.string("keyring")
    addresses = {platform: row.string(platform.value).rstrip("/") for platform in Platform}
    row.refuse_the_rest()
    return AptArchive(addresses=addresses, suites=suites, components=components, keyring=keyring)
