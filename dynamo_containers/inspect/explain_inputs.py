"""Inputs of `invoke explain`, read from the locks; no engine and no network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts import image_reference, user_config
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.locks import download_sizes, os_lock, requirements
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.inspect import explain as explanation
from dynamo_containers.inspect.explain import (
    Content,
    ExplainedImage,
    ExplainedTarget,
    Explanation,
    ImageList,
    ListedImage,
    PinnedPackage,
)
from dynamo_containers.plan import bake, builders, caches, container
from dynamo_containers.plan.labels import root_role
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.prepare import inputs, layer_pins
from dynamo_containers.prepare.input_digests import Digests, last_inputs, package_set, target_inputs
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.plan.target import Target
    from dynamo_containers.platforms import Platform

    Reader = Callable[[Request, BuildInputs, Target, Platform], Content]

PURPOSES = {
    Stage.BASE: "everyone: Dynamo and NIXL as wheels, so that a backend is built without building them",
    Stage.BACKEND: "backend developers: what has no wheel is compiled, on the devel image",
    Stage.RUNTIME: "production: only what is needed to serve",
    Stage.CI: "CI and debugging: test tools on exactly the runtime's bytes",
    Stage.DEV: "daily work: toolchains, sudo and your own UID; your sources are mounted",
}


def explain(
    catalogue: Catalogue, image: str = "", stage: str = "", platforms: Sequence[str] = (), bases: str = "debian"
) -> Result:
    """Return what will be in an image, for each of the platforms; without an image: the list of images.

    Raises:
        UsageError: a name is unknown.
        LockError: a lock or a pin that it needs is missing or stale.
    """
    if not image:
        images = _list(catalogue)
        return Result(text=explanation.list_text(images), data=images)
    stages = container.stages_of(catalogue, image, stage)
    chosen = Stage.RUNTIME if Stage.RUNTIME in stages else stages[-1]
    request = request_for(catalogue, chosen, ImageSelection(images=[image], platforms=platforms, bases=bases))
    # One platform at a time, as if it alone were built: what is compiled, and so the graph, may differ.
    explained = tuple(
        explain_request(
            request_for(catalogue, chosen, ImageSelection(images=[image], platforms=[platform.value], bases=bases))
        )
        for platform in request.platforms
    )
    return Result(text="\n\n".join(map(explanation.text, explained)), data=Explanation(images=explained))


def _list(catalogue: Catalogue) -> ImageList:
    images = (
        ListedImage(
            name=image.name,
            title=image.title,
            stages=tuple(stage.value for stage in image.stages),
            bases=tuple(image.bases),
            platforms=tuple(platform.value for platform in image.platforms),
        )
        for image in catalogue.images.values()
    )
    return ImageList(images=tuple(images), stages={stage.value: purpose for stage, purpose in PURPOSES.items()})


def explain_request(request: Request) -> ExplainedImage:
    """Return what will be in the one image of a request, on its one platform."""
    facts, (platform,), (image,) = inputs.offline_build_inputs(request), request.platforms, request.images
    root_image = _root(request, root_role(request.stage), platform)
    targets = tuple(_targets(request, facts, platform))
    download, unknown = explanation.downloads((root_image, *(target.content for target in targets)))
    return ExplainedImage(
        image=image.name,
        stage=request.stage.value,
        bases=request.bases.name,
        platform=platform.value,
        tag=bake.tag(image, request.stage, request.bases, request.platforms, facts.version),
        root_image=root_image,
        targets=targets,
        download=download,
        unknown_sizes=unknown,
        notes=tuple(_notes(request, platform)),
    )


def _targets(request: Request, facts: BuildInputs, platform: Platform) -> Iterable[ExplainedTarget]:
    """Yield the targets with layers in the image, from the lowest on; then the others."""
    plan, digests = bake.build_plan(BuildPart(request, facts)), Digests()
    (top,), targets = plan.graph.images, plan.graph.targets
    dockerfiles = {name: digests.summary(target.folder) for name, target in targets.items()}
    recorded = last_inputs(request.catalogue.folder, request.bases, platform)
    states = explanation.states(targets, dockerfiles, target_inputs(plan, platform, digests), recorded)
    layers = explanation.chain(targets, dockerfiles, top.target)
    for name in (*layers, *(name for name in targets if name not in layers)):
        content = _content(request, facts, targets[name], platform, dockerfiles[name].about)
        yield ExplainedTarget(name=name, content=content, state=states[name], is_layer=name in layers)


def _notes(request: Request, platform: Platform) -> Iterable[str]:
    """Yield what this machine's configuration adds to a build: another builder, and build caches."""
    read = caches.caches_for(request, caches.load(os.environ)).read
    builder = builders.load(os.environ).get(platform) or os.environ.get(user_config.BUILDX_BUILDER)
    if builder:
        yield f"Built by the builder {builder}"
    yield from (f"Read where it exists: the build cache {cache.reference}" for cache in read)


