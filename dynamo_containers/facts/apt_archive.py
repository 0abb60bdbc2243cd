"""Apt archive of packages that are installed on root images of registries: a row of images.toml.

What is bootstrapped comes from the archives of this machine's own apt configuration. A root image of a registry may be
of another distribution, whose archive this machine has never heard of: so its public address stands in data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

SUITE = "{suite}"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The archive of a distribution that uses .debs."""

    addresses: Mapping[Platform, str]
    """Its public address for each platform, without a slash at the end; two platforms may have the same one."""
    suites: tuple[str, ...]
    """What is read of a root image's suite, with {suite} in it: the suite itself, its updates, its security fixes."""
    components: tuple[str, ...]
    keyring: str
    """The file in the root image with the keys that sign the archive: what that image's own apt trusts, by digest."""

    def name(self, platform: Platform) -> str:
        """Return what a lock calls it: the end of its address, as for Debian's archives."""
        return _name(self.addresses[platform])

    @property
    def by_name(self) -> dict[str, str]:
        """Return each address by what a lock calls it."""
        return {_name(address): address for address in self.addresses.values()}

    def of(self, suite: str) -> tuple[str, ...]:
        """Return the suites to read for the one that a root image is made from."""
        return tuple(each.replace(SUITE, suite) for each in self.suites)


def _name(address: str) -> str:
    return address.rpartition("/")[2]


def read(row: Table) -> Archive:
    """Read a row `bases.NAME.archive`."""
    suites, components, keyring = row.strings("suites"), row.strings("components"), row.string("keyring")
    addresses = {platform: row.string(platform.value).rstrip("/") for platform in Platform}
    row.refuse_the_rest()
    for suite in suites:
        if SUITE not in suite:
            raise wrong(row.file, f"{row.path}.suites", f'"{suite}"', f"a name with {SUITE} in it")
    for platform, address in addresses.items():
        if "://" not in address:
            raise wrong(
                row.file, f'{row.path}."{platform.value}"', f'"{address}"', "https://HOST/PATH or http://HOST/PATH"
            )
    if not keyring.startswith("/"):
        raise wrong(row.file, f"{row.path}.keyring", f'"{keyring}"', "the path of a file in the root image")
    return Archive(addresses=addresses, suites=suites, components=components, keyring=keyring)
