"""Copy of this project with stand-ins for the cuda bases and the index of NVIDIA; everything else is unchanged."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from dynamo_containers import engine
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import binaries, bootstrap
from dynamo_containers.upstream import deb_origins
from tests import checkout_copy
from tests.lock.conftest import OLD
from tests.lock.test_registry import INDEX, MANIFEST, Registry
from tests.stand_in import roots, rust
from tests.stand_in.archive import SmallDeb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stand_in.archive import Archive
    from tests.stand_in.rpms import Rpms
    from tests.stand_in.servers import StandIn

NATIVE = native_platform()
PART = ("--image", "base", "--image", "frontend", "--image", "trtllm", "--bases", "cuda", "--platform", NATIVE.value)
"""Options for the locks that the stand-ins are sufficient for."""
COPIED = ("containers", "requirements", "constraints", "dynamo_containers")
RENEWED = "tzdata"
"""A package of the stand-in for NVIDIA's images; the compiler of the archive needs a newer version."""


def elf(machine: int) -> bytes:
    """Return the header of a 64-bit, little-endian shared library, which names its machine."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(44)


def wheel(version: str, machine: int) -> bytes:
    """Return a stand-in for the wheel of tensorrt-llm: a module with its version, and a library."""
    info = f"tensorrt_llm-{version}.dist-info"
    files = {
        "tensorrt_llm/__init__.py": f'__version__ = "{version}"\n'.encode(),
        "tensorrt_llm/libs/libstand_in.so": elf(machine),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tensorrt-llm\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag()}\n".encode(),
    }
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return content.getvalue()


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def tag() -> str:
    return f"py3-none-manylinux_2_28_{NATIVE.machine}"


def offer(server: StandIn, version: str, machine: int) -> None:
    """Add a release to the stand-in for the index of NVIDIA."""
    file, content = f"tensorrt_llm-{version}-{tag()}.whl", wheel(version, machine)
    server.nvidia.files[file] = content
    server.nvidia.pages.setdefault("tensorrt-llm", []).append(
        {
            "filename": file,
            "url": f"../../files/{file}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            "size": len(content),
            "upload-time": OLD,
        }
    )


def push_roots(registry: Registry, archive: Archive, rpms: Rpms, store: Path) -> None:
    """Push stand-ins for the root images to the registry, under the names of the real ones."""
    catalogue = load_catalogue()
    digests = {"builder": roots.builder(catalogue, store, rpms)}
    digests |= dict.fromkeys(("devel", "runtime"), roots.nvidia(catalogue, store, archive.keyring))
    for role, root in catalogue.bases["cuda"].registry_roots.items():
        name, _, tag = root.reference(NATIVE).rpartition(":")
        _push(registry, name, tag, store, digests[role], index=not root.split)


def offer_packages(archive: Archive) -> None:
    """Add the Python of Debian to the stand-in for the archive of Ubuntu, and nearly empty packages for all else."""
    catalogue = load_catalogue()
    lock = OsLock(bases=catalogue.bases["debian"], role="runtime", platform=NATIVE)
    packages = bootstrap.fetch(ROOT, lock, os_lock.read(lock, ROOT))
    cuda = catalogue.bases["cuda"]
    rows = [group.packages for group in cuda.packages.values()] + [
        group.packages for group in cuda.extended_roots.values()
    ]
    named = {name for row in rows for name in row}
    small = {name: SmallDeb(name=name) for name in named - {package.name for package in packages}}
    small["libc6-dev"] = SmallDeb(name="libc6-dev", depends=f"{RENEWED} (>= 9999)")
    small["sudo"] = SmallDeb(name="sudo", files={"etc/sudoers.d/README": "none\n"})
    newer = SmallDeb(name=RENEWED, version="9999-1")
    archive.offer((deb_origins.store_path(ROOT, package) for package in packages), (*small.values(), newer))


def _push(  # noqa: PLR0913 - an image and its place in the registry
    registry: Registry, name: str, tag: str, store: Path, digest: str, *, index: bool
) -> None:
    blobs = store / "blobs/sha256"
    manifest = (blobs / digest.removeprefix("sha256:")).read_bytes()
    content = json.loads(manifest)
    for blob in (content["config"], *content["layers"]):
        registry._blob(name, (blobs / blob["digest"].removeprefix("sha256:")).read_bytes())
    address = f"http://{registry.address}/v2/{name}/manifests"
    registry._send("PUT", f"{address}/{digest if index else tag}", manifest, MANIFEST)
    if index:
        of = {"os": "linux", "architecture": NATIVE.arch}
        row = {"mediaType": MANIFEST, "digest": digest, "size": len(manifest), "platform": of}
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [row]}).encode()
        registry._send("PUT", f"{address}/{tag}", text, INDEX)


def offer_programs(server: StandIn) -> None:
    """Add archives with Debian's NATS, etcd and Rust to the stand-in for the release pages."""
    catalogue = load_catalogue()
    bases = catalogue.bases["debian"]
    binaries.ensure(ROOT, bases, catalogue.pins, NATIVE)
    tree = binaries.folder_of(ROOT, bases, catalogue.pins) / NATIVE.arch
    members: dict[str, dict[str, str]] = {}
    cuda = catalogue.bases["cuda"]
    for program in (cuda.archive_programs[name] for name in cuda.programs):  # etcd and etcdctl come out of one archive
        members.setdefault(program.address(NATIVE), {}).update(program.members(NATIVE))
    for address, files in members.items():
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for source, target in files.items():
                archive.add(tree / target.lstrip("/"), arcname=source)
        server.releases[address.rpartition("/")[2]] = content.getvalue()
    toolchain = cuda.toolchains["rust"]
    server.releases[toolchain.address(NATIVE).rpartition("/")[2]] = rust.archive(toolchain.version)


