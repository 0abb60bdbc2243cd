"""Platforms of images, and the platform of this machine."""

from __future__ import annotations

import platform as machine
from enum import Enum
from typing import TYPE_CHECKING

from dynamo_containers.errors import UnsupportedHostError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL_PLATFORMS = "all"
"""The name for all platforms on the command line."""


class Platform(Enum):
    """A platform of images, by its name in the OCI image specification."""

    AMD64 = "linux/amd64"
    ARM64 = "linux/arm64"

    @property
    def arch(self) -> str:
        """Return the architecture as Docker and Debian name it."""
        return self.value.removeprefix("linux/")

    @property
    def machine(self) -> str:
        """Return the architecture as `uname -m` and wheel tags name it."""
        return {"amd64": "x86_64", "arm64": "aarch64"}[self.arch]

    @property
    def elf_machine(self) -> int:
        """Return e_machine of the ELF header (System V ABI: EM_X86_64 = 62, EM_AARCH64 = 183)."""
        return {"amd64": 62, "arm64": 183}[self.arch]


def native_platform() -> Platform:
    """Return the platform of this machine.

    Raises:
        UnsupportedHostError: images are not built on such a machine.
    """
    for platform in Platform:
        if platform.machine == machine.machine():
            return platform
    valid = ", ".join(platform.value for platform in Platform)
    message = f"This machine is {machine.machine()}, but images can only be built on {valid}.\nUse such a machine."
    raise UnsupportedHostError(message)


def parse_platforms(
    names: Iterable[str], supported: Iterable[Platform] = tuple(Platform), *, images: str = ""
) -> tuple[Platform, ...]:
    """Return the platforms that the command line names; without a name: the platform of this machine.

    Args:
        names: the values of `--platform`; `all` means every supported one.
        supported: the platforms to choose from.
        images: the images that are built only for these platforms ('' for no image), as the message names them.

    Raises:
        UsageError: a name is unknown, or the images are not built for it.
    """
    by_name = {platform.value: platform for platform in supported}
    selected = list(names) or [native_platform().value]
    choices = [*by_name, ALL_PLATFORMS]
    for name in selected:
        if name in choices:
            continue
        if images and any(name == platform.value for platform in Platform):
            message = f"{images} cannot be built for {name} (choose from: {', '.join(choices)})"
            raise UsageError(message)
        kind = "platform"
        raise unknown_name(kind, name, choices)
    return tuple(by_name[name] for name in sorted(set(by_name if ALL_PLATFORMS in selected else selected)))
