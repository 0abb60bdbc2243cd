"""RPM repositories of packages that are installed on root images of registries: a row of images.toml.

An image's own dnf would ask a list of mirrors, and each lock would name another one. So the address that they all copy
stands in data, and what of it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.toml_table import wrong

if TYPE_CHECKING:
    from dynamo_containers.platforms import Platform
    from dynamo_containers.toml_table import Table

MACHINE = "{machine}"


@dataclass(frozen=True, kw_only=True)
class Repositories:
    """The repositories of a distribution that uses RPMs."""

    address: str
    """Its public address, without a slash at the end."""
    paths: tuple[str, ...]
    """The repositories below it, with {machine} (`x86_64`) in each."""
    keyring: str
    """The file in the root image with the keys that sign the packages: what that image's own dnf trusts, by digest."""

    @property
    def name(self) -> str:
        """Return what a lock calls it: the end of its address, as for archives of .debs."""
        return self.address.rpartition("/")[2]

    def of(self, platform: Platform) -> tuple[str, ...]:
        """Return the repositories of a platform, below the address."""
        return tuple(path.replace(MACHINE, platform.machine) for path in self.paths)


def read(row: Table) -> Repositories:
    """Read a row `bases.NAME.roots.ROLE.repositories`."""
    made = Repositories(
        address=row.string("address").rstrip("/"), paths=row.strings("paths"), keyring=row.string("keyring")
    )
    row.refuse_the_rest()
    if "://" not in made.address:
        raise wrong(row.file, f"{row.path}.address", f'"{made.address}"', "https://HOST/PATH or http://HOST/PATH")
    for path in made.paths:
        if MACHINE not in path:
            raise wrong(row.file, f"{row.path}.paths", f'"{path}"', f"a path with {MACHINE} in it")
    if not made.keyring.startswith("/"):
        raise wrong(row.file, f"{row.path}.keyring", f'"{made.keyring}"', "the path of a file in the root image")
    return made
