"""Check of the content of images: every layer, also what a later layer deletes, against the rules of images.toml.

`check` is for whatever has an image in a file: the smoke tests, and a gate before images are published. Its result is a
value: what was read, and every file that a rule denies, with the exception that allows it, if there is one.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

from dynamo_containers.errors import DownloadError, UsageError
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare.contents.image import open_layer, read_images
from dynamo_containers.prepare.contents.layer import LayerContent, LayerError, Scan, scan_layer, scan_of
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from dynamo_containers.facts.content import ContentRules
    from dynamo_containers.prepare.contents.image import ImageFile, LayerFile

PROCESSES = 2
"""Layers that are read at a time. Each process needs about 100 MB."""
SHOWN = 50
"""Findings that the text for a person has."""


@dataclass(frozen=True, kw_only=True)
class ContentFinding:
    """A file of a layer that a rule denies."""

    layer: int
    """Its number, 0 for the lowest."""
    digest: str
    """Digest of the layer's bytes, as in a manifest."""
    path: str
    """In the image, without a leading slash; `ARCHIVE!/PATH` for a file of an archive."""
    rule: str
    """A row `content.denied` of images.toml, or a rule that every image must keep."""
    reason: str
    """Why the rule denies."""
    evidence: str
    """What was seen in the file."""
    exception: str
    """The row `content.exceptions` that allows it; '' for none: then it is denied."""


@dataclass(frozen=True, kw_only=True)
class ContentCheck:
    """What the layers of one image contain that rules deny."""

    image: str
    platform: str
    layers: tuple[str, ...]
    """Digests of the layers that were read to their ends, the lowest first."""
    files: int
    unpacked: int
    """Bytes of the layers, uncompressed."""
    binaries: int
    findings: tuple[ContentFinding, ...]

    @property
    def denied(self) -> tuple[ContentFinding, ...]:
        """Return the findings that no exception allows."""
        return tuple(finding for finding in self.findings if not finding.exception)


def check(path: Path, rules: ContentRules) -> tuple[ContentCheck, ...]:
    """Return what the images of a file contain; a layer that several images share is read once.

    Args:
        path: a folder in the OCI image layout, or an archive of `docker save`.
        rules: the table `[content]`.

    Raises:
        UsageError: the file has no image, or one for an unknown platform.
        DownloadError: a layer is damaged, or has other bytes than the image states.
    """
    images = read_images(path)
    jobs = {(layer, _machine(image)): _scan(rules, image) for image in images for layer in image.layers}
    # The largest layer first, so that the processes end together. Not forked: the caller may have threads.
    largest_first = sorted(jobs, key=lambda job: -job[0].size)
    with ProcessPoolExecutor(max_workers=PROCESSES, mp_context=get_context("spawn")) as pool:
        futures = {
            (layer, machine): pool.submit(_read, layer, jobs[layer, machine]) for layer, machine in largest_first
        }
        try:
            contents = {job: future.result() for job, future in futures.items()}
        except BaseException:
            _cancel(futures.values())
            raise
    return tuple(judge(image, [contents[layer, _machine(image)] for layer in image.layers], rules) for image in images)


def _cancel(futures: Iterable[Future[LayerContent]]) -> None:
    for future in futures:
        future.cancel()


def _machine(image: ImageFile) -> int:
    platform = next((platform for platform in Platform if image.platform.startswith(platform.value)), None)
    if platform is None:
        message = (
            f"{image.name} is for {image.platform}, and images are for {', '.join(row.value for row in Platform)}."
        )
        raise UsageError(message)
    return platform.elf_machine


def _scan(rules: ContentRules, image: ImageFile) -> Scan:
    return scan_of(rules, _machine(image))


def _read(layer: LayerFile, scan: Scan) -> LayerContent:
    name = layer.digest or layer.content
    try:
        with open_layer(layer) as stream:
            content = scan_layer(stream, scan)
    except LayerError as error:
        message = (
            f"The layer {name} cannot be read: {error}.\nWrite the image again, and check that the disk has space."
        )
        raise DownloadError(message) from None
    if content.content != layer.content or (layer.digest and content.digest != layer.digest):
        message = (
            f"The layer {name} of {layer.file} has other bytes than its image states.\n"
            f"  stated   {layer.content}\n  received {content.content}\nWrite the image again."
        )
        raise DownloadError(message)
    return content


def judge(image: ImageFile, contents: Iterable[LayerContent], rules: ContentRules) -> ContentCheck:
    """Return the verdict on an image, given what its layers contain, the lowest first. Pure."""
    layers = tuple(contents)
    return ContentCheck(
        image=image.name,
        platform=image.platform,
        layers=tuple(layer.digest for layer in layers),
        files=sum(layer.files for layer in layers),
        unpacked=sum(layer.unpacked for layer in layers),
        binaries=sum(layer.binaries for layer in layers),
        findings=tuple(_findings(layers, rules)),
    )


def _findings(layers: tuple[LayerContent, ...], rules: ContentRules) -> Iterator[ContentFinding]:
    for number, layer in enumerate(layers):
        for file in layer.denied:
            yield ContentFinding(
                layer=number,
                digest=layer.digest,
                path=file.path,
                rule=file.rule,
                reason=rules.reason(file.rule),
                evidence=file.evidence,
                exception=rules.exception(file.rule, file.path),
            )


def result(checks: tuple[ContentCheck, ...]) -> Result:
    """Return the verdict for a person and for a machine; the exit code is 1 where something is denied."""
    denied = any(row.denied for row in checks)
    return Result(text="\n".join(text(row) for row in checks), data=checks, exit_code=1 if denied else 0)


def text(row: ContentCheck) -> str:
    """Return the verdict on an image as text."""
    allowed = len(row.findings) - len(row.denied)
    head = (
        f"{row.image}, {row.platform}: {len(row.layers)} layers, {row.files} files, {row.binaries} binaries, "
        f"{row.unpacked / 1e6:.0f} MB. Denied: {len(row.denied)}, allowed by name: {allowed}."
    )
    lines = [
        f"  layer {finding.layer}: /{finding.path}: {finding.rule}: {finding.evidence} ({finding.reason})"
        for finding in row.denied[:SHOWN]
    ]
    more = [f"  and {len(row.denied) - SHOWN} more"] if len(row.denied) > SHOWN else []
    return "\n".join([head, *lines, *more])
