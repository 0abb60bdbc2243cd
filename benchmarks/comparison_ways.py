"""Commands and image tags of the two ways of building: one graph, and a Dockerfile per backend."""

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
from tests.checkout_copy import invoke

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.comparison_project import ComparedProject
    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Image

OURS_STAGES = (Stage.BASE, Stage.BACKEND, Stage.RUNTIME, Stage.CI)
BASELINE_STAGES = ("base", "devel", "runtime", "ci")
DOWNLOADS = "downloads"
"""A stage of the Dockerfile of the baseline that only fills uv's cache."""
TEMPLATE = ROOT / "benchmarks/baseline/Dockerfile"


@dataclass(frozen=True, kw_only=True)
class OneGraph:
    """One graph: one command for any number of backends."""

    shares: ClassVar = True
    """Whether backends have common layers."""
    project: ComparedProject

    def commands(self, backends: Iterable[str]) -> tuple[process.Command, ...]:
        """Return the command that builds every stage of these backends."""
        chosen = [argument for name in backends for argument in ("--image", name)]
        stages = [argument for stage in OURS_STAGES for argument in ("--stage", stage.value)]
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
    """A Dockerfile per backend: four builds for each."""

    shares: ClassVar = False
    project: ComparedProject
    facts: BuildInputs
    """The inputs that all backends have in common: root images, programs, sets of OS packages, secrets."""
    docker: Docker

    def commands(self, backends: Iterable[str]) -> tuple[process.Command, ...]:
        """Return the commands that build every stage of these backends, one after the other."""
        return tuple(self._command(name, stage) for name in backends for stage in BASELINE_STAGES)

    def downloads(self, backends: Iterable[str]) -> process.Command:
        """Return the command that fills uv's cache for both ways."""
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
        arguments = [
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
        return self.docker.buildx_command("build", *arguments)

    def _root(self, role: str) -> str:
        return f"oci-layout://{self.facts.layout}@{self.facts.roots[role, NATIVE]}"

    def _debs(self, backend: str) -> Path:
        """Return the folder with the OS packages of a backend's runtime; an empty folder if it has none."""
        sets = self.project.catalogue().images[backend].os_packages
        for name in sets:
            return self.facts.os_packages[name] / NATIVE.arch
        return self._no_debs()

    def _no_debs(self) -> Path:
        empty = self.project.folder / ".build/no-debs"
        empty.mkdir(exist_ok=True)
        return empty

    def _own(self, backend: str) -> dict[str, str]:
        """Return the pins of a backend besides those of Dynamo, from the locks of the graph."""
        image = self.project.catalogue().images[backend]
        return {
            "engine.txt": self.project.pins(image.common_layer, image.name),
            "ci.txt": self.project.pins(ci_layer(image)),
        }

    def _folder(self, name: str, pins: Mapping[str, str]) -> Path:
        """Write the build context of a Dockerfile: for a backend, or for the downloads of all backends."""
        folder = self.project.folder / ".build/baseline" / name
        text = TEMPLATE.read_text(encoding="utf-8").replace("@BACKEND@", name)
        for file, content in {"Dockerfile": text, "builder.txt": self.project.pins("builder"), **pins}.items():
            process.write(process.Document(path=folder / file, text=content))
        return folder


def baseline(project: ComparedProject, docker: Docker) -> Baseline:
    """Prepare the root images and programs of both ways, and return the baseline."""
    catalogue = project.catalogue()
    stages_inputs = [
        inputs.build_inputs(request_for(catalogue, stage, ImageSelection(images=project.backends)))
        for stage in (Stage.BACKEND, Stage.RUNTIME)
    ]
    roots = {key: digest for facts in stages_inputs for key, digest in facts.roots.items()}
    return Baseline(project=project, facts=replace(stages_inputs[1], roots=roots), docker=docker)
