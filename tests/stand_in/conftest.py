"""Fixtures for all tests of this folder: the stand-ins, and a copy of this project that was locked from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine
from dynamo_containers.facts.catalogue import ROOT
from tests.stand_in import project as projects
from tests.stand_in import rpms
from tests.stand_in.archive import Archive, archive
from tests.stand_in.project import NATIVE, PART, StandInProject
from tests.stand_in.servers import StandIn, registry, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stand_in.rpms import Rpms


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("server")) as running:
        projects.offer(running, "1.3.0", NATIVE.elf_machine)
        yield running


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Yield the stand-in for the archive of Ubuntu."""
    with archive(tmp_path_factory.mktemp("archive")) as running:
        projects.offer_packages(running)
        yield running


@pytest.fixture(scope="session")
def repositories(server: StandIn) -> Rpms:
    """Return the stand-in for the repositories of AlmaLinux."""
    folder = server.repositories.parent
    folder.mkdir()
    return rpms.make_repositories(folder)


@pytest.fixture(scope="session")
def project(
    server: StandIn, packages: Archive, repositories: Rpms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandInProject]:
    """Yield a locked copy of this project; its images are removed at the end."""
    engine.up(ROOT, (NATIVE,))
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder) as images:
        projects.push_roots(images, packages, repositories, folder / "store")
        projects.offer_programs(server)
        copy = projects.make_copy(tmp_path_factory.mktemp("project") / "copy", server, packages, images, folder / "log")
        finished = copy.invoke("lock", *PART)
        assert finished.returncode == 0, finished.stderr
        yield copy
    tags = copy.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=ai.dynamo.bases=cuda")
    if tags:
        copy.docker("image", "rm", "--force", *tags.split())
