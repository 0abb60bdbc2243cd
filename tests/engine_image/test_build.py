"""Dynamo is added to a stand-in for the published image of an engine.

The stand-in is made from the runtime root image of debian, and read from an OCI layout by the same digest as from a
registry. The wheels of the base stage are stand-ins as well. Needs an engine, and an index for two small packages.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import pytest

from dynamo_containers import engine
from dynamo_containers.docker_cli import Docker
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, Stage, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import ENGINE_IMAGES, PINS_FILE, ImagePin, render
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildInputs, request_for
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import binaries, build_secrets, oci_layout, root_images
from tests.unit import planned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.process import Command

pytestmark = pytest.mark.engine

NATIVE = native_platform()
REFERENCE = "stand-in.invalid/engine:1"
THEIR_PLACE = "usr/local/lib/python3.11/dist-packages"
NEWER = 1893456000  # 2030: newer than any lock
ROW = f"""
[images.stand-in]
title = "Stand-in"
description = "Dynamo on a stand-in for the published image of an engine"
repository = "stand-in-runtime"
backend = "stand_in"
stages = ["runtime", "ci", "dev"]
bases = ["debian"]
platforms = ["{NATIVE.value}"]
install-from = "image"
engine-image = "{REFERENCE}"
"""
ENGINE = {
    "stand-in-engine": ("1.0", ("stand-in-kept",)),
    "stand-in-kept": ("1.5", ()),
}
OWN = {
    "ai-dynamo": ("1.4.2", ("ai-dynamo-runtime==1.4.2", "idna>=3", "stand-in-kept>=1")),
    "ai-dynamo-runtime": ("1.4.2", ()),
    "nixl": ("1.3.2", ("nixl-cu12==1.3.2", "nixl-cu13==1.3.2")),
    "nixl-cu13": ("1.3.2", ()),
}
LIBRARIES = ".nixl_cu13.mesonpy.libs"
ASK = """
import json, os, pathlib, pwd
from importlib.metadata import distribution, distributions
names = sorted({package.metadata["Name"].lower() for package in distributions()})
print(json.dumps({
    "versions": {name: distribution(name).version for name in names},
    "kept": str(distribution("stand-in-kept").locate_file("")),
    "user": [os.getuid(), os.getgid(), pwd.getpwuid(1000).pw_name, [user.pw_name for user in pwd.getpwall()]],
    "nixl": {name: os.path.exists(os.environ[name]) for name in ("NIXL_PREFIX", "NIXL_LIB_DIR", "NIXL_PLUGIN_DIR")},
    "library": os.path.realpath(os.path.join(os.environ["NIXL_LIB_DIR"], "libnixl.so")),
    "path": os.environ["PATH"],
    "newer": os.stat("/opt/weights").st_mtime,
    "lists": [str(path) for path in pathlib.Path("/var/lib/apt/lists").iterdir()],
}))
"""


def module_files(name: str, version: str, requires: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files of a package that only has a version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {f"{module}/__init__.py": f'__version__ = "{version}"\n'.encode()}
    if name.startswith("nixl-"):
        files |= {f"{LIBRARIES}/libnixl.so": b"a library", f"{LIBRARIES}/plugins/libplugin.so": b"a plugin"}
    listed = "".join(f"{file},,\n" for file in (*files, f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"))
    return files | {
        f"{info}/METADATA": (
            metadata + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        ).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": listed.encode(),
    }


def wheel(name: str, version: str, requires: tuple[str, ...]) -> bytes:
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for file, text in module_files(name, version, requires).items():
            archive.writestr(ZipInfo(file, (2020, 1, 1, 0, 0, 0)), text)  # always the same bytes
    return content.getvalue()


def tree(file: Path, contents: Mapping[str, bytes]) -> Path:
    """Write a tar with these files."""
    with tarfile.open(file, "w") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), NEWER, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return file


def add_layer(store: Path, root_digest: str, file: Path) -> str:
    """Add an image to the layout: another one with an additional layer; return its digest."""
    manifest = json.loads(oci_layout.blob_path(store, root_digest).read_bytes())
    config = json.loads(oci_layout.blob_path(store, manifest["config"]["digest"]).read_bytes())
    content = file.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    oci_layout.blob_path(store, digest).write_bytes(content)
    config["rootfs"]["diff_ids"].append(digest)
    config["history"].append({"created": config["created"], "created_by": "the stand-in engine"})
    config["config"] |= {"Entrypoint": ["stand-in", "serve"], "User": "1000"}
    config["config"]["Env"] = ["PATH=/usr/local/stand-in/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
    layer = {"mediaType": oci_layout.LAYER_TYPE, "digest": digest, "size": len(content)}
    manifest["layers"].append(layer)
    manifest["config"] = {**manifest["config"], **oci_layout._write_json(store, config)}
    return str(oci_layout._write_json(store, manifest)["digest"])


def pin(name: str, version: str, content: bytes, via: str) -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n    # via {via}\n"


def own_pin(lock: str, name: str, via: str) -> str:
    """Return a pin from a lock of this project."""
    text = (ROOT / "constraints" / f"{lock}-debian-{NATIVE.arch}.txt").read_text(encoding="utf-8")
    pinned = text[text.index(f"\n{name}==") + 1 :].partition("    # via")[0]
    return f"{pinned}    # via {via}\n"


@dataclass(frozen=True, kw_only=True)
class EngineImageProject:
    """A checkout with a row for the stand-in, and the inputs of its plan."""

    folder: Path
    facts: BuildInputs
    environment: Mapping[str, str]
    buildx: tuple[str, ...]
    base: str
    """The digest of the stand-in for the base stage."""

    @property
    def store(self) -> Path:
        return oci_layout.layout(self.folder)

    def publish(self, engine_packages: Mapping[str, tuple[str, tuple[str, ...]]], **more: bytes) -> str:
        """Make the stand-in for the published image of an engine; return its digest."""
        root = oci_layout.blob_path(ROOT / ".build/roots", self.facts.roots["runtime", NATIVE])
        root_digest = f"sha256:{root.name}"
        users = "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n"
        files = {
            "etc/passwd": users.encode(),
            "etc/group": b"root:x:0:\nmail:x:8:\nubuntu:x:1000:\n",
            "var/lib/apt/lists/stand-in_Packages": b"left over",
            "var/cache/apt/pkgcache.bin": b"left over",
            "opt/weights": b"newer than the locks",
            **{name.replace("__", "/"): content for name, content in more.items()},
        }
        for name, (version, requires) in engine_packages.items():
            files |= {
                f"{THEIR_PLACE}/{file}": content for file, content in module_files(name, version, requires).items()
            }
        return add_layer(self.store, root_digest, tree(self.folder / "engine.tar", files))

    def command(self, published: str, stage: Stage) -> tuple[Command, str]:
        """Return the command of the plan with the stand-ins in it, and the tag of the image."""
        catalogue = load_catalogue(self.folder)
        pinned = ImagePin(image=REFERENCE, index=published, platforms={NATIVE: published})
        pins = replace(catalogue.pins, roots={**catalogue.pins.roots, (ENGINE_IMAGES, "stand-in"): pinned})
        (self.folder / PINS_FILE).write_text(render(pins), encoding="utf-8")
        request = request_for(
            load_catalogue(self.folder), stage, ImageSelection(images=["stand-in"], platforms=[NATIVE.value])
        )
        plan = planned.execution(request, self.facts, Docker(environment=self.environment, buildx=self.buildx))
        (document,), (command,) = plan.documents, plan.commands
        here = f"oci-layout://{self.store}@"
        assert f'"docker-image://stand-in.invalid/engine@{published}"' in document.text
        text = document.text.replace("docker-image://stand-in.invalid/engine@", here)
        content: dict[str, Any] = json.loads(text.replace('"target:base"', f'"{here}{self.base}"'))
        for name in ("base", "tools"):
            del content["target"][name]
        document.path.parent.mkdir(parents=True, exist_ok=True)
        document.path.write_text(json.dumps(content), encoding="utf-8")
        command = replace(command, argv=(*command.argv, f"--allow=fs.read={ROOT}", "--progress=plain"))
        return command, bake.tag(request.images[0], stage, request.bases, request.platforms, self.facts.version)

    def build(
        self, published: str, stage: Stage = Stage.RUNTIME, *more: str
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        command, tag = self.command(published, stage)
        environment = {**os.environ, **command.env}
        argv = (*command.argv, *more)
        with build_secrets.index_file(ROOT, os.environ):
            return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False), tag

    def docker(self, *arguments: str) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            ("docker", *arguments), env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineImageProject]:
    own = load_catalogue()
    debian, epoch = own.bases["debian"], own.pins.epoch
    locks = [os_lock.OsLock(bases=debian, role=role, platform=NATIVE) for role in ("builder", "runtime")]
    root_images_of_locks = root_images.ensure_all(ROOT, [(lock, os_lock.read(lock, ROOT)) for lock in locks], epoch)
    binaries.ensure(ROOT, debian, own.pins, NATIVE)
    folder = checkout(tmp_path_factory.mktemp("engine-image"))
    store = oci_layout.layout(folder)
    for digest in (root.digest for lock, root in root_images_of_locks if lock.role == "runtime"):
        copy_image(oci_layout.layout(ROOT), store, digest)
    wheels = {
        f"opt/dynamo/wheelhouse/{name.replace('-', '_')}-{version}-py3-none-any.whl": wheel(name, version, requires)
        for name, (version, requires) in OWN.items()
    }
    base = oci_layout.add(store, tree(folder / "base.tar", wheels), NATIVE, epoch, ())
    facts = BuildInputs(
        native=NATIVE,
        version="1.4.2",
        revision="stand-in",
        locks={"stand-in": "0" * 64},
        roots={(lock.role, NATIVE): root.digest for lock, root in root_images_of_locks},
        layout=oci_layout.layout(ROOT),
        binaries=binaries.folder_of(ROOT, debian, own.pins),
        drift=(),
        secrets=build_secrets.secrets(ROOT, os.environ),
    )
    engine.up(ROOT, (NATIVE,))
    environment = engine.environment(ROOT)
    yield EngineImageProject(
        folder=folder, facts=facts, environment=environment, buildx=engine.docker(ROOT).buildx, base=base.digest
    )
    tags = [f"stand-in-runtime{form}:1.4.2-debian-{NATIVE.arch}" for form in ("", "-ci")]
    subprocess.run(("docker", "image", "rm", "--force", *tags), env={**os.environ, **environment}, check=False)


def copy_image(source: Path, store: Path, digest: str) -> None:
    """Copy an image with one layer from one layout to another."""
    manifest = json.loads(oci_layout.blob_path(source, digest).read_bytes())
    oci_layout.blob_path(store, digest).parent.mkdir(parents=True)
    for blob in (digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])):
        shutil.copy(oci_layout.blob_path(source, blob), oci_layout.blob_path(store, blob))


def checkout(folder: Path) -> Path:
    """Copy the files that a plan reads, and add a row and locks for the stand-in."""
    shutil.copytree(ROOT / "containers", folder / "containers")
    shutil.copytree(ROOT / "constraints", folder / "constraints")
    (folder / "containers/stand-in").mkdir()
    (folder / "containers/stand-in/Dockerfile").write_text('FROM dynamo\nCMD ["python"]\n', encoding="utf-8")
    with (folder / IMAGES_FILE).open("a", encoding="utf-8") as file:
        file.write(ROW)
    text = {
        "base": "".join(
            pin(name, package[0], wheel(name, *package), "-r requirements/base.in") for name, package in OWN.items()
        ),
        "stand-in-engine-image": own_pin("frontend", "idna", "ai-dynamo")
        + pin("stand-in-kept", "2.0", b"never fetched", "ai-dynamo")
        + pin("stand-in-unneeded", "1.0", b"never fetched", "stand-in-kept"),
        "stand-in-engine-image-ci": own_pin("frontend-ci", "iniconfig", "-r requirements/ci.in"),
    }
    for layer, lock in text.items():
        (folder / f"constraints/{layer}-debian-{NATIVE.arch}.txt").write_text(lock, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def contents(project: EngineImageProject) -> dict[str, Any]:
    """Build the ci image, which is based on the runtime, and return its contents."""
    published = project.publish(ENGINE)
    finished, tag = project.build(published, Stage.CI)
    assert finished.returncode == 0, finished.stderr[-8000:]
    answer: dict[str, Any] = json.loads(project.docker("run", "--rm", tag, "python", "-c", ASK))
    (inspected,) = json.loads(project.docker("image", "inspect", tag))
    layers = inspected["RootFS"]["Layers"]
    return {**answer, "labels": inspected["Config"]["Labels"], "published": published, "layers": layers}


def test_what_the_image_brought_is_there_in_the_same_version_and_place(contents: dict[str, Any]) -> None:
    assert contents["versions"]["stand-in-engine"] == "1.0"
    assert contents["versions"]["stand-in-kept"] == "1.5"  # the lock has 2.0
    assert contents["kept"] == f"/{THEIR_PLACE}"


def test_dynamo_and_nixl_and_what_they_lack_are_added_and_nothing_else(contents: dict[str, Any]) -> None:
    added = {name: version for name, version in contents["versions"].items() if not name.startswith("stand-in-")}
    assert {name: added[name] for name in OWN} == {name: version for name, (version, _) in OWN.items()}
    assert set(added) == {*OWN, "idna", "iniconfig"}
    assert "stand-in-unneeded" not in contents["versions"]


def test_nixl_s_variables_are_true(contents: dict[str, Any]) -> None:
    assert contents["nixl"] == {"NIXL_PREFIX": True, "NIXL_LIB_DIR": True, "NIXL_PLUGIN_DIR": True}
    assert contents["library"] == f"/opt/dynamo/venv/lib/python3.11/site-packages/{LIBRARIES}/libnixl.so"


def test_the_user_is_dynamo_although_the_image_had_another_one_of_that_uid(contents: dict[str, Any]) -> None:
    assert contents["user"] == [1000, 0, "dynamo", ["root", "dynamo"]]


def test_the_environment_is_first_on_path_before_what_the_image_says(contents: dict[str, Any]) -> None:
    assert contents["path"] == "/opt/dynamo/venv/bin:/usr/local/stand-in/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def test_the_image_s_own_files_are_not_stored_again_and_its_apt_lists_are_gone(contents: dict[str, Any]) -> None:
    assert contents["newer"] == NEWER
    assert contents["lists"] == []


def test_the_labels_name_the_published_image(contents: dict[str, Any]) -> None:
    assert contents["labels"]["org.opencontainers.image.base.name"] == REFERENCE
    assert contents["labels"]["org.opencontainers.image.base.digest"] == contents["published"]


def test_the_same_pins_make_the_same_layers(project: EngineImageProject, contents: dict[str, Any]) -> None:
    finished, tag = project.build(contents["published"], Stage.CI, "--no-cache")
    assert finished.returncode == 0, finished.stderr[-8000:]
    (inspected,) = json.loads(project.docker("image", "inspect", tag))
    assert inspected["RootFS"]["Layers"] == contents["layers"]


@pytest.mark.parametrize(
    ("packages", "files", "message"),
    [
        pytest.param(
            {**ENGINE, "nixl": ("1.0.0", ())},
            {},
            f"add-missing: The image has nixl 1.0.0 in /{THEIR_PLACE}, and the base stage has 1.3.2.",
            id="another NIXL",
        ),
        pytest.param(
            ENGINE,
            {"opt__nvidia__nvda_nixl__lib__libnixl.so": b"a library"},
            "add-missing: The image has a NIXL that is in no Python package: /opt/nvidia/nvda_nixl/lib/libnixl.so",
            id="a NIXL that is not a Python package",
        ),
        pytest.param(
            {**ENGINE, "stand-in-kept": ("0.5", ())},
            {},
            "  stand-in-kept  >=1     0.5            ai-dynamo",
            id="a package that is too old for Dynamo",
        ),
    ],
)
def test_an_image_that_does_not_fit_is_refused_by_name(
    project: EngineImageProject, packages: dict[str, tuple[str, tuple[str, ...]]], files: dict[str, bytes], message: str
) -> None:
    finished, _ = project.build(project.publish(packages, **files))
    assert finished.returncode != 0
    assert message in finished.stderr
    assert 'install-from = "wheels"' in finished.stderr
