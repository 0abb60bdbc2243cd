"""By which commands is everything built, in our way and in that of the baseline? And how does each call its images?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from benchmarks import on_engine
from benchmarks.comparison_project import BASES, NATIVE
from dynamo_containers import process
from dynamo_containers.facts.catalogue import ROOT, Stage
from dynamo_containers.facts.locks.python_layers import ci_layer
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildInputs, request_for
from dynamo_containers.prepare import inputs
from tests.copied import invoke

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.comparison_project import Project
    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Image

OURS_STAGES = (Stage.BASE, Stage.BACKEND, Stage.RUNTIME, Stage.CI)
BASELINE_STAGES = ("base", "devel", "runtime", "ci")
DOWNLOADS = "downloads"
"""A stage of the baseline's file of which nothing is kept but uv's cache."""
TEMPLATE = ROOT / "benchmarks/baseline/Dockerfile"


@dataclass(frozen=True, kw_only=True)
class Ours:
    """One graph: one command for whatever number of backends."""

    shares: ClassVar = True
    """Whether a backend has layers of another one."""
    project: Project

    def commands(self, backends: Iterable[str]) -> tuple[process.Command, ...]:
        """Return what builds every stage of these backends."""
        chosen = [word for name in backends for word in ("--image", name)]
        stages = [word for stage in OURS_STAGES for word in ("--stage", stage.value)]
        return (invoke(self.project.folder, "build.all", *chosen, *stages),)

    def tags(self, backend: str) -> tuple[str, ...]:
        """Return the images of a backend."""
        image = self.project.catalogue().images[backend]
        base = self.project.catalogue().images["base"]
        return tuple(self._tag(base if stage is Stage.BASE else image, stage) for stage in OURS_STAGES)

    def runtime(self, backend: str) -> str:
        """Return the image that is deployed."""
        return self._tag(self.project.catalogue().images[backend], Stage.RUNTIME)

    def _tag(self, image: Image, stage: Stage) -> str:
        file, _ = self.project.wheels["ai-dynamo"]
        return bake.tag(image, stage, BASES, (NATIVE,), file.split("-")[1])


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A Dockerfile per backend: four calls for each."""

    shares: ClassVar = False
    project: Project
    facts: BuildInputs
    """What is the same for all backends: root images, programs, sets of OS packages, secrets."""
    docker: Docker

    def commands(self, backends: Iterable[str]) -> tuple[process.Command, ...]:
        """Return what builds every stage of these backends, one after the other."""
        return tuple(self._command(name, stage) for name in backends for stage in BASELINE_STAGES)

    def downloads(self, backends: Iterable[str]) -> process.Command:
        """Return what fills uv's cache for both ways."""
        texts = {"locks/dynamo.txt": self.project.pins("base")}
        for name in backends:
            texts |= {f"locks/{name}-{file}": text for file, text in self._own(name).items()}
        return self._build(self._folder(DOWNLOADS, texts), DOWNLOADS, self._no_debs(), "type=cacheonly")

    def tags(self, backend: str) -> tuple[str, ...]:
        """Return the images of a backend."""
        return tuple(f"baseline-{backend}-{stage}:{BASES.name}" for stage in BASELINE_STAGES)

    def runtime(self, backend: str) -> str:
        """Return the image that is deployed."""
        return f"baseline-{backend}-runtime:{BASES.name}"

    def _command(self, backend: str, stage: str) -> process.Command:
        folder = self._folder(backend, {"dynamo.txt": self.project.pins("base"), **self._own(backend)})
        return self._build(folder, stage, self._debs(backend), bake.OUTPUT)

    def _build(self, folder: Path, stage: str, debs: Path, output: str) -> process.Command:
        contexts = {
            **{f"root-{role}": self._root(role) for role in ("builder", "devel", "runtime")},
            "containers": str(self.project.folder / "containers"),
            "programs": str(self.facts.binaries / NATIVE.arch),
            "debs": str(debs),
        }
        words = [
            *(f"--build-context={name}={value}" for name, value in contexts.items()),
            *(f"--secret={secret}" for secret in self.facts.secrets),
            f"--build-arg=PYTHON={BASES.interpreter_of('runtime')}",
            f"--target={stage}",
            f"--tag=baseline-{folder.name}-{stage}:{BASES.name}",
            f"--label={on_engine.SOURCE}={self.project.catalogue().source}",
            f"--output={output}",
            "--provenance=false",
            str(folder),
        ]
        return self.docker.buildx_command("build", *words)

    def _root(self, role: str) -> str:
        return f"oci-layout://{self.facts.layout}@{self.facts.roots[role, NATIVE]}"

    def _debs(self, backend: str) -> Path:
        """Return the folder of the OS packages of a backend's runtime; an empty one where it has none."""
        wanted = self.project.catalogue().images[backend].os_packages
        for name in wanted:
            return self.facts.os_packages[name] / NATIVE.arch
        return self._no_debs()

    def _no_debs(self) -> Path:
        empty = self.project.folder / ".build/no-debs"
        empty.mkdir(exist_ok=True)
        return empty

    def _own(self, backend: str) -> dict[str, str]:
        """Return the pins of a backend beside Dynamo: those of the graph."""
        image = self.project.catalogue().images[backend]
        return {
            "engine.txt": self.project.pins(image.common_layer, image.name),
            "ci.txt": self.project.pins(ci_layer(image)),
        }

    def _folder(self, name: str, pins: Mapping[str, str]) -> Path:
        """Write the folder of a Dockerfile: for a backend, or for the downloads of all."""
        folder = self.project.folder / ".build/baseline" / name
        text = TEMPLATE.read_text(encoding="utf-8").replace("@BACKEND@", name)
        for file, content in {"Dockerfile": text, "builder.txt": self.project.pins("builder"), **pins}.items():
            process.write(process.Document(path=folder / file, text=content))
        return folder


def baseline(project: Project, docker: Docker) -> Baseline:
    """Make what both ways stand on, root images and programs, and return the baseline."""
    catalogue = project.catalogue()
    known = [
        inputs.build_inputs(request_for(catalogue, stage, ImageSelection(images=project.backends)))
        for stage in (Stage.BACKEND, Stage.RUNTIME)
    ]
    roots = {key: digest for facts in known for key, digest in facts.roots.items()}
    return Baseline(project=project, facts=replace(known[1], roots=roots), docker=docker)