@dataclass(frozen=True, kw_only=True)
class StandInProject:
    """The copy of this project."""

    folder: Path
    environment: Mapping[str, str]
    log: Path
    """The log of the registry: a line for each request."""

    def invoke(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a task of the copy."""
        argv = (str(Path(sys.executable).with_name("invoke")), *arguments)
        return subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)

    def docker(self, *arguments: str) -> str:
        """Run docker with the engine; return its output."""
        argv = ("docker", *arguments)
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=True).stdout


def make_copy(folder: Path, server: StandIn, archive: Archive, registry: Registry, log: Path) -> StandInProject:
    """Make the copy; it uses the engine of this checkout and downloads from the stand-ins.

    The names of registries and release pages stay the real ones, because the stand-ins are mirrors.
    """
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "tasks.py", folder)
    for lock in (folder / "constraints").glob("*-cuda-*.txt"):
        lock.unlink()  # of another Python version
    pins = folder / PINS_FILE
    pins.write_text(_without_cuda(pins.read_text(encoding="utf-8")), encoding="utf-8")
    images = folder / IMAGES_FILE
    text = checkout_copy.without_known_gaps(images.read_text(encoding="utf-8"))  # the stand-ins let them be locked
    images.write_text(_edited_table(text, server), encoding="utf-8")
    # Packages that need torch are only tested in the real image.
    (folder / "requirements/trtllm.in").write_text("ai-dynamo\ntensorrt-llm\n", encoding="utf-8")
    trusted = str(server.certificates)
    own = engine.environment(ROOT)
    environment = {
        **os.environ,
        **own,
        **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), trusted),
        "PIP_INDEX_URL": f"{server.address}/machine/simple/",
        mirrors.VARIABLE: str(_mirrors(folder.parent, server, archive, registry)),
    }
    return StandInProject(folder=folder, environment=environment, log=log)


def _mirrors(folder: Path, server: StandIn, archive: Archive, registry: Registry) -> Path:
    """Write the mirrors of a network that only reaches the stand-ins; return the file."""
    cuda = load_catalogue().bases["cuda"]
    assert cuda.archive is not None
    hosts = sorted({root.image.partition("/")[0] for root in cuda.registry_roots.values()})
    snapshot = cuda.deb_sources.snapshot.partition("{timestamp}")[0]
    addresses = {
        "https://github.com/": f"{server.address}/releases/",
        "https://static.rust-lang.org/": f"{server.address}/releases/",
        f"{cuda.repositories['builder'].address}/": f"{server.address}/almalinux/",
        f"{cuda.archive.addresses[NATIVE]}/": f"{archive.address}/ubuntu/",
        snapshot: f"{archive.address}/snapshot/",
    }
    tables = {"registries": {host: f"{registry.address}/{host}" for host in hosts}, "addresses": addresses}
    file = folder / "mirrors.toml"
    rows = [
        f"[{name}]\n" + "".join(f'"{key}" = "{to}"\n' for key, to in table.items()) for name, table in tables.items()
    ]
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


def _without_cuda(pins: str) -> str:
    """Return pins.toml without the real root images and archives, which are not available here."""
    return re.sub(r"^\[(?:roots|programs)\.cuda\.[^\n]*\n(?:[^\n\[]+\n)*\n?", "", pins, flags=re.MULTILINE)


def _edited_table(text: str, server: StandIn) -> str:
    """Return the table with stand-ins in place of unreachable services, only for the platform of this machine."""
    debian, cuda = (load_catalogue().bases[name] for name in ("debian", "cuda"))
    head, *images = re.split(r"\n(?=\[images\.[a-z]+\]\n)", text)
    tables = [image for image in images if image.startswith(("[images.base]", "[images.frontend]", "[images.trtllm]"))]
    before, start, of_cuda = head.partition("[bases.cuda]\n")
    for old, new in {
        f'python = "{cuda.python_release}"': f'python = "{debian.python_release}"',
        **{f'glibc = "{glibc}"': f'glibc = "{debian.glibc}"' for glibc in (cuda.glibc, cuda.roots["builder"].glibc)},
    }.items():
        of_cuda = of_cuda.replace(old, new)
    rows = "\n".join(tables).replace('bases = ["debian", "cuda"]', 'bases = ["cuda"]')
    rows = rows.replace('"linux/amd64", "linux/arm64"', f'"{NATIVE.value}"').replace(
        "disk-mb = 40000", "disk-mb = 4000"
    )
    rows = re.sub(r"^engine-image = .*\n", "", rows, flags=re.MULTILINE)  # it would need the registry of NVIDIA
    before = re.sub(r'url = "https://pypi\.nvidia\.com"', f'url = "{server.address}/nvidia/simple"', before)
    return f"{before}{start}{of_cuda}\n{rows}"
