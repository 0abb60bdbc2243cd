"""Labels of an image, from a request and its inputs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dynamo_containers.facts import image_reference
from dynamo_containers.facts.bases import Root
from dynamo_containers.facts.catalogue import InstallFrom, Stage

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.request import BuildInputs, Request

NO_BACKEND = "none"


def labels(request: Request, inputs: BuildInputs, image: Image) -> dict[str, str]:
    """Return the labels (https://github.com/opencontainers/image-spec/blob/main/annotations.md) of an image."""
    created = datetime.fromtimestamp(request.catalogue.pins.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    drift = {"ai.dynamo.drift": " ".join(inputs.drift)} if inputs.drift else {}
    return {
        "ai.dynamo.backend": image.backend or NO_BACKEND,
        "ai.dynamo.bases": request.bases.name,
        "ai.dynamo.lock": f"sha256:{inputs.locks[image.name]}",
        "ai.dynamo.stage": request.stage.value,
        **_base_labels(request, image),
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": image.description,
        "org.opencontainers.image.licenses": request.catalogue.licenses,
        "org.opencontainers.image.revision": inputs.revision,
        "org.opencontainers.image.source": request.catalogue.source,
        "org.opencontainers.image.title": image.title,
        "org.opencontainers.image.version": inputs.version,
        **drift,
        **{f"ai.dynamo.source.{name}": source.state for name, source in inputs.sources.items()},
    }


def root_role(stage: Stage) -> str:
    """Return the role of the root image that images of a stage are based on."""
    return {Stage.BASE: "builder", Stage.BACKEND: "devel"}.get(stage, "runtime")


def _base_labels(request: Request, image: Image) -> dict[str, str]:
    """Return the labels that name the root image: its readable reference and the digest of its index."""
    role = root_role(request.stage)
    pin, root = request.catalogue.pins.roots[request.bases.name, role], request.bases.roots[role]
    if image.install_from is InstallFrom.IMAGE:
        pin, root = image_reference.engine_pin(request.catalogue.pins, image), image_reference.engine_root(image)
    if isinstance(root, Root):
        name, digest = f"{request.bases.name}-{role}:{root.suite}", pin.index
    elif root.split and len(request.platforms) == 1:
        name, digest = root.reference(request.platforms[0]), pin.platforms[request.platforms[0]]
    else:
        # Repositories per platform have no common digest, and a label has one value for all platforms.
        name, digest = root.image, pin.index
    return {
        f"org.opencontainers.image.base.{key}": value for key, value in (("name", name), ("digest", digest)) if value
    }