def _content(request: Request, facts: BuildInputs, target: Target, platform: Platform, summary: str) -> Content:
    folder = target.folder.name
    reader: dict[str, Reader] = {
        "builder": _builder,
        "fetched": _layer,
        "os": _binaries,
        "os-packages": _package_set,
        "os-rpms": _package_set,
        "packages": _layer,
    }
    if folder not in reader:
        return Content(origin=f"containers/{folder}/Dockerfile", description=summary)
    return reader[folder](request, facts, target, platform if target.platforms else facts.native)


def _root(request: Request, role: str, platform: Platform) -> Content:
    bases, pins = request.bases, request.catalogue.pins
    if role in bases.registry_roots:
        reference = image_reference.root_context(pins, bases, role, platform)
        return Content(origin=f"{PINS_FILE} (roots.{bases.name}.{role})", description=reference)
    return _os_packages(request, OsLock(bases=bases, role=role, platform=platform))


def _os_packages(request: Request, lock: OsLock) -> Content:
    packages = tuple(
        PinnedPackage(name=package.name, version=package.version, size=package.size)
        for package in os_lock.read(lock, request.catalogue.folder)
    )
    return Content(origin=f"{lock.file} ({lock.rows} in images.toml)", packages=packages)


def _package_set(request: Request, _: BuildInputs, target: Target, platform: Platform) -> Content:
    contexts = target.contexts
    name = package_set(request.bases, contexts.get("debs") or contexts["rpms"])
    return _os_packages(request, os_lock.lock_of(request.bases, name, platform))


def _binaries(request: Request, _: BuildInputs, __: Target, platform: Platform) -> Content:
    pins = {
        name: request.catalogue.pins.programs[request.bases.name, name, platform] for name in request.bases.programs
    }
    packages = tuple(PinnedPackage(name=name, version=pin.version, size=pin.size or None) for name, pin in pins.items())
    return Content(origin=f"{PINS_FILE} (programs.{request.bases.name})", packages=packages)


def _builder(request: Request, _: BuildInputs, __: Target, platform: Platform) -> Content:
    return _python(request, f"builder-{request.bases.name}-{platform.arch}", None)


def _layer(request: Request, facts: BuildInputs, target: Target, platform: Platform) -> Content:
    folder = Path(target.contexts["lock"])
    layer = folder.parent.name.rpartition(f"-{request.bases.name}-")[0]
    part = next(part for parts in facts.package_layers.values() for part in parts if part.folder == folder)
    text = layer_pins.read(part, platform)
    content = _python(request, f"{layer}-{request.bases.name}-{platform.arch}", text)
    return Content(origin=f"{content.origin} (layer {folder.name})", packages=content.packages)


def _python(request: Request, stem: str, text: str | None) -> Content:
    """Return the packages of a lock, or of the part of its text that is one layer."""
    file = f"constraints/{stem}.txt"
    if text is None:
        text = requirements.read_file(request.catalogue.folder, file)
    sizes = download_sizes.read(request.catalogue.folder).get(stem, {})
    packages = tuple(
        PinnedPackage(name=package.name, version=package.version, size=sizes.get(package.pin))
        for package in requirements.read(text, file)
    )
    return Content(origin=file, packages=packages)
