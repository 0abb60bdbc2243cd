"""Rules for build graphs: bake documents in, findings out; nothing is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dynamo_containers.plan.target import LINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.plan.dockerfile import Dockerfile

SECRET = re.compile(r"(?:.*_)?(?:PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|NETRC)(?:_.*)?")
LOGIN = re.compile(r"://[^/\s@]+@")
BUILDER_PLATFORM = re.compile(r"\$\{?BUILDPLATFORM\}?")


class GraphFinding(NamedTuple):
    """A rule that a target breaks."""

    target: str
    rule: str
    fault: str
    """What is wrong."""
    instead: str
    """What to do instead."""


def per_commit(document: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[GraphFinding]:
    """Find what differs between the documents of two commits with the same files; only labels and tags may differ."""
    for name, target in document["target"].items():
        for key, value in target.items():
            if key not in ("labels", "tags") and other["target"][name].get(key) != value:
                fault = f"`{key}` has another value at every commit, so the target is rebuilt for each"
                instead = "put the value into a label of the finished image"
                yield GraphFinding(name, "changes-above-work", fault, instead)


def missing_platform(document: Mapping[str, Any], files: Mapping[str, Dockerfile]) -> Iterator[GraphFinding]:
    """Find targets that are built for the building machine and used on another platform.

    Args:
        document: a bake document.
        files: folder of a target -> its Dockerfile.
    """
    targets = document["target"]
    without = {name for name, target in targets.items() if not target.get("platforms")}
    instead = "name the platforms, or use `FROM --platform=${BUILDPLATFORM}`"
    for name, target in targets.items():
        contexts = {key for key, value in target["contexts"].items() if value.removeprefix(LINK) in without}
        for stage in files[Path(target["context"]).name].stages:
            if stage.image in contexts and not BUILDER_PLATFORM.fullmatch(stage.platform):
                fault = f"FROM {stage.image} is built for the building machine alone, and used for every platform"
                yield GraphFinding(name, "missing-platform", fault, instead)
    for name in without & {*document["group"]["default"]["targets"]}:
        yield GraphFinding(name, "missing-platform", "an image has no platform", instead)


def secrets(document: Mapping[str, Any]) -> Iterator[GraphFinding]:
    """Find secrets that the history of an image would show."""
    for name, target in document["target"].items():
        for key, value in target.get("args", {}).items():
            if SECRET.fullmatch(key) or LOGIN.search(value):
                fault = f"the argument {key} is a secret, and the image's history shows arguments"
                yield GraphFinding(name, "secret-in-argument", fault, "pass it as a secret: RUN --mount=type=secret")


def whole_checkout(document: Mapping[str, Any], checkout: Path) -> Iterator[GraphFinding]:
    """Find contexts with the whole checkout, which every commit changes."""
    for name, target in document["target"].items():
        for value in (target["context"], *target["contexts"].values()):
            if value.startswith("/") and checkout.is_relative_to(value):
                fault = f"its context {value} is the whole checkout"
                yield GraphFinding(name, "changes-above-work", fault, "name the folder that the target reads")


def unpinned(document: Mapping[str, Any]) -> Iterator[GraphFinding]:
    """Find images of registries that have no digest."""
    for name, target in document["target"].items():
        for key, value in target["contexts"].items():
            if value.startswith("docker-image:") and "@sha256:" not in value:
                yield GraphFinding(
                    name, "root-without-digest", f"{key} is {value}, a tag that can move", "pin it: invoke lock"
                )
