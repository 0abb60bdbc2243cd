"""Copy of this checkout that both ways build, with an index that simulates releases of Dynamo.

No other release of Dynamo installs together with these engines, and none differs by one line. So the index offers the
locked wheels with an additional line in one module, under the same version, and the locks of the copy get the new hash.
The same is done for the package of one backend. All other packages come from the real index.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks.changed_wheel import with_line, without_large_files
from dynamo_containers import integrity, process
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock, python_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.locks.python_common import parse
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import root_images
from tests.checkout_copy import invoke, take_over_caches
from tests.lock.conftest import OLD
from tests.toy.test_toy_backend import FILE, PAGE, blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from tests.stand_in.servers import StandIn

NATIVE = native_platform()
BASES = load_catalogue().bases["debian"]
COPIED = ("containers", "requirements", "constraints", "dynamo_containers")
DYNAMO = ("ai-dynamo", "ai-dynamo-runtime", "nixl", "nixl-cu13")
REAL = ("vllm", "sglang")
OF_ONE = "astor"
"""A package of the first backend. The index has only the changed file, so no other lock may pin another release."""
TOYS = {"toy": ("lxml", "tabulate"), "toy2": ("lxml", "humanize", "pyyaml")}
"""Backends of the quick form -> their packages. The common package is in their shared layer."""
MODULES = ROOT / "containers/fetched/nixl-modules.toml"
NEEDED = tuple(
    f"*/{row['file'].rpartition('/')[2]}" for row in tomllib.loads(MODULES.read_text(encoding="utf-8"))["modules"]
)
"""Large libraries that the base stage requires in the wheel of NIXL."""
SHARED = '\n[lock.common-layers.toys]\nsame-version = ["lxml"]\npackage-layers = {}\n'


@dataclass(frozen=True, kw_only=True)
class ComparedProject:
    """The copy of this checkout."""

    folder: Path
    backends: tuple[str, str]
    package: str
    """A pure Python package that only the first backend has."""
    wheels: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Package -> file name and content of the wheel that the locks pin now."""

    def catalogue(self) -> Catalogue:
        """Return the catalogue of the copy."""
        return load_catalogue(self.folder)

    def lock(self, layer: str) -> Path:
        """Return the path of the lock of a layer."""
        return self.folder / "constraints" / f"{layer}-{BASES.name}-{NATIVE.arch}.txt"

    def pins(self, *layers: str) -> str:
        """Return the pins of these layers without comments; an empty name has no pins."""
        entries = (entry for layer in layers if layer for entry in parse(self.lock(layer).read_text()).entries.values())
        return "".join("\n".join(entry.pin) + "\n" for entry in entries)

    def change(self, server: StandIn, names: Iterable[str], line: str) -> None:
        """Simulate another release of packages: an additional line, and locks that pin it."""
        self.offer(server, {name: with_line(self.wheels[name][1], line) for name in names})

    def shrink(self, server: StandIn) -> None:
        """Replace Dynamo and NIXL by small packages: wheels without large files, and locks that pin them."""
        self.offer(server, {name: without_large_files(self.wheels[name][1], NEEDED) for name in DYNAMO})

    def offer(self, server: StandIn, contents: Mapping[str, bytes]) -> None:
        """Make these wheels the only ones of their packages in the index, and pin them in the locks."""
        for name, content in contents.items():
            file, _ = self.wheels[name]
            self.wheels[name] = (file, content)
            digest = offer(server, name, file, content)
            for lock in (self.lock("base"), self.lock(self.backends[0])):
                lock.write_text(with_hash(lock.read_text(encoding="utf-8"), name, digest), encoding="utf-8")
        self._restate()

    def _restate(self) -> None:
        """Update the input digests of the locks that are based on changed locks."""
        for lock in python_lock.locks(self.catalogue()):
            file = self.folder / lock.path
            texts = python_lock.read_texts(lock, self.folder)
            if file.is_file() and not lock.shared_by and all(path in texts for path in lock.inputs):
                line = f"# inputs: {python_lock.digest(lock, texts)}"
                text = re.sub(r"^# inputs: .*$", line, texts[lock.path], flags=re.MULTILINE)
                file.write_text(text, encoding="utf-8")


def with_hash(text: str, name: str, digest: str) -> str:
    """Return a lock that allows only one file of a package; unchanged if the package is not in it."""
    entry = parse(text).entries.get(name)
    if entry is None:
        return text
    return text.replace("\n".join(entry.pin), f"{entry.pin[0]}\n    --hash=sha256:{digest}")


