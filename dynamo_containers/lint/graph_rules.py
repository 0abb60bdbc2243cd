"""Rules for build graphs: bake documents in, findings out.

Nothing is built for it: a document is planned, and read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dynamo_containers.plan.target import TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.plan.dockerfile import Dockerfile

SECRET = re.compile(r"(?:.*_)?(?:PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|NETRC)(?:_.*)?")
LOGIN = re.compile(r"://[^/\s@]+@")
BUILDER_PLATFORM = re.compile(r"\$\{?BUILDPLATFORM\}?")


class Row(NamedTuple):
    """A finding: the target, the rule, what is wrong, and what to do instead."""

    target: str
    rule: str
    what: str
    instead: str


def per_commit(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Row]:
    """Find what differs between the documents of two commits that change nothing: only labels and tags may."""
    for name, target in one["target"].items():
        for key, value in target.items():
            if key not in ("labels", "tags") and other["target"][name].get(key) != value:
                what = f"`{key}` has another value at every commit, so the step is done again for each"
                yield Row(name, "changes-above-work", what, "put what changes into a label of the finished image")


def missing_platform(document: Mapping[str, Any], files: Mapping[str, Dockerfile]) -> Iterator[Row]:
    """Find what would be built for the machine that builds, and be used for another.

    Args:
        document: a bake document.
        files: the folder of a step -> what its Dockerfile says.
    """
    targets = document["target"]
    without = {name for name, target in targets.items() if not target.get("platforms")}
    instead = "name the platforms, or say `FROM --platform=${BUILDPLATFORM}` where it is used"
    for name, target in targets.items():
        contexts = {key for key, value in target["contexts"].items() if value.removeprefix(TARGET) in without}
        for stage in files[Path(target["context"]).name].stages:
            if stage.image in contexts and not BUILDER_PLATFORM.fullmatch(stage.platform):
                what = (
                    f"FROM {stage.image} is built for no platform in particular, and is used for each that is asked for"
                )
                yield Row(name, "missing-platform", what, instead)
    for name in without & {*document["group"]["default"]["targets"]}:
        yield Row(name, "missing-platform", "an image that is asked for names no platform", instead)


def secrets(document: Mapping[str, Any]) -> Iterator[Row]:
    """Find secrets that would be readable in the history of an image."""
    for name, target in document["target"].items():
        for key, value in target.get("args", {}).items():
            if SECRET.fullmatch(key) or LOGIN.search(value):
                what = f"the argument {key} is a secret, and arguments can be read in the image's history"
                yield Row(name, "secret-in-argument", what, "hand it on as a secret: RUN --mount=type=secret")


def whole_checkout(document: Mapping[str, Any], checkout: Path) -> Iterator[Row]:
    """Find contexts that hold the whole checkout, so that every commit is another one."""
    for name, target in document["target"].items():
        for value in (target["context"], *target["contexts"].values()):
            if value.startswith("/") and checkout.is_relative_to(value):
                what = f"its context {value} holds the whole checkout"
                yield Row(name, "changes-above-work", what, "name the folder that the step reads")


def unpinned(document: Mapping[str, Any]) -> Iterator[Row]:
    """Find images of registries that are named by a tag alone."""
    for name, target in document["target"].items():
        for key, value in target["contexts"].items():
            if value.startswith("docker-image:") and "@sha256:" not in value:
                yield Row(name, "root-without-digest", f"{key} is {value}, which may be moved", "pin it: invoke lock")
