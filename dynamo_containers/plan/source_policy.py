"""BuildKit's source policy: only pinned sources and their mirrors are allowed.

https://github.com/moby/buildkit/blob/master/docs/build-repro.md: of ALLOW and DENY the last rule that matches a source
wins; CONVERT replaces the source, and the rules are then applied to the new one (docs/adr/0015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.facts import image_reference
from dynamo_containers.facts.pins import ENGINE_IMAGES, ArchivePin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.facts.bases import RegistryRoot
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.facts.pins import ImagePin
    from dynamo_containers.plan.request import BuildInputs, Request

    Rule: TypeAlias = dict[str, Any]

VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
"""The environment variable that names the document to buildx."""


def policy(request: Request, inputs: BuildInputs) -> dict[str, Any]:
    """Return the policy of a request; it is empty if all sources are allowed and none is replaced."""
    rules = list(_only_local(inputs.roots.values())) if request.bases.strict else []
    for name in dict.fromkeys(_images(request)):
        rules += _rules(f"docker-image://{name}", f"docker-image://{inputs.mirrors.image(name)}")
    for pin in _archives(request):
        checked = [{"key": "http.checksum", "value": f"sha256:{pin.sha256}", "condition": "EQUAL"}]
        rules += _rules(pin.url, inputs.mirrors.address(pin.url), checked)
    for git, commit in _commits(request):
        rules += _git_rules(git, inputs.mirrors.address(git), commit)
    if not request.bases.strict:
        rules = [rule for rule in rules if rule["action"] == "CONVERT"]
    return {"rules": rules} if rules else {}


def merge(policies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge policies: a source that one of them allows is allowed. The rule that denies the others is first, once."""
    rules: list[Rule] = []
    for policy in policies:
        rules += [rule for rule in policy.get("rules", ()) if rule not in rules]
    return {"rules": rules} if rules else {}


def image_policy(name: str, mirror: str) -> dict[str, Any]:
    """Return the policy that allows one image (HOST/NAME@DIGEST), at its mirror."""
    return {"rules": [*_only_local(()), *_rules(f"docker-image://{name}", f"docker-image://{mirror}")]}


def _only_local(roots: Iterable[str]) -> Iterator[Rule]:
    """Yield the rules that deny everything but folders of this machine and its own root images."""
    yield _rule("DENY", "*", kind="WILDCARD")
    yield _rule("ALLOW", "local://*", kind="WILDCARD")
    for digest in sorted(set(roots)):
        # Before the digest buildx writes a number for the layout, which differs in each build.
        yield _rule("ALLOW", f"oci-layout://*@{digest}", kind="WILDCARD")


def _rules(public: str, mirror: str, constraints: list[dict[str, str]] | None = None) -> Iterator[Rule]:
    """Yield the rules that allow one source, at its mirror; without a mirror that is the same address."""
    if mirror != public:
        yield _rule("CONVERT", public, constraints) | {"updates": {"identifier": mirror}}
    yield _rule("ALLOW", mirror, constraints)


def _rule(
    action: str, identifier: str, constraints: list[dict[str, str]] | None = None, *, kind: str = "EXACT"
) -> Rule:
    selector: dict[str, Any] = {"identifier": identifier, "matchType": kind}
    return {"action": action, "selector": selector | ({"constraints": constraints} if constraints else {})}


def _images(request: Request) -> Iterator[str]:
    """Yield the pinned images of the bases, and of engines that an image is based on: HOST/NAME@DIGEST."""
    pins = request.catalogue.pins.roots
    for role, root in request.bases.registry_roots.items():
        if pin := pins.get((request.bases.name, role)):
            yield from _references(root, pin)
    for image in request.images:
        if engine := _engine(request, image):
            yield from _references(*engine)


def _engine(request: Request, image: Image) -> tuple[RegistryRoot, ImagePin] | None:
    pin = request.catalogue.pins.roots.get((ENGINE_IMAGES, image.name))
    return (image.engine_image, pin) if image.engine_image and pin else None


def _references(root: RegistryRoot, pin: ImagePin) -> Iterator[str]:
    for platform, digest in pin.platforms.items():
        yield f"{image_reference.repository(root.reference(platform))}@{digest}"
    if pin.index:
        yield f"{image_reference.repository(root.image)}@{pin.index}"


def _archives(request: Request) -> tuple[ArchivePin, ...]:
    pins = request.catalogue.pins.programs.items()
    archives = (pin for key, pin in pins if key[0] == request.bases.name and isinstance(pin, ArchivePin))
    return tuple({pin.url: pin for pin in archives}.values())


def _commits(request: Request) -> tuple[tuple[str, str], ...]:
    """Return (repository, commit) of the pinned sources and of the sources that are built."""
    pins = request.catalogue.pins.sources
    pinned = [(source.git, pins[name].commit) for name, source in request.catalogue.sources.items() if name in pins]
    built = [source.context.rpartition("#")[::2] for source in request.sources.values() if not source.local]
    return tuple(dict.fromkeys((*pinned, *built)))


def _git_rules(public: str, mirror: str, commit: str) -> Iterator[Rule]:
    identifier, mirror_identifier = (f"git://{address.partition('://')[2]}#{commit}" for address in (public, mirror))
    for rule in _rules(identifier, mirror_identifier):
        if rule["action"] == "CONVERT":  # BuildKit fetches the address of the attribute, not that of the identifier
            rule["updates"]["attrs"] = {"git.fullurl": mirror}
        yield rule