def offer(server: StandIn, name: str, file: str, content: bytes) -> str:
    """Make this wheel the only one of its package in the index; return its sha256."""
    digest = hashlib.sha256(content).hexdigest()
    # Each content has its own address, so that no cache confuses them.
    server.nvidia.files[f"{file}?{digest}"] = content
    row: dict[str, object] = {"filename": file, "url": f"../../files/{file}?{digest}", "hashes": {"sha256": digest}}
    server.nvidia.pages[name] = [row | {"size": len(content), "upload-time": OLD}]
    server.moved[name] = f"{server.address}/nvidia/simple/{name}/"
    return digest


def make_copy(folder: Path, *, quick: bool) -> ComparedProject:
    """Make the copy and give it the caches of this checkout; the quick form gets two locked toy backends."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "tasks.py", folder)
    take_over_caches(folder)
    if not quick:
        return ComparedProject(folder=folder, backends=REAL, package=OF_ONE)
    shrink_devel(folder)
    _add_toys(folder)
    images = (argument for name in TOYS for argument in ("--image", name))
    options = ("--only", "python", "--bases", BASES.name, "--platform", NATIVE.value)
    process.capture(invoke(folder, "lock", *options, *images))
    return ComparedProject(folder=folder, backends=("toy", "toy2"), package="tabulate")


def shrink_devel(folder: Path) -> None:
    """Use the builder image as devel image: toys compile nothing, and a compiler costs both ways the same."""
    builder, devel = (OsLock(bases=BASES, role=role, platform=NATIVE) for role in ("builder", "devel"))
    pins = load_catalogue(folder).pins
    packages = ", ".join(f'"{name}"' for name in builder.root.packages)
    row = rf"(?s)(\[bases\.{BASES.name}\.roots\.devel\].*?packages = )\[.*?\]"
    _replace(folder / IMAGES_FILE, row, rf"\1[{packages}]")
    digests = (pins.root(BASES.name, role, NATIVE) for role in ("devel", "builder"))
    _replace(folder / PINS_FILE, *digests)
    shutil.copy2(folder / builder.file, folder / devel.file)
    source, target = (
        root_images.record_path(folder, lock, os_lock.read(lock, folder), pins.epoch)
        for lock in (builder, replace(devel, bases=load_catalogue(folder).bases[BASES.name]))
    )
    if source.is_file():
        shutil.copy2(source, target)
        integrity.seal(target, *root_images.files(target.parent, target))


def _replace(file: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, file.read_text(encoding="utf-8"))
    assert count == 1, f"{file} has {pattern} {count} times"  # noqa: S101 - another comparison would be wrong
    file.write_text(text, encoding="utf-8")


def _add_toys(folder: Path) -> None:
    """Follow docs/how-to/add-a-backend.md twice, for the platform of this machine, with a shared layer."""
    (row,) = blocks("toml")
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    row = re.sub(r"(?m)^platforms = .*$", f'platforms = ["{NATIVE.value}"]\ncommon-layer = "toys"', row)
    text = SHARED
    for name, packages in TOYS.items():
        text += "\n" + row.replace("toy", name).replace(f'common-layer = "{name}s"', 'common-layer = "toys"')
        (folder / f"requirements/{name}.in").write_text("\n".join(packages) + "\n", encoding="utf-8")
        (folder / f"containers/{name}").mkdir()
        (folder / f"containers/{name}/Dockerfile").write_text(files["containers/toy/Dockerfile"], encoding="utf-8")
    with (folder / IMAGES_FILE).open("a", encoding="utf-8") as images:
        images.write(text)


def fetch(project: ComparedProject) -> None:
    """Download the wheels that will be changed, exactly as the locks pin them."""
    place = project.folder / ".build/wheels"
    lock = project.folder / ".build/fetched.txt"
    package = parse(project.lock(project.backends[0]).read_text(encoding="utf-8")).entries[project.package]
    lock.write_text(project.pins("base") + "\n".join(package.pin) + "\n", encoding="utf-8")
    env = {"TARGETARCH": NATIVE.arch, "GLIBC": BASES.glibc, "PYTHON_VERSION": BASES.python}
    process.capture(
        process.Command(argv=(str(ROOT / "containers/fetched/fetch-wheels"), str(lock), str(place)), env=env)
    )
    for name in (*DYNAMO, project.package):
        (file,) = place.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
        project.wheels[name] = (file.name, file.read_bytes())
