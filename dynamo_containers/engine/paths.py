"""Paths of the private engine in a checkout."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dynamo_containers import state

RUNTIME = Path("/run/dynamo-containers")
"""Not below the checkout: the path of a unix socket must stay below 108 bytes (unix(7)), however deep a checkout is."""


@dataclass(frozen=True, kw_only=True)
class EnginePaths:
    """The paths that belong to one checkout. Everything is below `.engine/`, but for sockets and process ids."""

    folder: Path
    runtime: Path = RUNTIME

    @property
    def private(self) -> Path:
        """Return the folder that `down --purge` removes."""
        return self.folder / state.ENGINE

    @property
    def client(self) -> Path:
        """Return the unpacked docker CLI and buildx."""
        return self.private / "client"

    @property
    def root(self) -> Path:
        """Return the unpacked daemon and what it calls."""
        return self.private / "root"

    @property
    def data(self) -> Path:
        """Return dockerd's data root: images, layers, build cache."""
        return self.folder / state.ENGINE_DATA

    @property
    def log(self) -> Path:
        """Return the log of the daemon that runs, or ran last."""
        return self.private / "dockerd.log"

    @property
    def docker_config(self) -> Path:
        """Return the DOCKER_CONFIG under which the docker CLI finds the private buildx."""
        return self.private / "docker"

    @property
    def emulators(self) -> Path:
        """Return the folder of the static qemu programs."""
        return self.private / "emulators"

    @property
    def package_lists(self) -> Path:
        """Return the folder of the private apt, needed while packages are fetched."""
        return self.private / "apt"

    @property
    def downloads(self) -> Path:
        """Return the store of downloads that the whole project shares."""
        from dynamo_containers.upstream import (
            deb_origins,  # every task asks where the engine is, few where downloads are
        )

        return deb_origins.downloads(self.folder)

    @property
    def lock(self) -> Path:
        """Return the file that one `engine` command at a time holds locked; outside of what a purge removes."""
        return self.folder / state.ENGINE_LOCK

    @cached_property
    def name(self) -> str:
        """Return the name under which this checkout's engine is known on the machine (run folder, cgroup)."""
        return hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]

    @property
    def run(self) -> Path:
        """Return the folder of sockets, process ids and markers; a reboot empties it."""
        return self.runtime / self.name

    @property
    def socket(self) -> Path:
        """Return the unix socket of the private engine."""
        return self.run / "docker.sock"

    @property
    def host(self) -> str:
        """Return the DOCKER_HOST of the private engine."""
        return f"unix://{self.socket}"

    @property
    def record(self) -> Path:
        """Return the file in which the first process of the engine records itself."""
        return self.run / "process"

    @property
    def cgroup(self) -> str:
        """Return the cgroup below which all its containers are."""
        return f"/dynamo-containers-{self.name}"
