"""Files that this project keeps in a checkout, below .build and .engine: the path of each, and who writes it.

Paths are relative to the checkout. Other modules take them from here. docs/reference/build-folder.md is this list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BUILD = ".build"
"""The folder of everything that commands keep for the next one."""
ENGINE = ".engine"
"""The private engine (engine/paths.py)."""
ENGINE_DATA = ".engine/data"
"""Images and caches of the private engine, dockerd's data root (engine/daemon.py)."""

DOWNLOADS = ".build/downloads"
"""Downloads by sha256: .debs, RPMs, release archives (upstream/download.py)."""
TOOLS = ".build/tools"
"""Tools that this machine lacks, such as mmdebstrap (upstream/host_tools.py)."""
APT = ".build/apt"
"""Folders of private apts, a folder per suite and architecture (upstream/apt.py)."""

ROOT_IMAGES = ".build/roots"
"""OCI layout of the root images, with a record per root image (prepare/root_images.py)."""
OS_PACKAGES = ".build/os-packages"
"""Packages of each set of OS packages, ready to be installed (prepare/os_packages.py)."""
BINARIES = ".build/programs"
"""Binaries that are not Python packages: NATS, etcd (prepare/binaries.py)."""
TOOLCHAINS = ".build/toolchains"
"""Archives of compilers (prepare/toolchains.py)."""
LAYER_PINS = ".build/pieces"
"""Pins of each image layer of Python packages (prepare/layer_pins.py)."""
INDEX_ADDRESS = ".build/secrets/index"
"""Address of this machine's Python index, readable by its user alone, while a build runs (prepare/build_secrets.py)."""
INDEX_LOCK = ".build/secrets/lock"
"""Held by the builds that use the address of the index; the last one removes it (prepare/build_secrets.py)."""

STEPS = ".build/steps"
"""Inputs of the targets at the last build, as digests, a file per bases and platform (prepare/input_digests.py)."""
BUILT = ".build/built"
"""An entry per successful build, for the check of disk space (prepare/disk_space.py)."""
IMAGES = ".build/images"
"""Digests of the images that were built here, a file per set of inputs (builds/up_to_date.py)."""

SIZES = ".build/sizes"
"""Measured sizes, a file per image digest (inspect/sizes/cache.py)."""
WITHIN_BUDGET = ".build/within-budget"
"""An entry per set of images that was within its budgets (inspect/sizes/check.py)."""
REPORTS = ".build/reports"
"""Reports of the last builds, a file per build (inspect/report/store.py)."""
LAST_REPORT = ".build/report.json"
"""Report of the last build (inspect/report/store.py)."""
REPORT_PAGE = ".build/report.html"
"""The reports as a page, from `invoke report` (inspect/report/show.py)."""
SMOKE_RESULTS = ".build/smoke"
"""Results of smoke tests: an XML file per image and platform, and what failed tests left (plan/smoke_tests.py)."""
LOCKING = ".build/lock"
"""Copy of the locks that the last `invoke lock` worked in, where it failed (lock/staging.py)."""
INSTALLED_PACKAGES = ".build/os-installed"
"""Installed packages and apt keys of registries' images, a folder per image (lock/os/image_status.py)."""
RPM_QUERIES = ".build/os-resolved"
"""Queries for the dnf of registries' images, a folder per image (lock/os/rpm.py)."""

PREPARE_LOCK = ".build/prepare.lock"
"""Held by the build that makes root images, packages and binaries; other builds wait (builds/run.py)."""
LOCK_COMMAND = ".build/lock.lock"
"""Held by the `invoke lock` that runs; a second one waits (lock/staging.py)."""
ENGINE_LOCK = ".build/engine.lock"
"""Held by the `engine` command that starts or stops the private engine (engine/paths.py)."""


def bake_document(name: str) -> str:
    """Return the bake document of a build; NAME has its stages, images, bases and architectures (plan/bake.py)."""
    return f"{BUILD}/bake-{name}.json"


def query_document(target: str, layer: str) -> str:
    """Return the bake document that queries a registry's image for `invoke lock` (lock/os/image_status.py)."""
    return f"{BUILD}/bake-{target}-{layer}.json"


def checked_data(schema: str) -> str:
    """Return the file with the digest of hand-written data that passed its check (facts/data_check.py)."""
    return f"{BUILD}/checked/{schema}"


def cache_document(place: str) -> str:
    """Return the bake document that asks a registry for its build caches (builds/cache_probe.py)."""
    return f"{BUILD}/cache-{place}.json"


def source_policy(document: Path) -> Path:
    """Return the source policy of a bake document: BuildKit refuses every other input (plan/source_policy.py)."""
    return document.with_name(f"policy-{document.name}")


def metadata(document: Path) -> Path:
    """Return the file in which buildx leaves the digests of the images (engine/bake_metadata.py)."""
    return document.with_suffix(".metadata")


def build_lock(document: Path) -> Path:
    """Return the file that the build of a bake document holds locked; a second one waits (builds/run.py)."""
    return document.with_suffix(".lock")


def node_document(document: Path, image: str) -> Path:
    """Return the bake document of one image on a node, for caches, builders and a registry (plan/distributed.py)."""
    return document.with_name(f"{document.stem}-wide-{image}.json")


def merged_dockerfile(document: Path, image: str) -> Path:
    """Return the merged Dockerfile of one image, for a build with caches (plan/merged_dockerfile.py)."""
    return document.with_name(f"{document.stem}-wide-{image}.Dockerfile")


def export_document(document: Path) -> Path:
    """Return the bake document that exports the sources of checkouts (plan/source_export.py)."""
    return document.with_name(f"{document.stem}-wide-sources.json")


def exported_source(document: Path, target: str) -> Path:
    """Return the folder with the exported source of a target (plan/source_export.py)."""
    return document.with_name("sources") / document.stem / target


def forget_builds(checkout: Path) -> None:
    """Delete the entries of successful builds: the engine that had them is gone."""
    for entry in (checkout / BUILT).glob("*"):
        entry.unlink(missing_ok=True)
