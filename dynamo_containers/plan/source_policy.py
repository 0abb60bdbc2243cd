"""BuildKit's source policy: only pinned sources and their mirrors are allowed.

https://github.com/moby/buildkit/blob/master/docs/build-repro.md: of ALLOW and DENY the last rule that fits a source
wins; CONVERT replaces the source, and the rules then judge what it became (docs/adr/0015).
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
"""Where buildx finds the document."""


def policy(request: Request, inputs: BuildInputs) -> dict[str, Any]:
    """Return the policy of a request; without rules where everything is allowed and nothing is exchanged."""
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
    """Return one policy of several: what any of them allows. What denies all the rest comes first in each, and once."""
    rules: list[Rule] = []
    for policy in policies:
        rules += [rule for rule in policy.get("rules", ()) if rule not in rules]
    return {"rules": rules} if rules else {}


def image_policy(name: str, used: str) -> dict[str, Any]:
    """Return the policy of reading one image (HOST/NAME@DIGEST) at the place where it is looked for."""
    return {"rules": [*_only_local(()), *_rules(f"docker-image://{name}", f"docker-image://{used}")]}


def _only_local(roots: Iterable[str]) -> Iterator[Rule]:
    """Deny everything but folders of this machine and the root images that were made here."""
    yield _rule("DENY", "*", kind="WILDCARD")
    yield _rule("ALLOW", "local://*", kind="WILDCARD")
    for digest in sorted(set(roots)):
        # Before the digest buildx names the layout by a number of its own, another one in each build.
        yield _rule("ALLOW", f"oci-layout://*@{digest}", kind="WILDCARD")


def _rules(public: str, used: str, constraints: list[dict[str, str]] | None = None) -> Iterator[Rule]:
    """Allow one source, at the place where it is looked for."""
    if used != public:
        yield _rule("CONVERT", public, constraints) | {"updates": {"identifier": used}}
    yield _rule("ALLOW", used, constraints)


def _rule(
    action: str, identifier: str, constraints: list[dict[str, str]] | None = None, *, kind: str = "EXACT"
) -> Rule:
    selector: dict[str, Any] = {"identifier": identifier, "matchType": kind}
    return {"action": action, "selector": selector | ({"constraints": constraints} if constraints else {})}


def _images(request: Request) -> Iterator[str]:
    """Return every pinned image of the bases, and those of engines that an image stands on: HOST/NAME@DIGEST."""
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
    found = (pin for key, pin in pins if key[0] == request.bases.name and isinstance(pin, ArchivePin))
    return tuple({pin.url: pin for pin in found}.values())


def _commits(request: Request) -> tuple[tuple[str, str], ...]:
    """Return (repository, commit) of what is pinned, and of what is built: that is one commit too, by whoever asked."""
    pins = request.catalogue.pins.sources
    pinned = [(source.git, pins[name].commit) for name, source in request.catalogue.sources.items() if name in pins]
    built = [each.context.rpartition("#")[::2] for each in request.sources.values() if not each.local]
    return tuple(dict.fromkeys((*pinned, *built)))


def _git_rules(public: str, used: str, commit: str) -> Iterator[Rule]:
    named, looked_for = (f"git://{address.partition('://')[2]}#{commit}" for address in (public, used))
    for rule in _rules(named, looked_for):
        if rule["action"] == "CONVERT":  # what is fetched says an attribute, not the name
            rule["updates"]["attrs"] = {"git.fullurl": used}
        yield rule
