"""RPM repositories for packages that are installed on root images of registries: a row of images.toml.

The dnf of an image would choose from a list of mirrors, and each lock would have another address. So images.toml has
the address of the origin of these mirrors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynamo_containers.platforms import Platform
    from dynamo_containers.toml_table import Table

MACHINE = "{machine}"


@dataclass(frozen=True, kw_only=True)
class RpmRepositories:
    """The repositories of a distribution with RPM packages."""

    address: str
    """Its public address, without a slash at the end."""
    paths: tuple[str, ...]
    """The repositories below the address, with {machine} (`x86_64`) in each."""
    keyring: str
    """The file in the root image with the keys that sign the packages; the dnf of the image trusts the same keys."""

    @property
    def name(self) -> str:
        """Return its name in locks: the end of its address, as for apt archives."""
        return self.address.rpartition("/")[2]

    def paths_of(self, platform: Platform) -> tuple[str, ...]:
        """Return the repositories of a platform, below the address."""
        return tuple(path.replace(MACHINE, platform.machine) for path in self.paths)


def read(row: Table) -> RpmRepositories:
    """Read a row `bases.NAME.roots.ROLE.repositories`."""
    repositories = RpmRepositories(
        address=row.string("address").rstrip("/"), paths=row.strings("paths"), keyring=row.string("keyring")
    )
    row.refuse_the_rest()
    return repositories
