"""Platforms of images, and the platform of this machine."""

from __future__ import annotations

import platform as machine
from enum import Enum

from dynamo_containers.errors import UnsupportedHostError


class Platform(Enum):
    """What an image runs on, in the words of the OCI image specification."""

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
    """Return the platform of the machine this runs on.

    Raises:
        UnsupportedHostError: it is none of ours.
    """
    for platform in Platform:
        if platform.machine == machine.machine():
            return platform
    valid = ", ".join(platform.value for platform in Platform)
    message = f"This machine is {machine.machine()}. Images are built on {valid}.\nUse a machine of that kind."
    raise UnsupportedHostError(message)
