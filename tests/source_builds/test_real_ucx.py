"""The real source of UCX from Debian 12 in the wheel of the real Dockerfiles: it finds its own modules there.

The first compilation takes some minutes on two cores; later ccache has the results. NIXL is the small stand-in, with a
plugin that lists the components of UCX. This UCX is older than that of images (1.21); its changes are in this file.
"""

from __future__ import annotations

import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT, Stage
from dynamo_containers.upstream import apt, deb_origins
from dynamo_containers.upstream import download as upstream_download
from tests.source_builds.conftest import SourceBuild, build_log, commit_all, docker, tag_of
from tests.source_builds.test_nixl import SAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION = "1.13.1"
SHA256 = "1a88e09ca1b406c046a469c2ae271d2c330050b5664c0bcd9890e26c6ef09f3c"
BUILT_IN = {"self", "tcp", "sysv", "posix"}
MODULES = {"cma", "ib", "rdmacm"}
"""UCX loads them even without a device; the frontend does not have the module for CUDA."""


@pytest.fixture(scope="module")
def ucx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source of UCX as a repository."""
    place = f"pool/main/u/ucx/ucx_{VERSION}.orig.tar.xz"
    download = upstream_download.Download(url=apt.address(apt.host_mirrors()[apt.MAIN], place), sha256=SHA256)
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(upstream_download.fetch(deb_origins.downloads(ROOT), download)) as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"ucx-{VERSION}"
    (source / "debian.upstream").rename(source / "debian")  # the name upstream: configure.ac needs its files
    makefile = source / "Makefile.am"
    text = makefile.read_text(encoding="utf-8")
    assert "\ttest/apps \\\n" in text
    makefile.write_text(text.replace("\ttest/apps \\\n", ""), encoding="utf-8")  # one calls cuCtxCreate of CUDA 12
    # This UCX has no module of these names yet, which a wheel must have: it would name them, but none is loaded.
    with (source / "src/uct/sm/scopy/cma/Makefile.am").open("a", encoding="utf-8") as module:
        module.write("\ninstall-exec-hook:\n")
        for name in ("ib_mlx5", "ib_efa"):
            own = "$(DESTDIR)$(libdir)/ucx"
            module.write(f"\tcp {own}/libuct_cma.so.0.0.0 {own}/libuct_{name}.so.0.0.0\n")
    return commit_all(source)


@pytest.fixture(scope="module")
def nixl(repositories: Callable[[str], Path]) -> Path:
    folder = repositories("nixl")
    shutil.copy(ROOT / "tests/sources/real_ucx_plugin.cpp", folder / "src/plugins/ucx/ucx_plugin.cpp")
    return folder


def test_a_real_ucx_in_the_frontend_finds_each_of_its_modules_beside_it(ucx: Path, nixl: Path) -> None:
    build_log(SourceBuild(stage=Stage.RUNTIME, image="frontend", sources={"nixl": str(nixl), "ucx": str(ucx)}))
    version, *components = docker("run", "--rm", tag_of("frontend"), "python", "-c", SAY).split()
    assert version == VERSION
    assert set(components) == BUILT_IN | MODULES
    assert len(components) == len(set(components))
