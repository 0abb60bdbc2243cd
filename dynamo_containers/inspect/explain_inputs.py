"""Inputs of `invoke explain`, read from the locks; no engine and no network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts import image_reference, user_config
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.locks import download_sizes, os_lock, requirements
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.inspect import explain
from dynamo_containers.inspect.explain import Content, Part, Step
from dynamo_containers.plan import bake, builders, caches, container
from dynamo_containers.plan.labels import root_role
from dynamo_containers.plan.target import dockerfile_folder
from dynamo_containers.prepare import inputs, layer_pins
from dynamo_containers.prepare.input_digests import Digests, last, now, set_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.platforms import Platform

    Reader = Callable[[Request, Facts, Mapping[str, Any], Platform], Content]

PURPOSES = {
    Stage.BASE: "everyone: Dynamo and NIXL as wheels, so that a backend is built without building them",
    Stage.BACKEND: "backend developers: what has no wheel is compiled, on the devel image",
    Stage.RUNTIME: "production: only what is needed to serve",
    Stage.CI: "CI and debugging: test tools on exactly the runtime's bytes",
    Stage.DEV: "daily work: toolchains, sudo and your own UID; your sources are mounted",
}


def images(catalogue: Catalogue) -> str:
    """Return the list of images."""
    return explain.images(catalogue, {stage.value: purpose for stage, purpose in PURPOSES.items()})


def image(catalogue: Catalogue, name: str, stage: str, platforms: Sequence[str], bases: str) -> str:
    """Return what will be in an image, for each of the platforms.

    Raises:
        UsageError: a word is unknown.
        LockError: a lock or a pin that it needs is missing or stale.
    """
    having = container.stages_of(catalogue, name, stage)
    chosen = Stage.RUNTIME if Stage.RUNTIME in having else having[-1]
    request = bake.request(catalogue, chosen, images=[name], platforms=platforms, bases=bases)
    # One platform at a time, as if it alone were built: what is compiled, and so the graph, may differ.
    each = (
        bake.request(catalogue, chosen, images=[name], platforms=[one.value], bases=bases) for one in request.platforms
    )
    return "\n\n".join(one(request) for request in each)


def one(request: Request) -> str:
    """Return what will be in the one image of a request, on its one platform."""
    facts, (platform,), digests = inputs.stated(request), request.platforms, Digests()
    document = bake.bake(request, facts)
    (target,), steps = document["group"]["default"]["targets"], document["target"]
    recipes = {name: digests.summary(dockerfile_folder(row)) for name, row in steps.items()}
    before = last(request.catalogue.folder, request.bases, platform)
    states = explain.states(steps, recipes, now(request, facts, steps, platform, digests), before)
    rows = {
        name: Step(name=name, content=_content(request, facts, row, platform, recipes[name].about), state=states[name])
        for name, row in steps.items()
    }
    layers = explain.chain(steps, recipes, target)
    tag = bake.tag(request.images[0], request.stage, request.bases, request.platforms, facts.version)
    text = explain.text(
        f"{request.images[0].name}, {request.stage.value} stage, {platform.value}: {tag}",
        _root(request, root_role(request.stage), platform),
        (rows[name] for name in layers),
        (row for name, row in rows.items() if name not in layers),
    )
    return "\n".join((text, *_elsewhere(request, platform)))


def _elsewhere(request: Request, platform: Platform) -> Iterable[str]:
    """Return lines about what this machine's files say of building it: another builder, and build caches."""
    read = caches.wanted(request, caches.load(os.environ)).read
    builder = builders.load(os.environ).get(platform) or os.environ.get(user_config.BUILDX_BUILDER)
    if builder:
        yield f"Built by the builder {builder}"
    yield from (f"Read where it is there: the build cache {cache.reference}" for cache in read)


def _content(request: Request, facts: Facts, target: Mapping[str, Any], platform: Platform, about: str) -> Content:
    folder = dockerfile_folder(target).name
    reader: dict[str, Reader] = {
        "builder": _builder,
        "fetched": _piece,
        "os": _programs,
        "os-packages": _set,
        "os-rpms": _set,
        "packages": _piece,
    }
    if folder not in reader:
        return Content(origin=f"containers/{folder}/Dockerfile", about=about)
    return reader[folder](request, facts, target, platform if "platforms" in target else facts.native)


def _root(request: Request, role: str, platform: Platform) -> Content:
    bases, pins = request.bases, request.catalogue.pins
    if role in bases.pulled:
        return Content(
            origin=f"{PINS_FILE} (roots.{bases.name}.{role})", about=image_reference.source(pins, bases, role, platform)
        )
    return _debs(request, OsLock(bases=bases, role=role, platform=platform))


def _debs(request: Request, lock: OsLock) -> Content:
    packages = os_lock.read(lock, request.catalogue.folder)
    parts = tuple(Part(name=each.name, version=each.version, size=each.size) for each in packages)
    return Content(origin=f"{lock.file} ({lock.rows} in images.toml)", parts=parts)


def _set(request: Request, _: Facts, target: Mapping[str, Any], platform: Platform) -> Content:
    contexts = target["contexts"]
    name = set_of(request.bases, contexts.get("debs") or contexts["rpms"])
    return _debs(request, os_lock.lock_of(request.bases, name, platform))


def _programs(request: Request, _: Facts, __: Mapping[str, Any], platform: Platform) -> Content:
    pins = request.catalogue.pins.programs
    found = {name: pins[request.bases.name, name, platform] for name in request.bases.programs}
    parts = tuple(Part(name=name, version=pin.version, size=pin.size or None) for name, pin in found.items())
    return Content(origin=f"{PINS_FILE} (programs.{request.bases.name})", parts=parts)


def _builder(request: Request, _: Facts, __: Mapping[str, Any], platform: Platform) -> Content:
    return _python(request, f"builder-{request.bases.name}-{platform.arch}", None)


def _piece(request: Request, facts: Facts, target: Mapping[str, Any], platform: Platform) -> Content:
    folder = Path(target["contexts"]["lock"])
    layer = folder.parent.name.rpartition(f"-{request.bases.name}-")[0]
    part = next(part for parts in facts.pieces.values() for part in parts if part.folder == folder)
    text = layer_pins.text(part, platform)
    content = _python(request, f"{layer}-{request.bases.name}-{platform.arch}", text)
    return Content(origin=f"{content.origin} (piece {folder.name})", parts=content.parts)


def _python(request: Request, stem: str, text: str | None) -> Content:
    """Return the packages of a lock, or of a piece of its text."""
    file = f"constraints/{stem}.txt"
    if text is None:
        text = (request.catalogue.folder / file).read_text(encoding="utf-8")
    return Content(origin=file, parts=tuple(_parts(requirements.read(text, file), _sizes(request, stem))))


def _sizes(request: Request, stem: str) -> Mapping[str, int]:
    return download_sizes.read(request.catalogue.folder).get(stem, {})


def _parts(pins: Iterable[requirements.LockedPackage], sizes: Mapping[str, int]) -> Iterable[Part]:
    return (Part(name=each.name, version=each.version, size=sizes.get(each.pin)) for each in pins)
